#!/usr/bin/env python3
"""How near to the machine's limit offline inference comes, as Markdown tables.

    python benchmark/speed/roofline.py --input_size 518 --variants torch:fp32 torch:bf16

The limit is the machine's own: the best rate of a few large matrix products and convolutions, measured now. The
operations are counted, see flops.py. Ideal time is operations over that rate; the fraction is of it that a variant
reaches on the same clip. Weights are random unless a checkpoint is named.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING

if not __package__:  # run as a file: the repository is not on the path, but this folder is
    sys.path[0] = str(Path(__file__).resolve().parents[2])

from benchmark.speed import flags
from video_depth_anything.cli.console import run_script
from video_depth_anything.cli.parser import positive_float, positive_int

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    import torch

    from benchmark.speed.flops import Work
    from benchmark.speed.measure import Contender


def parse_arguments() -> argparse.Namespace:
    parser = flags.offline_parser(__doc__)
    what = "how long each kernel is repeated (default: 0.5)"
    parser.add_argument("--seconds", type=positive_float, default=0.5, help=what)
    parser.add_argument("--copy_mib", type=positive_int, default=256, help="size of the copied block (default: 256)")
    return parser.parse_args()


def print_peaks(precisions: Iterable[str], device: torch.device, seconds: float) -> dict[str, float]:
    """Measure the kernels; returns the best rate of each precision in GFLOP/s."""
    from benchmark.speed.peak import least_seconds, openvino_kernels, torch_kernels
    from benchmark.speed.report import print_header, print_row

    best = {}
    print_header(("kernel", "library", "precision", "GFLOP/s"))
    for precision in precisions:
        sources = {"torch": torch_kernels(precision, device)}
        if device.type == "cpu":
            sources["openvino"] = openvino_kernels(precision)
        rates = []
        for library, kernels in sources.items():
            for kernel in kernels:
                rates.append(1e-9 * kernel.flops / least_seconds(kernel.run, seconds, device))
                print_row((kernel.name, library, precision, f"{rates[-1]:.1f}"))
        best[precision] = max(rates)
    return best


def print_work(work: Work) -> None:
    from benchmark.speed.report import print_header, print_row

    print_header(("part", "GFLOP"))
    rows = {
        "encoder, one frame": work.encoder,
        "of that, attention": work.attention,
        "head before the motion modules, one frame": work.head_frame,
        "mixing of a window of 32": work.mixing,
        "rendering of one frame": work.rendering,
        "per output frame, each frame encoded once": work.per_output_frame,
        "per output frame, each window encoded whole": work.per_output_frame_original,
        "per streamed frame": work.per_streamed_frame,
    }
    for name, value in rows.items():
        print_row((name, f"{value:.3f}"))


def print_fractions(contenders: Sequence[Contender], work: Work, peaks: dict[str, float], frames: int) -> None:
    from benchmark.speed.report import print_header, print_row

    print_header(("variant", "ms per frame", "ideal ms", "GFLOP/s", "of the best"))
    for contender in contenders:
        ideal = work.of_clip(frames) / peaks[contender.precision]  # seconds
        cells = [contender.name, f"{1e3 * contender.median / frames:.1f}", f"{1e3 * ideal / frames:.1f}"]
        rate = work.of_clip(frames) / contender.median
        print_row([*cells, f"{rate:.1f}", f"{ideal / contender.median:.3f}"])
    print(f"\nOf {frames} frames, {work.of_clip(frames) / frames:.3f} GFLOP each. A variant that does more than is")
    print("needed (plain, the original) gets credit for what is needed only.")


def main() -> int:
    args = parse_arguments()
    from benchmark.speed.against import OFFLINE_FILE, check_tree

    check_tree(args.against, OFFLINE_FILE)
    import torch

    from benchmark.speed.clip import take_frames
    from benchmark.speed.contenders import offline_contenders, other_device, warm_up
    from benchmark.speed.flops import count_work
    from benchmark.speed.measure import take_turns
    from benchmark.speed.peak import copy_bandwidth
    from benchmark.speed.report import print_header, print_heading, print_row
    from video_depth_anything.transform import network_size

    device = torch.device(other_device(args.device))
    frames = take_frames(args.input_video, args.size, args.frames)
    size = network_size(frames.shape[1], frames.shape[2], args.input_size)
    work = count_work(args.encoder, size)
    print_heading(f"Roofline: {args.encoder}, network input {size[1]}x{size[0]}, {device}")
    with offline_contenders(args) as contenders:
        peaks = print_peaks(dict.fromkeys(c.precision for c in contenders), device, args.seconds)
        print(f"\nCopying: {copy_bandwidth(args.copy_mib, args.seconds, device):.1f} GB/s, read and written.\n")
        print_work(work)
        print()
        print_header(("precision", "best GFLOP/s", "ideal ms per output frame", "ideal ms per streamed frame"))
        for precision, peak in peaks.items():
            ideals = (1e3 * gigaflop / peak for gigaflop in (work.per_output_frame, work.per_streamed_frame))
            print_row((precision, f"{peak:.1f}", *(f"{ideal:.1f}" for ideal in ideals)))
        print()
        warm_up(contenders, frames)
        take_turns(contenders, frames, args.repeats)
    print_fractions(contenders, work, peaks, len(frames))
    return 0


if __name__ == "__main__":
    sys.exit(run_script(main))
