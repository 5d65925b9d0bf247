#!/usr/bin/env python3
"""Predict the depth of a benchmark's scenes: one .npy a frame, under INFER_PATH/DATASET/IMAGE."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from contextlib import nullcontext
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from video_depth_anything.cli import arguments
from video_depth_anything.cli.console import progress, run_script
from video_depth_anything.cli.parser import Parser
from video_depth_anything.pipelines.ranks import Ranks, join_ranks, longest_first, use_own_gpu

if TYPE_CHECKING:
    from benchmark.infer.predictions import Predict
    from video_depth_anything import Execution


def parse() -> argparse.Namespace:
    parser = Parser(description=__doc__)
    parser.add_argument("--infer_path", type=Path, required=True, help="folder for the predictions")
    what = "index files that dataset_extract_*.py wrote"
    parser.add_argument("--json_file", type=Path, nargs="+", required=True, help=what)
    parser.add_argument("--datasets", nargs="+", help="datasets of the index files to run; left out: all in them")
    arguments.add_model_arguments(parser)
    parser.add_argument("--streaming", action="store_true", help="one frame at a time, as run_streaming.py does")
    parser.add_argument("--resume", action="store_true", help="keep scenes finished with the same settings")
    return parser.parse_args()


def settings_of(args: argparse.Namespace, execution: Execution, checkpoint: Path) -> dict[str, Any]:
    """What decides the values of the predictions."""
    from benchmark.infer.predictions import sha256

    return {
        "system": "video-depth-anything",
        "checkpoint": checkpoint.name,
        "checkpoint_sha256": sha256(checkpoint),
        "encoder": args.encoder,
        "metric": args.metric,
        "streaming": args.streaming,
        "input_size": args.input_size,
        "device": execution.openvino_device or execution.device.type,
        "precision": str(execution.autocast_dtype or "float32").removeprefix("torch."),
    }


def load_predict(args: argparse.Namespace, execution: Execution, checkpoint: Path) -> Predict:
    """The function from a video's frames to its depth, with the model loaded."""
    from video_depth_anything import DepthStream, infer_depth, load_backend, load_model

    network = load_backend(load_model(args.encoder, args.metric, checkpoint, execution.device), execution)
    if args.streaming:
        return lambda frames: map(DepthStream(network, args.input_size, execution).step, frames)
    return lambda frames: infer_depth(network, frames, args.input_size, execution)


def main() -> int:
    args = parse()
    with join_ranks() as ranks:
        return run(args, ranks)


def run(args: argparse.Namespace, ranks: Ranks | None) -> int:
    """Predict all scenes; under torchrun each goes to one rank, the longest first."""
    from benchmark.index import BenchmarkError, read_index
    from benchmark.infer.predictions import Provenance, SceneWriter, image_folders, run_scenes, versions

    indices = {path: read_index(path) for path in args.json_file}
    wanted = [(p, d) for p, found in indices.items() for d in found if args.datasets is None or d in args.datasets]
    unknown = sorted(set(args.datasets or ()) - {dataset for _, dataset in wanted})
    if unknown or not wanted:
        raise BenchmarkError(f"{', '.join(map(str, indices))}: no scenes of {', '.join(unknown) or 'any dataset'}")
    from video_depth_anything import choose_execution, choose_weights

    options = arguments.model_options(args)
    execution = choose_execution(options.device, options.precision, options.backend, options.compile)
    args.encoder, checkpoint = choose_weights(args.encoder, args.metric, args.checkpoint)
    settings = settings_of(args, execution, checkpoint)
    writers = []
    for path, dataset in wanted:
        provenance = Provenance(path.name, settings, image_folders(indices[path][dataset]), versions())
        turn = nullcontext if ranks is None else partial(ranks.turn, f"provenance/{path}/{dataset}")
        writers.append(SceneWriter(args.infer_path, dataset, path, provenance, args.resume, turn))
    if ranks is not None:
        use_own_gpu()
        # A list of finished scenes must not be begun anew once a rank has finished one.
        ranks.meet()
    predict = load_predict(args, execution, checkpoint)
    if ranks is not None:
        parts = [(w, path, scene) for (path, dataset), w in zip(wanted, writers) for scene in indices[path][dataset]]
        order = longest_first([len(scene.frames) for _, _, scene in parts])
        for writer, path, scene in ranks.share("scenes", [parts[index] for index in order]):
            with progress(len(scene.frames), scene.name) as advance:
                run_scenes(path.parent, [scene], predict, writer, partial(_advance, ranks, advance))
        ranks.meet()
        return 0
    for (path, dataset), writer in zip(wanted, writers):
        scenes = indices[path][dataset]
        with progress(sum(len(scene.frames) for scene in scenes), path.stem) as advance:
            run_scenes(path.parent, scenes, predict, writer, advance)
    return 0


def _advance(ranks: Ranks, advance: Callable[[], None]) -> None:
    """Count a frame, unless another rank has ended the run."""
    ranks.check()
    advance()


if __name__ == "__main__":
    sys.exit(run_script(main))
