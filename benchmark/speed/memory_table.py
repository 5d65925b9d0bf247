#!/usr/bin/env python3
"""Peak memory on a GPU by encoder, input size and precision, counted without one, as a Markdown table.

    python benchmark/speed/memory_table.py
    python benchmark/speed/memory_table.py --encoders vits --input_sizes 280 --size 1920x1080 --frames_at_once 8 4 1

Nothing is computed: live_bytes.py counts what PyTorch's allocator would be asked for, so the numbers are the same on
any machine with the same PyTorch. benchmark/speed/gpu.py measures the peak where a GPU is at hand.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

if not __package__:  # run as a file: the repository is not on the path, but this folder is
    sys.path[0] = str(Path(__file__).resolve().parents[2])

from benchmark.speed import flags
from video_depth_anything.cli.console import run_script
from video_depth_anything.cli.parser import positive_int
from video_depth_anything.config import ENCODERS

PRECISIONS = ("fp16", "bf16", "fp32")


def parse_arguments() -> argparse.Namespace:
    parser = flags.parser_for(__doc__)
    parser.add_argument("--encoders", choices=ENCODERS, nargs="+", default=ENCODERS)
    parser.add_argument("--input_sizes", type=positive_int, nargs="+", default=[280, 518], metavar="PIXELS")
    parser.add_argument("--precisions", choices=PRECISIONS, nargs="+", default=["fp16", "fp32"])
    flags.add_size_argument(parser, "1280x720")
    parser.add_argument("--frames_at_once", type=positive_int, nargs="+", default=[8, 4, 1], metavar="N")
    parser.add_argument("--device", choices=("cuda", "cpu"), default="cuda", help="whose way of working is counted")
    return parser.parse_args()


def main() -> int:
    args = parse_arguments()
    import torch

    from benchmark.speed.live_bytes import offline_peak, streaming_peak
    from benchmark.speed.report import print_header, print_heading, print_row
    from video_depth_anything import Execution
    from video_depth_anything.device import resolve_precision

    device = torch.device(args.device)
    print_heading(f"Peak memory in MiB, counted: frames of {args.size[1]}x{args.size[0]} on {args.device}")
    offline = [f"offline, {count} at once" for count in args.frames_at_once]
    print_header(("encoder", "input size", "precision", *offline, "streaming"))
    for encoder in args.encoders:
        for input_size in args.input_sizes:
            for precision in args.precisions:
                dtype = resolve_precision(precision, torch.device("cpu"))
                executions = [Execution(device, dtype, count) for count in args.frames_at_once]
                peaks = [offline_peak(encoder, input_size, args.size, execution) for execution in executions]
                peaks.append(streaming_peak(encoder, input_size, args.size, Execution(device, dtype, 1)))
                print_row((encoder, input_size, precision, *(f"{peak:.0f}" for peak in peaks)))
    return 0


if __name__ == "__main__":
    sys.exit(run_script(main))
