#!/usr/bin/env python3
"""Depth of video files, consistent over their whole length: writes depth videos, and the depth itself if asked."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from utils import arguments, cli

if TYPE_CHECKING:
    from utils.depth_writers import OutputWriter
    from utils.runner import RunSummary
    from utils.video_source import VideoSource


def main() -> int:
    args = arguments.parse(__doc__)
    # Heavy imports wait until the arguments are known: `--help` is instant.
    from utils.batch import Batch, settings_of
    from utils.outputs import OutputPlan
    from utils.runner import run_video
    from utils.sources import expand_inputs
    from utils.video_source import Selection
    from video_depth_anything import choose_execution, choose_weights, infer_depth, load_backend, load_model

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

    return Batch(plan, selection, args.image_fps, args.resume, settings_of(args)).run(inputs, process)


if __name__ == "__main__":
    sys.exit(cli.run_script(main))
