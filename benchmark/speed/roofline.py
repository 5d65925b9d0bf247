#!/usr/bin/env python3
"""How near to the machine's limit inference comes, offline and streaming, on a CPU or a GPU, as Markdown tables.

    python benchmark/speed/roofline.py --input_sizes 280 518 --variants torch:fp32 openvino:bf16
    python benchmark/speed/roofline.py --device cuda --encoders vits vitb vitl --variants torch:fp16 --seconds 150

The limit is the machine's own: the best rate of a few large matrix products and convolutions, measured now. The
operations are counted, see counted.py; "of the limit" is the time that they take at that rate, over the time taken.
"Host share" is the part in which the device has nothing to do; launches are how often the host starts kernels, copies
or recorded graphs for a frame; on a CPU PyTorch's operators stand for them. The peak is of tensors on a GPU. Weights
are random. gpu.sh runs this with its tests.
"""

from __future__ import annotations

import argparse
import itertools
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import NamedTuple

if not __package__:  # run as a file: the repository is not on the path, but this folder is
    sys.path[0] = str(Path(__file__).resolve().parents[2])

import numpy as np
import torch
import torch.nn.functional as F
from torch.profiler import ProfilerActivity, profile
from torch.utils.benchmark import Timer

from benchmark.speed import flags
from benchmark.speed.clip import take_frames
from benchmark.speed.counted import Work, count_work
from benchmark.speed.report import print_header, print_heading, print_row
from benchmark.speed.variants import Networks, execution_of, resolve, timed_clip
from benchmark.speed.weights import checkpoint_file
from video_depth_anything import DepthStream, Execution
from video_depth_anything.cli.console import run_script
from video_depth_anything.cli.parser import positive_float, positive_int
from video_depth_anything.config import DEVICES, ENCODERS
from video_depth_anything.device import resolve_device
from video_depth_anything.network import Network
from video_depth_anything.transform import network_size
from video_depth_anything.windows import STEP

# Linear layers as (rows, in, out): the MLPs of vits and vitl over the 2443 tokens of a 518 x 924 frame.
LINEARS = ((2443, 384, 1536), (2443, 1024, 4096))
# 3x3 convolutions as (channels, height, width): the head's fusion path of vits and vitl at that size.
CONVOLUTIONS = ((64, 148, 264), (256, 74, 132))
DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}
# How the names of CUDA's functions begin that give the device something to do.
LAUNCHES = ("cudaLaunch", "cuLaunch", "cudaGraphLaunch", "cudaMemcpyAsync", "cudaMemsetAsync")
# A clip of n windows: the last one is full enough to matter, so each costs the same.
FRAMES_OF_LAST = 10
# Of a stream under the profiler, which takes long to read what it has noted.
PROFILED_FRAMES = 10
WORK = "encoder|input size|encoder, GFLOP|of that, attention|head, once a frame|mixing of 32|rendering"
WORK += "|per output frame|per streamed frame"
RUNS = "encoder|input size|variant|way|ms a frame|GFLOP/s|of the limit|host share|launches|peak, MiB"


def parse_arguments() -> argparse.Namespace:
    parser = flags.parser_for(__doc__, size="960x540")
    parser.add_argument("--encoders", choices=ENCODERS, nargs="+", default=["vits"])
    parser.add_argument("--input_sizes", type=positive_int, nargs="+", default=[518], metavar="PIXELS")
    default = [flags.Variant("auto", "auto")]
    parser.add_argument("--variants", type=flags.variant, nargs="+", default=default, metavar="BACKEND:PRECISION")
    parser.add_argument("--device", choices=DEVICES, default="auto")
    parser.add_argument("--windows", type=positive_int, default=2, help="of each clip offline (default: 2)")
    what = "frames of a stream that count, after its memory is full (default: 40)"
    parser.add_argument("--stream_frames", type=positive_int, default=40, metavar="FRAMES", help=what)
    parser.add_argument("--warm_up", type=positive_int, default=42, help="frames of a stream before (default: 42)")
    parser.add_argument("--side", type=positive_int, default=2048, help="of the largest matrices (default: 2048)")
    parser.add_argument("--kernel_seconds", type=positive_float, default=0.3, help="for each kernel (default: 0.3)")
    parser.add_argument("--seconds", type=positive_float, default=1e9, help="start nothing new after this many seconds")
    return parser.parse_args()


class Kernel(NamedTuple):
    """Something whose operations are known, that can be done again and again."""

    name: str
    flops: int
    run: Callable[[], object]


