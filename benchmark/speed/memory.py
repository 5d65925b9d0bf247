#!/usr/bin/env python3
"""Peak memory, each figure of a process of its own, as a Markdown table.

    python benchmark/speed/memory.py --lengths 100 500 2000
    python benchmark/speed/memory.py --script run_streaming.py --lengths 100 10000 --size 64x48 --input_size 28
    python benchmark/speed/memory.py --window --input_size 518 --size 960x540 --variants torch:fp32 torch:bf16

Without `--window`: a whole run of a script, against the length of a synthetic video. With it: the library alone on a
clip of one window, 32 frames, which is what a model, its input size and its precision decide. `--against` adds another
tree in both. Weights are random unless a checkpoint is named.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
from fractions import Fraction
from itertools import islice
from pathlib import Path
from typing import Any

if not __package__:  # run as a file: the repository is not on the path, but this folder is
    sys.path[0] = str(Path(__file__).resolve().parents[2])

from benchmark.speed import flags
from benchmark.speed.clip import synthetic_frames, take_frames
from benchmark.speed.report import print_header, print_heading, print_row
from benchmark.speed.weights import checkpoint_file
from video_depth_anything.cli.console import run_script
from video_depth_anything.cli.parser import positive_int
from video_depth_anything.errors import UsageError

ROOT = Path(__file__).resolve().parents[2]
WINDOW_FRAMES = 32


def wait_for_peak(process: subprocess.Popen[Any]) -> float:
    """Wait for a process; returns its peak resident memory in MiB, as the operating system counts it.

    Linux counts what this process has held when it starts the other one as the other one's, so this one has to stay
    small: it never loads torch.
    """
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    return usage.ru_maxrss / (2**20 if sys.platform == "darwin" else 2**10)


def peak_memory(command: list[str], folder: Path) -> float:
    """Run a command in a folder and return its peak in MiB; raises UsageError if it fails."""
    process = subprocess.Popen(command, cwd=folder, stdout=subprocess.DEVNULL)
    peak = wait_for_peak(process)
    if process.returncode:
        raise UsageError(f"failed with exit code {process.returncode}: {' '.join(command)}")
    return peak


def parse_arguments() -> argparse.Namespace:
    parser = flags.parser_for(__doc__, input_size=112, variants=("torch:fp32",), size="640x360")
    parser.add_argument("--script", choices=("run.py", "run_streaming.py"), default="run.py")
    what = "frames of the videos"
    parser.add_argument("--lengths", type=positive_int, nargs="+", default=[100, 500, 2000], help=what)
    parser.add_argument("--window", action="store_true", help="measure one window instead of whole runs")
    parser.add_argument("--flags", nargs=argparse.REMAINDER, default=[], help="flags for the script, last of all")
    parser.add_argument("--one", type=flags.variant, help=argparse.SUPPRESS)  # what a child of --window is to do
    return parser.parse_args()


def run_one(args: argparse.Namespace) -> None:
    """In a child of `--window`: one variant on one window, the depth dropped as it comes."""
    from benchmark.speed.variants import Networks, execution_of
    from video_depth_anything import infer_depth

    execution = execution_of(args.one, args.device, args.input_size)
    network = Networks(args.encoder, args.checkpoint).network(execution)
    for _ in infer_depth(network, take_frames(None, args.size, WINDOW_FRAMES), args.input_size, execution):
        pass


def measure_window(args: argparse.Namespace, checkpoint: Path) -> None:
    print_header(("variant", "peak memory, MiB"))
    if args.against is not None:
        from benchmark.speed.against import Against

        device = "cpu" if args.device == "auto" else flags.torch_device(args.device)
        settings = {"checkpoint": checkpoint, "encoder": args.encoder, "input_size": args.input_size, "device": device}
        for fp32 in sorted({variant.precision == "fp32" for variant in args.variants}, reverse=True):
            tree = Against(args.against, streaming=False, threads=None, **settings)
            tree.infer(take_frames(None, args.size, WINDOW_FRAMES), fp32)
            print_row((f"against:fp32={fp32}", f"{tree.close():.0f}"))
    common = ["--encoder", args.encoder, "--checkpoint", str(checkpoint.resolve()), "--device", args.device]
    common += ["--input_size", str(args.input_size), "--size", f"{args.size[1]}x{args.size[0]}"]
    for variant in args.variants:
        command = [sys.executable, str(Path(__file__).resolve()), *common, "--one", variant.name]
        print_row((variant.name, f"{peak_memory(command, ROOT):.0f}"))


def measure_lengths(args: argparse.Namespace, checkpoint: Path) -> None:
    from video_depth_anything.video.writer import VideoWriter

    trees = {"": ROOT} | ({"against: ": args.against.resolve()} if args.against else {})
    first: dict[str, float] = {}
    print_header(["frames", *(f"{name}{part}" for name in trees for part in ("peak memory, MiB", "against the first"))])
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "checkpoints").mkdir()
        for kind in ("", "metric_"):  # the original has no flag for the file, only its public names
            link = folder / "checkpoints" / f"{kind}video_depth_anything_{args.encoder}.pth"
            link.symlink_to(checkpoint.resolve())
        words = ["--encoder", args.encoder, "--input_size", str(args.input_size), "--output_dir", str(folder / "out")]
        for frames in args.lengths:
            video = folder / f"{frames}.mp4"
            writer = VideoWriter(video, args.size, Fraction(24))
            for image in islice(synthetic_frames(args.size), frames):
                writer.write(image)
            writer.close()
            cells = [str(frames)]
            for tree_name, tree in trees.items():
                script = [sys.executable, str(tree / args.script), "--input_video", str(video)]
                peak = peak_memory([*script, *words, *args.flags], folder)
                cells += [f"{peak:.0f}", f"{peak / first.setdefault(tree_name, peak):.3f}"]
            print_row(cells)


def main() -> int:
    args = parse_arguments()
    if args.one is not None:
        run_one(args)
        return 0
    what = f"one window of {WINDOW_FRAMES} frames" if args.window else f"{args.script} {' '.join(args.flags)}".strip()
    size = f"{args.size[1]}x{args.size[0]}"
    print_heading(f"Peak memory: {what}, {size}, {args.encoder}, input size {args.input_size}")
    with checkpoint_file(args.checkpoint, args.encoder) as checkpoint:
        (measure_window if args.window else measure_lengths)(args, checkpoint)
    return 0


if __name__ == "__main__":
    sys.exit(run_script(main))
