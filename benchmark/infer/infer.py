#!/usr/bin/env python3
"""Predict the depth of a benchmark's scenes: one .npy a frame, under INFER_PATH/DATASET/IMAGE."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from video_depth_anything.cli import arguments
from video_depth_anything.cli.console import progress, run_script
from video_depth_anything.cli.parser import Parser
from video_depth_anything.errors import UsageError
from video_depth_anything.pipelines.options import ModelOptions
from video_depth_anything.pipelines.ranks import Ranks, join_ranks, longest_first, use_own_gpu

if TYPE_CHECKING:
    from benchmark.index import Scene
    from benchmark.infer.predictions import Predict, SceneWriter
    from video_depth_anything.pipelines.setup import LoadedNetwork

    # Scenes of one dataset in one index file.
    Listed = tuple[Path, str, list[Scene]]


def parse() -> argparse.Namespace:
    parser = Parser(description=__doc__)
    parser.add_argument("--infer_path", type=Path, required=True, help="folder for the predictions")
    what = "index files written by dataset_extract_*.py"
    parser.add_argument("--json_file", type=Path, nargs="+", required=True, help=what)
    parser.add_argument("--datasets", nargs="+", help="datasets of the index files to run (default: all)")
    arguments.add_model_arguments(parser)
    # Published numbers were made in float32.
    parser.set_defaults(precision="fp32")
    parser.add_argument("--streaming", action="store_true", help="one frame at a time, as run_streaming.py does")
    parser.add_argument(
        "--resume", action="store_true", help="skip scenes that are already finished with the same settings"
    )
    return parser.parse_args()


def settings_of(network: LoadedNetwork, streaming: bool) -> dict[str, Any]:
    """What decides the values of the predictions."""
    execution, provenance = network.execution, network.provenance()
    return {
        "system": "video-depth-anything",
        "checkpoint": provenance["checkpoint"],
        "checkpoint_sha256": provenance["checkpoint_sha256"],
        "encoder": network.encoder,
        "metric": network.metric,
        "streaming": streaming,
        "input_size": network.input_size,
        "device": execution.openvino_device or execution.device.type,
        "precision": str(execution.autocast_dtype or "float32").removeprefix("torch."),
    }


def wanted_scenes(files: list[Path], datasets: list[str] | None) -> list[Listed]:
    """The scenes to predict, by index file and dataset.

    Raises:
        InputError: if an index file is missing or damaged.
        UsageError: if there are no scenes of a dataset that was asked for.
    """
    from benchmark.index import read_index

    indices = {path: read_index(path) for path in files}
    found = [(path, name, scenes) for path, index in indices.items() for name, scenes in index.items()]
    wanted = [listed for listed in found if datasets is None or listed[1] in datasets]
    unknown = sorted(set(datasets or ()) - {name for _, name, _ in wanted})
    if unknown or not wanted:
        raise UsageError(f"{', '.join(map(str, files))}: no scenes of {', '.join(unknown) or 'any dataset'}")
    return wanted


def main() -> int:
    args = parse()
    with join_ranks() as ranks:
        return run(args, ranks)


def run(args: argparse.Namespace, ranks: Ranks | None) -> int:
    """Predict all scenes; under torchrun each goes to one rank, the longest first."""
    wanted = wanted_scenes(args.json_file, args.datasets)
    from benchmark.infer.predictions import SceneWriter
    from video_depth_anything.pipelines.setup import load_network

    if ranks is not None:
        use_own_gpu()
    network = load_network(arguments.options_in(ModelOptions, args))
    settings = settings_of(network, args.streaming)
    first = ranks is None or ranks.rank == 0
    if ranks is not None and not first:
        ranks.agree(lambda: None)  # rank 0 has begun, the others go on from that
    writers = [
        SceneWriter(args.infer_path, dataset, path, scenes, settings, args.resume or not first)
        for path, dataset, scenes in wanted
    ]
    if ranks is not None and first:
        ranks.agree(lambda: None)
    # A video of its own for every scene.
    predict: Predict = (lambda frames: map(network.new_stream().step, frames)) if args.streaming else network.infer
    predict_all(list(zip(wanted, writers)), predict, ranks)
    return 0


def predict_all(work: list[tuple[Listed, SceneWriter]], predict: Predict, ranks: Ranks | None) -> None:
    """Predict scenes, one after the other or, with ranks, each on whichever is free."""
    from benchmark.infer.predictions import run_scenes

    if ranks is None:
        for (path, _, scenes), writer in work:
            with progress(sum(len(scene.frames) for scene in scenes), path.stem) as advance:
                run_scenes(path.parent, scenes, predict, writer, advance)
        return
    parts = [(writer, path.parent, scene) for (path, _, scenes), writer in work for scene in scenes]
    order = longest_first([len(scene.frames) for _, _, scene in parts])
    for writer, root, scene in ranks.share("scenes", [parts[index] for index in order]):
        with progress(len(scene.frames), scene.name) as advance:

            def checked(advance: Callable[[], None] = advance) -> None:
                ranks.check()  # another rank may have ended the run
                advance()

            run_scenes(root, [scene], predict, writer, checked)
    ranks.gather(None)


if __name__ == "__main__":
    sys.exit(run_script(main))
