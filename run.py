#!/usr/bin/env python3
"""Depth of video files, consistent over their whole length: writes depth videos, and the depth itself if asked."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from video_depth_anything.cli import arguments
from video_depth_anything.cli.console import run_script
from video_depth_anything.pipelines.progress import progress
from video_depth_anything.pipelines.ranks import Ranks, join_ranks, use_own_gpu

if TYPE_CHECKING:
    import argparse

    from video_depth_anything.outputs.run_outputs import RunOutputs
    from video_depth_anything.pipelines.offline import RunSummary
    from video_depth_anything.video.source import VideoSource


def main() -> int:
    args = arguments.parse(__doc__)
    with join_ranks() as ranks:
        return run(args, ranks)


def run(args: argparse.Namespace, ranks: Ranks | None) -> int:
    # Heavy imports wait until the arguments are known: `--help` is instant.
    from video_depth_anything import choose_execution, choose_weights, infer_depth, load_backend, load_model
    from video_depth_anything.distributed import RawWindows, join_windows, windows_read
    from video_depth_anything.outputs.plan import OutputPlan
    from video_depth_anything.pipelines.batch import Batch, settings_of
    from video_depth_anything.pipelines.multi_device import SharedBatch, SplitInference
    from video_depth_anything.pipelines.offline import run_video
    from video_depth_anything.video.inputs import expand_inputs, listed
    from video_depth_anything.video.source import Selection

    if ranks is not None:
        use_own_gpu()
        # Only one process can read the list on standard input.
        args.input_video = ranks.agree("arguments", lambda: list(listed(args.input_video)))
    plan = OutputPlan(arguments.output_options(args), arguments.camera_options(args), args.metric, args.start)
    execution = choose_execution(args.device, arguments.precision(args), args.backend, args.compile)
    selection = Selection(args.max_res, args.target_fps, args.max_len, args.start, args.end)
    inputs = expand_inputs(args.input_video)
    args.encoder, args.checkpoint = choose_weights(args.encoder, args.metric, args.checkpoint)
    model = load_model(args.encoder, args.metric, args.checkpoint, execution.device)
    network = load_backend(model, execution)

    def process(source: VideoSource, outputs: RunOutputs) -> RunSummary:
        with progress(source.expected, source.name) as advance:
            return run_video(
                source.timed(),
                lambda frames: infer_depth(network, frames, args.input_size, execution),
                [outputs],
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
    sys.exit(run_script(main))
