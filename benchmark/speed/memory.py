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
from pathlib import Path

if not __package__:  # run as a file: the repository is not on the path, but this folder is
    sys.path[0] = str(Path(__file__).resolve().parents[2])

from benchmark.speed import flags
from video_depth_anything.cli.console import run_script
from video_depth_anything.cli.parser import positive_int
from video_depth_anything.errors import UsageError

ROOT = Path(__file__).resolve().parents[2]
# Measured on the original: frames, and several copies of all depth maps, are held to the end.
ORIGINAL_MB_PER_FRAME_720P = 11.8
WINDOW_FRAMES = 32


def parse_arguments() -> argparse.Namespace:
    parser = flags.parser_for(__doc__)
    flags.add_model_arguments(parser, input_size=112)
    flags.add_variant_arguments(parser, default=("torch:fp32",))
    flags.add_size_argument(parser, "640x360")
    parser.add_argument("--script", choices=("run.py", "run_streaming.py"), default="run.py")
    parser.add_argument(
        "--lengths", type=positive_int, nargs="+", default=[100, 500, 2000], help="frames of the videos"
    )
    parser.add_argument("--window", action="store_true", help="measure one window instead of whole runs")
    parser.add_argument("--flags", nargs=argparse.REMAINDER, default=[], help="flags for the script, last of all")
    parser.add_argument("--one", type=flags.variant, help=argparse.SUPPRESS)  # what a child of --window is to do
    return parser.parse_args()


def make_video(path: Path, frames: int, height: int, width: int) -> None:
    """A texture that moves by a pixel a frame."""
    import numpy as np

    from video_depth_anything.video.writer import VideoWriter

    texture = np.random.default_rng(0).integers(0, 256, (height // 8 + 1, width // 8 + 1, 3), dtype=np.uint8)
    image = np.repeat(np.repeat(texture, 8, axis=0), 8, axis=1)[:height, :width]
    writer = VideoWriter(path, (height, width), Fraction(24))
    for index in range(frames):
        writer.write(np.roll(image, index, axis=1))
    writer.close()


def peak_memory(command: list[str], folder: Path) -> float:
    """Run a command in a folder and return its own peak resident memory in MiB.

    Linux counts what this process has held when it starts the other one as the other one's, so this one has to stay
    small: it never loads torch.

    Raises:
        UsageError: if the command fails.
    """
    process = subprocess.Popen(command, cwd=folder, stdout=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise UsageError(f"failed with exit code {process.returncode}: {' '.join(command)}")
    return usage.ru_maxrss / (2**20 if sys.platform == "darwin" else 2**10)


def run_one(args: argparse.Namespace) -> None:
    """In a child of `--window`: one variant on one window, the depth dropped as it comes."""
    from benchmark.speed.clip import take_frames
    from benchmark.speed.variants import Models, offline

    infer = offline(args.one, Models(args.encoder, args.checkpoint, args.device), args.input_size)
    for _ in infer(take_frames(None, args.size, WINDOW_FRAMES)):
        pass


def against_window(args: argparse.Namespace, checkpoint: Path) -> dict[str, float]:
    """Peak memory of the other tree on one window, by precision, each in a process of its own."""
    from benchmark.speed.against import OFFLINE_FILE, Against
    from benchmark.speed.clip import take_frames

    peaks = {}
    for fp32 in sorted({variant.precision == "fp32" for variant in args.variants}, reverse=True):
        device = "cpu" if args.device == "auto" else flags.torch_device(args.device)
        settings = {"checkpoint": checkpoint, "encoder": args.encoder, "input_size": args.input_size}
        tree = Against(args.against, OFFLINE_FILE, **settings, device=device, threads=None)
        tree.offline(take_frames(None, args.size, WINDOW_FRAMES), fp32)
        peaks["against:fp32" if fp32 else "against:half"] = tree.peak_mib()
        tree.close()
    return peaks


def measure_window(args: argparse.Namespace, checkpoint: Path) -> None:
    from benchmark.speed.report import print_header, print_row

    print_header(("variant", "peak memory, MiB"))
    for name, peak in (against_window(args, checkpoint) if args.against else {}).items():
        print_row((name, f"{peak:.0f}"))
    common = ["--encoder", args.encoder, "--checkpoint", str(checkpoint.resolve()), "--device", args.device]
    common += ["--input_size", str(args.input_size), "--size", f"{args.size[1]}x{args.size[0]}"]
    for variant in args.variants:
        command = [sys.executable, str(Path(__file__).resolve()), *common, "--one", variant.name]
        print_row((variant.name, f"{peak_memory(command, ROOT):.0f}"))


def measure_lengths(args: argparse.Namespace, checkpoint: Path) -> None:
    from benchmark.speed.report import print_header, print_row

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
            make_video(video, frames, *args.size)
            cells = [str(frames)]
            for tree_name, tree in trees.items():
                script = [sys.executable, str(tree / args.script), "--input_video", str(video)]
                peak = peak_memory([*script, *words, *args.flags], folder)
                growth = peak / first.setdefault(tree_name, peak)
                cells += [f"{peak:.0f}", f"{growth:.3f}"]
            print_row(cells)
    if len(args.lengths) > 1:
        growth = (peak - first[tree_name]) / (args.lengths[-1] - args.lengths[0])
        print(
            f"\nGrowth of the last column: {growth:.4f} MiB a frame. The original, measured at 1280x720: about", end=" "
        )
        pixels = args.size[0] * args.size[1] / (1280 * 720)
        print(
            f"{ORIGINAL_MB_PER_FRAME_720P} MB a frame, which is {ORIGINAL_MB_PER_FRAME_720P * pixels:.1f} at this size."
        )


def main() -> int:
    args = parse_arguments()
    if args.one is not None:
        run_one(args)
        return 0
    from benchmark.speed.against import OFFLINE_FILE, check_tree
    from benchmark.speed.report import print_heading
    from benchmark.speed.weights import checkpoint_file

    check_tree(args.against, OFFLINE_FILE if args.window else Path(args.script))
    what = f"one window of {WINDOW_FRAMES} frames" if args.window else f"{args.script} {' '.join(args.flags)}".strip()
    size = f"{args.size[1]}x{args.size[0]}"
    print_heading(f"Peak memory: {what}, {size}, {args.encoder}, input size {args.input_size}")
    with checkpoint_file(args.checkpoint, args.encoder) as checkpoint:
        (measure_window if args.window else measure_lengths)(args, checkpoint)
    return 0


if __name__ == "__main__":
    sys.exit(run_script(main))
