#!/usr/bin/env python3
"""Depth metrics of predictions on the benchmark: a table, and results_*.json and .md."""

from __future__ import annotations

import sys
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


def main() -> int:
    parser = evaluation_parser(__doc__)
    sets = tuple(EVALUATION_SETS)
    parser.add_argument("--datasets", nargs="+", choices=sets, required=True, help="sets to evaluate")
    args = parser.parse_args()
    from benchmark.eval.evaluation import evaluate_scene
    from benchmark.eval.sequence import PredictionSource
    from benchmark.eval.session import Measure, run_evaluation
    from benchmark.index import Scene, with_frames

    for name in args.datasets:
        entry = EVALUATION_SETS[name]

        def measure(_: PredictionSource, max_depth: float = entry.max_depth) -> Measure:
            return lambda sequence, advance: evaluate_scene(sequence, max_depth, args.alignment, advance)

        def choose(scenes: list[Scene], frames: slice = slice(entry.num_frames)) -> list[Scene]:
            return list(with_frames(scenes, frames))

        run_evaluation(name, entry, args, choose, measure)
    return 0


if __name__ == "__main__":
    sys.exit(run_script(main))
