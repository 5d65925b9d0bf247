#!/usr/bin/env python3
"""Depth of live video, a camera, or files, frame by frame: each frame's depth is out before the next one is read."""

from __future__ import annotations

import sys

from video_depth_anything.cli import arguments
from video_depth_anything.cli.console import run_script


def main() -> int:
    args = arguments.parse(__doc__, streaming=True)
    # Heavy imports wait until the arguments are known: `--help` is instant.
    from video_depth_anything import DepthStream, choose_execution, choose_weights, load_backend, load_model
    from video_depth_anything.outputs.plan import OutputPlan
    from video_depth_anything.pipelines.streaming import StreamingBatch
    from video_depth_anything.video.inputs import expand_inputs
    from video_depth_anything.video.source import Selection

    plan = OutputPlan(arguments.output_options(args), arguments.camera_options(args), args.metric, args.start)
    execution = choose_execution(args.device, arguments.precision(args), args.backend, args.compile)
    selection = Selection(args.max_res, args.target_fps, args.max_len, args.start, args.end)
    inputs = expand_inputs(args.input_video, cameras=True)
    args.encoder, args.checkpoint = choose_weights(args.encoder, args.metric, args.checkpoint)
    model = load_model(args.encoder, args.metric, args.checkpoint, execution.device)
    stream = DepthStream(load_backend(model, execution), args.input_size, execution)
    batch = StreamingBatch.from_arguments(args, plan, selection)
    return batch.run(inputs, stream)


if __name__ == "__main__":
    sys.exit(run_script(main))
