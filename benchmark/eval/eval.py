#!/usr/bin/env python3
"""Depth metrics of predictions on the benchmark: a table, and results_*.json and .md."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from benchmark.datasets import EVALUATION_SETS
from benchmark.flags import evaluation_parser
from video_depth_anything.cli.console import run_script


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
