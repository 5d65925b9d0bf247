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
from collections.abc import Callable
from fractions import Fraction
from functools import partial
from pathlib import Path

if not __package__:  # run as a file: the repository is not on the path, but this folder is
    sys.path[0] = str(Path(__file__).resolve().parents[2])

from benchmark.speed import flags
from video_depth_anything.cli.console import run_script
from video_depth_anything.errors import UsageError

ROOT = Path(__file__).resolve().parents[2]
PARTS = ("help", "streaming", "offline")


def parse_arguments() -> argparse.Namespace:
    parser = flags.parser_for(__doc__)
    flags.add_model_arguments(parser, input_size=518)
    flags.add_against_argument(parser)
    flags.add_size_argument(parser, "960x540")
    what = "what to measure (default: all of it)"
    parser.add_argument("--what", nargs="+", choices=PARTS, default=list(PARTS), help=what)
    flags.add_repeats_argument(parser, 5)
    parser.add_argument("--flags", nargs=argparse.REMAINDER, default=[], help="flags for the scripts, last of all")
    return parser.parse_args()


def run_to_the_end(command: list[str]) -> float:
    """Seconds that a command takes.

    Raises:
        UsageError: if it fails.
    """
    start = time.perf_counter()
    result = subprocess.run(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, check=False)
    seconds = time.perf_counter() - start
    if result.returncode:
        raise UsageError(f"{' '.join(command)} failed: {(result.stderr.splitlines() or ['without a word'])[-1]}")
    return seconds


def run_to_first_frame(command: list[str], num_bytes: int) -> float:
    """Seconds until a command has written so many bytes to standard output; it is left to end.

    Raises:
        UsageError: if it ends before.
    """
    start = time.perf_counter()
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    assert process.stdout is not None
    found = len(process.stdout.read(num_bytes))
    seconds = time.perf_counter() - start
    process.communicate()
    if found < num_bytes:
        raise UsageError(f"{' '.join(command)} ended before its first frame")
    return seconds


def median_seconds(work: Callable[[], float], repeats: int) -> float:
    """Median over processes, after one that is not counted."""
    work()
    return statistics.median(work() for _ in range(repeats))


def make_frame(path: Path, height: int, width: int) -> None:
    """A video of one frame."""
    from benchmark.speed.clip import take_frames
    from video_depth_anything.video.writer import VideoWriter

    writer = VideoWriter(path, (height, width), Fraction(24))
    writer.write(take_frames(None, (height, width), 1)[0])
    writer.close()


def print_help_times(args: argparse.Namespace) -> None:
    from benchmark.speed.report import print_row

    scripts = {name: ROOT / name for name in ("run.py", "run_streaming.py")}
    scripts |= {"against: run.py": args.against / "run.py"} if args.against else {}
    for name, script in scripts.items():
        seconds = median_seconds(partial(run_to_the_end, [sys.executable, str(script), "--help"]), args.repeats)
        print_row((f"{name} --help", f"{seconds:.2f}"))


def print_first_frames(args: argparse.Namespace, folder: Path) -> None:
    from benchmark.speed.report import print_row
    from benchmark.speed.weights import checkpoint_file

    make_frame(folder / "frame.mp4", *args.size)
    with checkpoint_file(args.checkpoint, args.encoder) as checkpoint:
        words = ["--encoder", args.encoder, "--checkpoint", str(checkpoint), "--input_size", str(args.input_size)]
        words += ["--device", args.device, "--input_video", str(folder / "frame.mp4"), "--output_dir", str(folder)]
        if "streaming" in args.what:
            command = [sys.executable, str(ROOT / "run_streaming.py"), *words, *args.flags]
            command += ["--save", "src", "--stdout", "gray16le"]
            num_bytes = 2 * args.size[0] * args.size[1]
            seconds = median_seconds(partial(run_to_first_frame, command, num_bytes), args.repeats)
            print_row(("run_streaming.py, first frame of depth", f"{seconds:.2f}"))
        if "offline" in args.what:
            command = [sys.executable, str(ROOT / "run.py"), *words, *args.flags, "--save", "npz"]
            seconds = median_seconds(partial(run_to_the_end, command), args.repeats)
            print_row(("run.py, a video of one frame, whole run", f"{seconds:.2f}"))


def main() -> int:
    args = parse_arguments()
    from benchmark.speed.against import check_tree
    from benchmark.speed.report import print_header, print_heading

    check_tree(args.against, Path("run.py"))
    print_heading(f"Start-up: {args.encoder}, input size {args.input_size}, medians of {args.repeats}")
    print_header(("what", "seconds"))
    if "help" in args.what:
        print_help_times(args)
    if set(args.what) & {"streaming", "offline"}:
        with tempfile.TemporaryDirectory() as folder:
            print_first_frames(args, Path(folder))
    return 0


if __name__ == "__main__":
    sys.exit(run_script(main))
