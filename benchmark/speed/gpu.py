#!/usr/bin/env python3
"""What a GPU does with every encoder and input size, offline and streaming, as Markdown tables; made for gpu.sh.

    python benchmark/speed/gpu.py
    python benchmark/speed/gpu.py --encoders vits --input_sizes 280 518 --precision bf16 --seconds 60

Columns: median milliseconds a frame; the host's share, in which the device has nothing to do; peak memory of tensors on
the device; the fraction of the roofline, which is the time that the counted operations take at the best rate that large
matrix products reach, over the time taken; how often the host starts kernels, copies or recorded graphs. Weights are
random.
"""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

if not __package__:  # run as a file: the repository is not on the path, but this folder is
    sys.path[0] = str(Path(__file__).resolve().parents[2])

from benchmark.speed import flags
from video_depth_anything.cli.console import run_script
from video_depth_anything.cli.parser import positive_float, positive_int
from video_depth_anything.config import ENCODERS

if TYPE_CHECKING:
    import torch

    from benchmark.speed.gpu_runs import Measured

TITLES = (
    "encoder",
    "input size",
    "way",
    "ms a frame",
    "host share",
    "peak, MiB",
    "of the roofline",
    "launches a frame",
)


def parse_arguments() -> argparse.Namespace:
    parser = flags.parser_for(__doc__)
    parser.add_argument("--encoders", choices=ENCODERS, nargs="+", default=ENCODERS)
    parser.add_argument("--input_sizes", type=positive_int, nargs="+", default=[280, 518], metavar="PIXELS")
    parser.add_argument("--precision", choices=("fp16", "bf16", "fp32"), default="fp16")
    parser.add_argument("--device", choices=("cuda", "cpu"), default="cuda")
    flags.add_size_argument(parser, "960x540")
    parser.add_argument("--windows", type=positive_int, default=2, help="of each clip offline (default: 2)")
    what = "frames of a stream that count, after its memory is full (default: 40)"
    parser.add_argument("--stream_frames", type=positive_int, default=40, metavar="FRAMES", help=what)
    parser.add_argument("--warm_up", type=positive_int, default=42, help="frames of a stream before (default: 42)")
    parser.add_argument("--side", type=positive_int, default=8192, help="of the matrices for the roofline")
    what = "begin nothing new after so long (default: 150)"
    parser.add_argument("--seconds", type=positive_float, default=150.0, help=what)
    return parser.parse_args()


def print_peaks(precision: str, side: int, device: torch.device) -> float:
    """Measure what the device can do; returns its best rate in GFLOP/s."""
    from benchmark.speed.gpu_runs import best_kernels
    from benchmark.speed.peak import copy_bandwidth
    from benchmark.speed.report import print_header, print_row

    print_header(("kernel", "GFLOP/s"))
    best = 0.0
    for name, rate in best_kernels(precision, side, device):
        best = max(best, rate)
        print_row((name, f"{rate:.0f}"))
    mebibytes = 1024 if device.type == "cuda" else 16
    print(f"\nCopying: {copy_bandwidth(mebibytes, 0.1, device):.0f} GB/s, read and written.\n")
    return best


def print_measured(encoder: str, input_size: int, found: Measured, best: float) -> None:
    from benchmark.speed.report import print_row

    ideal = found.gigaflop / best  # seconds a frame
    cells = [encoder, input_size, found.way, f"{1e3 * found.seconds:.2f}", f"{found.host_share:.2f}"]
    print_row([*cells, f"{found.peak_mib:.0f}", f"{ideal / found.seconds:.3f}", f"{found.launches:.0f}"])


def main() -> int:
    args = parse_arguments()
    start = time.monotonic()
    from benchmark.speed.gpu_runs import Bench
    from benchmark.speed.report import print_header, print_heading
    from video_depth_anything.device import resolve_device

    device = resolve_device(args.device)
    print_heading(f"{args.precision} on {device}, frames of {args.size[1]}x{args.size[0]}")
    best = print_peaks(args.precision, args.side, device)
    left_out = []
    print_header(TITLES)
    for encoder in args.encoders:
        bench: Bench | None = None
        for input_size in args.input_sizes:
            if time.monotonic() - start > args.seconds:
                left_out.append(f"{encoder} at {input_size}")
                continue
            bench = bench or Bench(encoder, device, args.precision)
            ways = (
                bench.offline(input_size, args.size, args.windows),
                *bench.streaming(input_size, args.size, args.warm_up, args.stream_frames),
            )
            for found in ways:
                print_measured(encoder, input_size, found, best)
    if left_out:
        print(f"\nLeft out, since {args.seconds:g} s were over: {', '.join(left_out)}.")
    return 0


if __name__ == "__main__":
    sys.exit(run_script(main))
