#!/usr/bin/env python3
"""A web page on which a video becomes a depth video: upload it or record one, look, download; and a live camera."""

from __future__ import annotations

import sys
from functools import lru_cache
from typing import TYPE_CHECKING

from video_depth_anything.cli import arguments
from video_depth_anything.cli.console import run_script

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterator

    from video_depth_anything.network import Network
    from video_depth_anything.outputs.base import DepthMap
    from video_depth_anything.pipelines.offline import Frame
    from video_depth_anything.pipelines.stream_runner import Stream


def networks_there(args: argparse.Namespace) -> tuple[list[tuple[str, bool]], tuple[str, bool]]:
    """(encoder, metric) of each checkpoint that is there, the largest encoder first, and of the one to begin with.

    Raises:
        CheckpointError: if there is none, or not the one asked for.
    """
    from video_depth_anything import choose_weights
    from video_depth_anything.checkpoint import public_checkpoints

    # The largest first.
    there: list[tuple[str, bool]] = [] if args.checkpoint else [*reversed(public_checkpoints())]
    largest = next((encoder for encoder, metric in there if metric == args.metric), None)
    begin = (choose_weights(args.encoder or largest, args.metric, args.checkpoint)[0], args.metric)
    return there if begin in there else [*there, begin], begin


def main() -> int:
    args = arguments.parse_page(__doc__)
    # Heavy imports wait until the arguments are known: `--help` is instant.
    from video_depth_anything import DepthStream, choose_execution, infer_depth, load_backend, load_model
    from video_depth_anything.web.server import serve

    execution = choose_execution(args.device, arguments.precision(args), args.backend)
    networks, begin = networks_there(args)

    @lru_cache(maxsize=1)
    def network(encoder: str, metric: bool) -> Network:
        return load_backend(load_model(encoder, metric, args.checkpoint, execution.device), execution)

    def infer(job: argparse.Namespace, frames: Iterator[Frame]) -> Iterator[DepthMap]:
        return infer_depth(network(job.encoder, job.metric), frames, job.input_size, execution)

    def make_stream(name: tuple[str, bool], input_size: int) -> Stream:
        return DepthStream(network(*name), input_size, execution)

    network(*begin)  # a checkpoint that cannot be used is found out now
    return serve(args, networks, begin, infer, make_stream)


if __name__ == "__main__":
    sys.exit(run_script(main))
