#!/usr/bin/env python3
"""Temporal alignment error of predictions on the benchmark: a table, and results_*_tae.json and .md."""

from __future__ import annotations

import argparse
import sys
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from benchmark.datasets import EVALUATION_SETS, TAE_SETS, TaeSet
from benchmark.flags import evaluation_parser
from video_depth_anything.cli.console import run_script
from video_depth_anything.errors import UsageError

if TYPE_CHECKING:
    from torch import Tensor


def tae_torch(depth1: Tensor, depth2: Tensor, R_2_1: Any, T_2_1: Any, K: Any, mask: Tensor) -> Tensor:
    """The original's name for `benchmark.eval.tensor_metrics.tae_term`, where arguments and result are described."""
    from benchmark.eval.tensor_metrics import tae_term

    return tae_term(depth1, depth2, R_2_1, T_2_1, K, mask)


def eval_TAE(
    infer_paths: list[str],
    depth_gt_paths: list[str],
    factors: list[float],
    masks: Any,  # noqa: ARG001
    Ks: Any,
    poses: Any,
    args: Any,
) -> float:
    """TAE of a sequence of files, in percent, of which those that are there count.

    Args:
        masks: not read; no set of the benchmark has them.
        Ks, poses: a camera matrix (3, 3) and a pose (4, 4), camera to world, of each frame.
        args: with `max_depth_eval`, `hard_crop`, and the crop's rows `a` to `b` and columns `c` to `d`.
    """
    import cv2
    import numpy as np

    from benchmark.eval.eval import get_gt, get_infer
    from benchmark.eval.metrics import align_depth, evaluate_sequence
    from benchmark.eval.tae import temporal_alignment_error

    there = [index for index, path in enumerate(infer_paths) if Path(path).exists()]
    crop = np.s_[args.a : args.b, args.c : args.d]
    predictions, truths = [], []
    for index in there:
        truths.append(get_gt(depth_gt_paths[index], factors[index], args)[crop])
        infer = get_infer(infer_paths[index], args)
        infer = infer[crop] if getattr(args, "hard_crop", False) else infer
        predictions.append(cv2.resize(infer, truths[-1].shape[::-1]))
    _, fit = evaluate_sequence(predictions, truths, args.max_depth_eval)
    depths = [align_depth(prediction, fit, args.max_depth_eval) for prediction in predictions]
    cameras = np.stack([np.asarray(Ks[index])[:3, :3] for index in there])
    return temporal_alignment_error(depths, [np.asarray(poses[index]) for index in there], cameras).error


def parse() -> argparse.Namespace:
    parser = evaluation_parser(__doc__)
    datasets = sorted({entry.dataset for entry in EVALUATION_SETS.values()})
    parser.add_argument("--datasets", nargs="+", choices=datasets, default=["scannet"], help="sets to evaluate")
    table = "; left out: as the protocol has it for the set"
    parser.add_argument("--start_idx", type=int, help=f"first frame of a scene that counts{table}")
    parser.add_argument("--end_idx", type=int, help=f"frame after the last that counts{table}")
    parser.add_argument("--eval_scenes_num", type=int, help=f"how many scenes count{table}")
    crop = f"predictions show the uncropped frame{table}"
    parser.add_argument("--hard_crop", action=argparse.BooleanOptionalAction, help=crop)
    return parser.parse_args()


def chosen(entry: TaeSet, args: argparse.Namespace) -> TaeSet:
    """The set with what the command line changes."""
    changes = {
        "first": args.start_idx,
        "last": args.end_idx,
        "num_scenes": args.eval_scenes_num,
        "hard_crop": args.hard_crop,
    }
    return replace(entry, **{key: value for key, value in changes.items() if value is not None})


def main() -> int:
    args = parse()
    from benchmark.eval.evaluation import evaluate_scene_tae
    from benchmark.eval.session import run_evaluation

    for name in args.datasets:
        if name not in TAE_SETS:
            raise UsageError(f"{name} comes without camera poses; TAE is for {', '.join(TAE_SETS)}")
        entry = chosen(TAE_SETS[name], args)
        measure = partial(evaluate_scene_tae, entry=entry, alignment=args.alignment, protocol=args.protocol)
        run_evaluation(f"{name}_tae", entry, args, measure, entry.hard_crop)
    return 0


if __name__ == "__main__":
    sys.exit(run_script(main))