def torch_kernels(precision: str, device: torch.device, side: int) -> Iterator[Kernel]:
    """Linear layers, the same as 1x1 convolutions (which take another path on a CPU), and 3x3 convolutions.

    The last one is a product of two square matrices of that side, which fills a GPU.
    """

    def draw(*shape: int) -> torch.Tensor:
        x = torch.randn(shape, device=device).to(DTYPES[precision])
        return x.to(memory_format=torch.channels_last) if x.dim() == 4 else x

    for rows, width, out in LINEARS:
        flops = 2 * rows * width * out
        yield Kernel(f"linear {rows}x{width}x{out}", flops, partial(F.linear, draw(rows, width), draw(out, width)))
        convolve = partial(F.conv2d, draw(1, width, rows, 1), draw(out, width, 1, 1))
        yield Kernel(f"conv 1x1 {rows}x{width}x{out}", flops, convolve)
    for channels, height, width in CONVOLUTIONS:
        convolve = partial(F.conv2d, draw(1, channels, height, width), draw(channels, channels, 3, 3), padding=1)
        yield Kernel(f"conv 3x3 {channels}x{height}x{width}", 18 * channels * channels * height * width, convolve)
    yield Kernel(f"linear {side}x{side}x{side}", 2 * side**3, partial(F.linear, draw(side, side), draw(side, side)))


def least_seconds(run: Callable[[], object], seconds: float) -> float:
    """Shortest of the times that a kernel takes while it is repeated for so long; the device is waited for."""
    timer = Timer("run()", globals={"run": run}, num_threads=torch.get_num_threads())
    return min(timer.blocked_autorange(min_run_time=seconds).times)


def copy_bandwidth(mebibytes: int, seconds: float, device: torch.device) -> float:
    """GB/s that are read and written by copying a block much larger than the caches."""
    source = torch.ones(mebibytes << 20, dtype=torch.uint8, device=device)
    target = torch.zeros_like(source)
    return 2e-9 * source.nbytes / least_seconds(lambda: target.copy_(source), seconds)


def print_kernels(precisions: list[str], device: torch.device, args: argparse.Namespace) -> dict[str, float]:
    """Measure what the device can do; returns the best rate of each precision in GFLOP/s."""
    best: dict[str, float] = {}
    print_header(("kernel", "precision", "GFLOP/s"))
    for precision in precisions:
        for kernel in torch_kernels(precision, device, args.side):
            rate = 1e-9 * kernel.flops / least_seconds(kernel.run, args.kernel_seconds)
            best[precision] = max(best.get(precision, 0), rate)
            print_row((kernel.name, precision, f"{rate:.1f}"))
    mebibytes = 1024 if device.type == "cuda" else 256
    print(f"\nCopying: {copy_bandwidth(mebibytes, args.kernel_seconds, device):.1f} GB/s, read and written.\n")
    return best


@dataclass
class Run:
    """One way through one network: seconds and launches a frame, seconds the device is busy, MiB of its memory."""

    way: str
    seconds: float
    busy: float
    launches: float
    peak_mib: float


def union_seconds(spans: list[tuple[float, float]]) -> float:
    """Seconds that spans (start, end) in microseconds cover together."""
    covered, end = 0.0, float("-inf")
    for start, stop in sorted(spans):
        covered += max(stop - max(start, end), 0.0)
        end = max(end, stop)
    return covered / 1e6


def profiled(work: Callable[[], object], execution: Execution) -> tuple[float, int]:
    """Do the work under PyTorch's profiler: seconds in which at least one kernel or copy runs, and launches.

    The profiler slows the host down, but not the kernels. It knows nothing of OpenVINO's.
    """
    if execution.openvino_device is not None:
        return 0.0, 0
    on_gpu = execution.device.type == "cuda"
    with profile(activities=[ProfilerActivity.CUDA if on_gpu else ProfilerActivity.CPU], acc_events=True) as recorded:
        work()
        if on_gpu:
            torch.cuda.synchronize(execution.device)
    events = list(recorded.events() or [])
    if on_gpu:
        done = [event for event in events if event.device_type.name == "CUDA"]
        launches = sum(event.device_type.name == "CPU" and event.name.startswith(LAUNCHES) for event in events)
    else:
        done = [event for event in events if event.cpu_parent is None and event.name.startswith("aten::")]
        launches = len(done)
    return union_seconds([(event.time_range.start, event.time_range.end) for event in done]), launches


