#!/usr/bin/env python3
"""Compare systems on one set: a table of their metrics, curves over the frames, and a video grid."""

from __future__ import annotations

import argparse
import sys
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmark.datasets import EVALUATION_SETS
from benchmark.flags import add_measure_arguments
from video_depth_anything.cli.console import progress, run_script
from video_depth_anything.cli.parser import Parser, positive_int
from video_depth_anything.errors import InputError, UsageError

if TYPE_CHECKING:
    from benchmark.comparison import SystemSequence
    from benchmark.index import Scene


def parse() -> tuple[argparse.Namespace, dict[str, Path]]:
    parser = Parser(description=__doc__)
    where = "folders of predictions, as NAME=FOLDER or FOLDER, laid out like those of infer.py"
    parser.add_argument("--predictions", nargs="+", required=True, metavar="NAME=FOLDER", help=where)
    parser.add_argument("--benchmark_path", type=Path, required=True, help="folder written by dataset_extract_*.py")
    parser.add_argument("--dataset", choices=tuple(EVALUATION_SETS), required=True, help="set to compare on")
    parser.add_argument("--out", type=Path, required=True, help="folder for table, pictures and videos")
    add_measure_arguments(parser)
    parser.add_argument("--scenes", nargs="+", metavar="SCENE", help="scenes to compare on (default: all)")
    parser.add_argument("--videos", type=int, default=3, help="how many scenes get curves and a video")
    parser.add_argument("--tile_height", type=positive_int, default=240, help="height of a picture in the grid")
    parser.add_argument("--fps", type=Fraction, default=Fraction(15), help="frames per second of the grid")
    args = parser.parse_args()
    folders = {}
    for text in args.predictions:
        name, _, folder = text.rpartition("=")
        name = name or Path(folder).resolve().name
        if name in folders:
            parser.error(f"argument --predictions: two are named {name!r}; name them with NAME=FOLDER")
        folders[name] = Path(folder)
    return args, folders


def open_systems(args: argparse.Namespace, folders: dict[str, Path]) -> tuple[list[Scene], list[list[SystemSequence]]]:
    """The scenes to compare on, and for each all systems' predictions."""
    from benchmark.eval.sequence import PredictionSource, Sequence
    from benchmark.eval.session import prediction_kind, prediction_note
    from benchmark.index import scenes_of, with_frames
    from benchmark.infer.predictions import predictions_place

    entry = EVALUATION_SETS[args.dataset]
    index = args.benchmark_path / entry.dataset / entry.index
    found = list(with_frames(scenes_of(index, entry.dataset), entry.counted[1]))
    absent = sorted(set(args.scenes or ()) - {scene.name for scene in found})
    if absent:
        raise UsageError(f"{index} has no scenes {', '.join(absent)}; --scenes takes names from the index")
    scenes = [scene for scene in found if args.scenes is None or scene.name in args.scenes]
    sources = {}
    for name, folder in folders.items():
        kind = prediction_kind(args.prediction, prediction_note(folder, entry, index))
        place = predictions_place(folder, entry.dataset, index)
        sources[name] = PredictionSource(folder, kind, False, args.protocol, args.allow_missing, place)
    opened = [
        [(name, Sequence(scene, index.parent, entry.dataset, entry.crop, source)) for name, source in sources.items()]
        for scene in scenes
    ]
    for name, folder in folders.items():
        if not any(len(sequence) for systems in opened for system, sequence in systems if system == name):
            raise InputError(f"{folder}: no predictions for {index}")
    return scenes, opened


def main() -> int:
    args, folders = parse()
    from benchmark.comparison import (
        comparison_table,
        evaluate_systems,
        grid_frames,
        plot_curves,
        write_grid,
        write_table,
    )
    from benchmark.eval.evaluation import mean_metrics
    from benchmark.eval.results import screen

    max_depth = EVALUATION_SETS[args.dataset].max_depth
    scenes, opened = open_systems(args, folders)
    with progress(2 * sum(len(s) for systems in opened for _, s in systems), args.dataset) as advance:
        measured = evaluate_systems(opened, max_depth, args.alignment, advance)
    metrics = {name: mean_metrics(one.result for one in measured if one.system == name) for name in folders}
    missing = {name: sum(s.num_missing for systems in opened for n, s in systems if n == name) for name in folders}
    table = comparison_table(metrics, missing)
    print(screen(table))
    args.out.mkdir(parents=True, exist_ok=True)
    title = f"{args.dataset}, {len(scenes)} scenes, protocol {args.protocol}, alignment {args.alignment}"
    write_table(args.out / f"{args.dataset}.md", table, title)
    for scene in scenes[: args.videos]:
        systems = [one for one in measured if one.result.name == scene.name]
        images = [frame.image for frame in scene.frames]
        plot_curves(args.out / f"{scene.name}_curves.png", systems, images, f"{args.dataset}: {scene.name}")
        with progress(len(images), f"{scene.name}_grid.mp4") as advance:
            frames = grid_frames(systems, images, max_depth, args.tile_height)
            write_grid(args.out / f"{scene.name}_grid.mp4", frames, args.fps, advance)
    return 0


if __name__ == "__main__":
    sys.exit(run_script(main))
