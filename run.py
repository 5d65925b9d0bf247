#!/usr/bin/env python3
"""Depth of a video file, consistent over its whole length: writes a depth video, and the depth itself if asked."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from utils import cli


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.ArgumentDefaultsHelpFormatter)
    parser.add_argument("--input_video", type=Path, default=cli.EXAMPLE_VIDEO, help="video file")
    parser.add_argument("--output_dir", type=Path, default=Path("./outputs"), help="folder for the results")
    parser.add_argument("--max_res", type=cli.limit, default=1280, help="longer side of the frames at most, -1: any")
    parser.add_argument("--max_len", type=cli.limit, default=-1, help="number of frames at most, -1: all")
    parser.add_argument("--target_fps", type=cli.frame_rate, default="-1", help="frames a second to keep, -1: all")
    parser.add_argument("--grayscale", action="store_true", help="depth video in gray instead of colours")
    parser.add_argument("--save_npz", action="store_true", help="save the depth of all frames as one .npz file")
    parser.add_argument("--save_exr", action="store_true", help="save the depth of each frame as an .exr file")
    focal = "focal length in pixels of the source video, for point clouds"
    parser.add_argument("--focal-length-x", type=cli.positive_float, default=470.4, help=focal)
    parser.add_argument("--focal-length-y", type=cli.positive_float, default=470.4, help=focal)
    cli.add_model_arguments(parser)
    return parser.parse_args()


def main() -> int:
    args = parse_arguments()
    from utils.dc_utils import VideoSource
    from utils.outputs import make_writers, report
    from utils.point_cloud import require_open3d
    from utils.runner import run_video
    from video_depth_anything import choose_execution, infer_depth, load_model

    if args.metric:
        require_open3d()
    execution = choose_execution(args.device, "fp32" if args.fp32 else args.precision)
    source = VideoSource(args.input_video, args.max_res, args.target_fps, args.max_len)
    model = load_model(args.encoder, args.metric, args.checkpoint, execution.device)
    writers = make_writers(args, source)
    with cli.progress(source.expected, args.input_video.stem) as advance:
        summary = run_video(
            source, lambda frames: infer_depth(model, frames, args.input_size, execution), writers, advance
        )
    report(summary, writers)
    return 130 if summary.interrupted else 0


if __name__ == "__main__":
    sys.exit(cli.run_script(main))
