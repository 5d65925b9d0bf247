#!/usr/bin/env python3
"""Depth metrics of predictions on the benchmark: a table, and results_*.json and .md."""

from __future__ import annotations

import sys
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from benchmark.datasets import EVALUATION_SETS
from benchmark.flags import evaluation_parser
from video_depth_anything.cli.console import run_script

if TYPE_CHECKING:
    import numpy.typing as npt


def depth2disparity(depth: npt.NDArray[Any], return_mask: bool = False) -> Any:
    """1 / depth where it is above 0, else 0: a function of the original's evaluation that other programs import.

    Args:
        depth: any shape, metres.
        return_mask: also say where depth is above 0.

    Returns:
        Disparity in 1/metres, of the type of `depth`; with `return_mask` a tuple of it and a bool array.
    """
    import numpy as np

    known = depth > 0
    disparity = np.divide(1, depth, out=np.zeros_like(depth), where=known)
    return (disparity, known) if return_mask else disparity


def get_infer(infer_path: str, _: Any, target_size: tuple[int, int] | None = None) -> npt.NDArray[Any]:
    """A prediction from an .npy file, (H, W) float32, resized bilinearly to `target_size` (H, W)."""
    import cv2
    import numpy as np

    infer = np.load(infer_path).astype(np.float32)
    if target_size is None or infer.shape == tuple(target_size):
        return infer
    return cv2.resize(infer, (target_size[1], target_size[0]))


def get_gt(depth_gt_path: str, gt_factor: float, _: Any) -> npt.NDArray[Any]:
    """Ground truth of an .npy file or an image, divided by its factor: (H, W) metres, -1 where there is none."""
    import cv2
    import numpy as np

    npy = depth_gt_path.endswith(".npy")
    depth: npt.NDArray[Any] = (np.load(depth_gt_path) if npy else np.asarray(cv2.imread(depth_gt_path, -1))) / gt_factor
    depth[depth == 0] = -1
    return depth


def eval_depthcrafter(
    infer_paths: list[str], depth_gt_paths: list[str], factors: list[float], args: Any
) -> list[float]:
    """AbsRel, RMSE and delta1 of a sequence of files, of which those that are there count.

    Args:
        args: with `max_eval_len`, `max_depth_eval`, and the crop's rows `a` to `b` and columns `c` to `d`.
    """
    from benchmark.eval.metrics import evaluate_sequence

    predictions, truths = [], []
    for infer_path, depth_gt_path, factor in zip(infer_paths, depth_gt_paths, factors):
        if Path(infer_path).exists():
            truths.append(get_gt(depth_gt_path, factor, args)[args.a : args.b, args.c : args.d])
            predictions.append(get_infer(infer_path, args, truths[-1].shape))
    count = args.max_eval_len
    metrics, _ = evaluate_sequence(predictions[:count], truths[:count], args.max_depth_eval)
    return [metrics[name] for name in ("abs_relative_difference", "rmse_linear", "delta1_acc")]


def main() -> int:
    parser = evaluation_parser(__doc__)
    sets = tuple(EVALUATION_SETS)
    parser.add_argument("--datasets", nargs="+", choices=sets, required=True, help="sets to evaluate")
    args = parser.parse_args()
    from benchmark.eval.evaluation import evaluate_scene
    from benchmark.eval.session import run_evaluation

    for name in args.datasets:
        entry = EVALUATION_SETS[name]
        measure = partial(evaluate_scene, max_depth=entry.max_depth, alignment=args.alignment)
        run_evaluation(name, entry, args, measure)
    return 0


if __name__ == "__main__":
    sys.exit(run_script(main))
