#!/usr/bin/env python3
"""Depth of video files, consistent over their whole length: writes depth videos, and the depth itself if asked."""

from __future__ import annotations

import argparse
import sys

from utils import arguments, cli


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.ArgumentDefaultsHelpFormatter)
    arguments.add_source_arguments(parser)
    arguments.add_model_arguments(parser)
    arguments.add_output_arguments(parser)
    arguments.add_camera_arguments(parser)
    args = parser.parse_args()
    if args.end is not None and args.end <= args.start:
        parser.error(f"argument --end: {args.end:g} is not after --start {args.start:g}")
    return args


def main() -> int:
    args = parse_arguments()
    from utils.batch import Batch
    from utils.outputs import OutputPlan
    from utils.sources import expand_inputs
    from utils.video_source import Selection
    from video_depth_anything import choose_execution, infer_depth, load_model

    plan = OutputPlan.from_arguments(args)
    execution = choose_execution(args.device, "fp32" if args.fp32 else args.precision)
    selection = Selection(args.max_res, args.target_fps, args.max_len, args.start, args.end)
    inputs = expand_inputs(args.input_video)
    model = load_model(args.encoder, args.metric, args.checkpoint, execution.device)
    settings = {k: str(v) for k, v in vars(args).items() if k not in ("input_video", "output_dir", "resume")}
    batch = Batch(plan, selection, args.image_fps, args.resume, settings)
    return batch.run(inputs, lambda frames: infer_depth(model, frames, args.input_size, execution))


if __name__ == "__main__":
    sys.exit(cli.run_script(main))
