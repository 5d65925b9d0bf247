#!/usr/bin/env python3
"""Peak memory of whole runs of a script against the length of a synthetic video, as a Markdown table.

    python benchmark/speed/memory.py --lengths 100 500 2000
    python benchmark/speed/memory.py --script run_streaming.py --lengths 100 10000 --size 64x48 --input_size 28
    python benchmark/speed/memory.py --lengths 32 --input_size 518 --size 960x540 --flags --precision bf16 --save none

Each figure is of a process of its own. `--against` adds another tree. Weights are random unless a checkpoint is named.
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
from benchmark.speed.clip import synthetic_frames
from benchmark.speed.report import print_header, print_heading, print_row
from benchmark.speed.weights import checkpoint_file
from video_depth_anything.cli.console import run_script
from video_depth_anything.cli.parser import positive_int
from video_depth_anything.errors import UsageError

ROOT = Path(__file__).resolve().parents[2]


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
    parser = flags.parser_for(__doc__, input_size=112, size="640x360")
    parser.add_argument("--script", choices=("run.py", "run_streaming.py"), default="run.py")
    what = "frames of the videos"
    parser.add_argument("--lengths", type=positive_int, nargs="+", default=[100, 500, 2000], help=what)
    parser.add_argument("--against", type=Path, metavar="PATH", help="also measure the script of this other tree")
    parser.add_argument("--flags", nargs=argparse.REMAINDER, default=[], help="flags for the script, last of all")
    return parser.parse_args()


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
    what = f"{args.script} {' '.join(args.flags)}".strip()
    size = f"{args.size[1]}x{args.size[0]}"
    print_heading(f"Peak memory: {what}, {size}, {args.encoder}, input size {args.input_size}")
    with checkpoint_file(args.checkpoint, args.encoder) as checkpoint:
        measure_lengths(args, checkpoint)
    return 0


if __name__ == "__main__":
    sys.exit(run_script(main))
