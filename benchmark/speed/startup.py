#!/usr/bin/env python3
"""Seconds until something happens: `--help`, and the first frame of depth, as a Markdown table.

    python benchmark/speed/startup.py --encoder vits --input_size 518

Each figure is a median over whole processes, started after one that is not counted, so that the disk is warm. The first
frame of streaming is when its last byte has come on standard output; offline, where depth comes a window at a time, a
video of one frame is run to its end. Weights are random unless a checkpoint is named.
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
import tempfile
import time
from fractions import Fraction
from pathlib import Path

if not __package__:  # run as a file: the repository is not on the path, but this folder is
    sys.path[0] = str(Path(__file__).resolve().parents[2])

from benchmark.speed import flags
from benchmark.speed.clip import take_frames
from benchmark.speed.report import print_header, print_heading, print_row
from benchmark.speed.weights import checkpoint_file
from video_depth_anything.cli.console import run_script
from video_depth_anything.errors import UsageError
from video_depth_anything.video.writer import VideoWriter

ROOT = Path(__file__).resolve().parents[2]
PARTS = ("help", "streaming", "offline")


def parse_arguments() -> argparse.Namespace:
    parser = flags.parser_for(__doc__, input_size=518, size="960x540", repeats=5)
    what = "what to measure (default: all of it)"
    parser.add_argument("--what", nargs="+", choices=PARTS, default=list(PARTS), help=what)
    parser.add_argument("--flags", nargs=argparse.REMAINDER, default=[], help="flags for the scripts, last of all")
    return parser.parse_args()


def run_seconds(command: list[str], num_bytes: int | None = None) -> float:
    """Seconds that a command takes, or until it has written so many bytes to standard output.

    Raises:
        UsageError: if it fails, or ends before.
    """
    start = time.perf_counter()
    with tempfile.TemporaryFile("w+") as errors:
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=errors)
        assert process.stdout is not None
        found = len(process.stdout.read(num_bytes if num_bytes is not None else -1))
        seconds = time.perf_counter() - start
        process.communicate()
        errors.seek(0)
        if process.returncode:
            lines = errors.read().splitlines() or ["no message"]
            raise UsageError(f"{' '.join(command)} failed: {lines[-1]}")
    if num_bytes is None:
        return time.perf_counter() - start
    if found < num_bytes:
        raise UsageError(f"{' '.join(command)} ended before its first frame")
    return seconds


def print_median(name: str, args: argparse.Namespace, command: list[str], num_bytes: int | None = None) -> None:
    run_seconds(command, num_bytes)
    seconds = statistics.median(run_seconds(command, num_bytes) for _ in range(args.repeats))
    print_row((name, f"{seconds:.2f}"))


def main() -> int:
    args = parse_arguments()
    print_heading(f"Start-up: {args.encoder}, input size {args.input_size}, medians of {args.repeats}")
    print_header(("what", "seconds"))
    if "help" in args.what:
        for script in ("run.py", "run_streaming.py"):
            print_median(f"{script} --help", args, [sys.executable, str(ROOT / script), "--help"])
    if args.what == ["help"]:
        return 0
    with tempfile.TemporaryDirectory() as folder, checkpoint_file(args.checkpoint, args.encoder) as checkpoint:
        video = Path(folder, "frame.mp4")
        writer = VideoWriter(video, args.size, Fraction(24))
        writer.write(take_frames(None, args.size, 1)[0])
        writer.close()
        words = ["--encoder", args.encoder, "--checkpoint", str(checkpoint), "--input_size", str(args.input_size)]
        words += ["--device", args.device, "--input_video", str(video), "--output_dir", folder, *args.flags, "--save"]
        if "streaming" in args.what:
            command = [sys.executable, str(ROOT / "run_streaming.py"), *words, "src", "--stdout", "gray16le"]
            print_median("run_streaming.py, first frame of depth", args, command, 2 * args.size[0] * args.size[1])
        if "offline" in args.what:
            command = [sys.executable, str(ROOT / "run.py"), *words, "npz"]
            print_median("run.py, a video of one frame, whole run", args, command)
    return 0


if __name__ == "__main__":
    sys.exit(run_script(main))