def reset_peak(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats(device)


def peak_mib(device: torch.device) -> float:
    return torch.cuda.max_memory_allocated(device) / 2**20 if device.type == "cuda" else float("nan")


def run_offline(network: Network, execution: Execution, input_size: int, args: argparse.Namespace) -> Run:
    """Whole clips, each from the first frame read to the last depth on the host; the median of three."""
    frames = take_frames(None, args.size, STEP * args.windows + FRAMES_OF_LAST)
    work = partial(timed_clip, network, input_size, execution, frames)
    work()  # libraries choose their kernels
    reset_peak(execution.device)
    seconds = float(np.median([work()[0] for _ in range(3)]))
    peak = peak_mib(execution.device)
    busy, launches = profiled(work, execution)
    return Run("offline", seconds / len(frames), busy / len(frames), launches / len(frames), peak)


def run_stream(way: str, network: Network, execution: Execution, input_size: int, args: argparse.Namespace) -> Run:
    """A stream whose memory is full, frame by frame."""
    frames = take_frames(None, args.size, args.warm_up + args.stream_frames + PROFILED_FRAMES)
    reset_peak(execution.device)
    stream = DepthStream(network, input_size, execution)
    seconds = []
    for frame in frames[:-PROFILED_FRAMES]:
        start = time.perf_counter()
        stream.step(frame)
        seconds.append(time.perf_counter() - start)
    peak = peak_mib(execution.device)
    busy, launches = profiled(lambda: [stream.step(frame) for frame in frames[-PROFILED_FRAMES:]], execution)
    median = float(np.median(seconds[args.warm_up :]))
    return Run(way, median, busy / PROFILED_FRAMES, launches / PROFILED_FRAMES, peak)


def runs(network: Network, execution: Execution, input_size: int, args: argparse.Namespace) -> Iterator[Run]:
    """Offline, streaming, and on CUDA streaming as one recorded graph."""
    yield run_offline(network, execution, input_size, args)
    one = replace(execution, frames_at_once=1)
    yield run_stream("streaming", network, replace(one, graphs=False), input_size, args)
    if one.graphs:
        yield run_stream("streaming, recorded graph", network, one, input_size, args)


def print_run(
    run: Run, cells: list[object], work: Work, best: float | None, in_torch: bool, args: argparse.Namespace
) -> None:
    frames = STEP * args.windows + FRAMES_OF_LAST
    gigaflop = work.of_clip(frames) / frames if run.way == "offline" else work.per_streamed_frame
    cells += [run.way, f"{1e3 * run.seconds:.2f}", f"{gigaflop / run.seconds:.1f}"]
    cells.append(f"{gigaflop / run.seconds / best:.3f}" if best is not None else "")
    cells += [f"{max(1 - run.busy / run.seconds, 0):.2f}", f"{run.launches:.0f}"] if in_torch else ["", ""]
    print_row([*cells, "" if np.isnan(run.peak_mib) else f"{run.peak_mib:.0f}"])


def main() -> int:
    args = parse_arguments()
    start = time.monotonic()
    device = resolve_device(flags.torch_device(args.device))
    variants = resolve(args.variants, args.device)
    print_heading(f"Roofline: on {device}, frames of {args.size[1]}x{args.size[0]}")
    precisions = dict.fromkeys(variant.precision for variant in variants if variant.precision != "int8")
    best = print_kernels(list(precisions), device, args)
    works = {}
    print_header(WORK.split("|"))
    for encoder, input_size in itertools.product(args.encoders, args.input_sizes):
        works[encoder, input_size] = work = count_work(encoder, network_size(args.size[0], args.size[1], input_size))
        parts = (work.encoder, work.attention, work.head_frame, work.mixing, work.rendering)
        numbers = (*parts, work.per_output_frame, work.per_streamed_frame)
        print_row((encoder, input_size, *(f"{number:.3f}" for number in numbers)))
    print()
    left_out = []
    print_header(RUNS.split("|"))
    for encoder in args.encoders:
        with checkpoint_file(None, encoder) as checkpoint:
            networks = Networks(encoder, checkpoint)
            for variant in variants:
                network = networks.network(execution_of(variant, args.device))
                for input_size in args.input_sizes:
                    if time.monotonic() - start > args.seconds:
                        left_out.append(f"{encoder} at {input_size} by {variant.name}")
                        continue
                    execution = execution_of(variant, args.device, input_size)
                    for run in runs(network, execution, input_size, args):
                        cells: list[object] = [encoder, input_size, variant.name]
                        in_torch = execution.openvino_device is None
                        print_run(run, cells, works[encoder, input_size], best.get(variant.precision), in_torch, args)
    if left_out:
        print(f"\nLeft out, since {args.seconds:g} s were over: {', '.join(left_out)}.")
    return 0


if __name__ == "__main__":
    sys.exit(run_script(main))
