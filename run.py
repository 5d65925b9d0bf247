#!/usr/bin/env python3
"""Depth of video files, consistent over their whole length: writes depth videos, and the depth itself if asked."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from utils import arguments, cli
from utils.ranks import Ranks, join_ranks, use_own_gpu

if TYPE_CHECKING:
    import argparse

    from utils.depth_writers import OutputWriter
    from utils.runner import RunSummary
    from utils.video_source import VideoSource


def main() -> int:
    args = arguments.parse(__doc__)
    with join_ranks() as ranks:
        return run(args, ranks)


def run(args: argparse.Namespace, ranks: Ranks | None) -> int:
    # Heavy imports wait until the arguments are known: `--help` is instant.
    from utils.batch import Batch, settings_of
    from utils.outputs import OutputPlan
    from utils.runner import run_video
    from utils.shared_batch import SharedBatch, SplitInference
    from utils.sources import expand_inputs, listed
    from utils.video_source import Selection
    from video_depth_anything import choose_execution, choose_weights, infer_depth, load_backend, load_model
    from video_depth_anything.distributed import RawWindows, join_windows, windows_read

    if ranks is not None:
        use_own_gpu()
        # Only one process can read the list on standard input.
        args.input_video = ranks.agree("arguments", lambda: list(listed(args.input_video)))
    plan = OutputPlan.from_arguments(args)
    execution = choose_execution(args.device, arguments.precision(args), args.backend, args.compile)
    selection = Selection(args.max_res, args.target_fps, args.max_len, args.start, args.end)
    inputs = expand_inputs(args.input_video)
    args.encoder, args.checkpoint = choose_weights(args.encoder, args.metric, args.checkpoint)
    model = load_model(args.encoder, args.metric, args.checkpoint, execution.device)
    network = load_backend(model, execution)

    def process(source: VideoSource, writers: list[OutputWriter]) -> RunSummary:
        with cli.progress(source.expected, source.name) as advance:
            return run_video(
                source.timed(),
                lambda frames: infer_depth(network, frames, args.input_size, execution),
                writers,
                advance,
            )

    batch = Batch(plan, selection, args.image_fps, args.resume, settings_of(args))
    if ranks is None:
        return batch.run(inputs, process)
    split = SplitInference(
        lambda frames: RawWindows(network, frames, args.input_size, execution),
        windows_read,
        lambda windows: join_windows(windows, network.metric, execution.device),
        str(execution),
    )
    return SharedBatch(batch, ranks, process, split).run(inputs)


if __name__ == "__main__":
    sys.exit(cli.run_script(main))
