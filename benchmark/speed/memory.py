#!/usr/bin/env python3
"""Peak memory of run.py, or run_streaming.py, against the length of the video.

    python benchmark/speed/memory.py --lengths 100 500 2000
    python benchmark/speed/memory.py --script run_streaming.py --lengths 100 10000 --size 64x48 --input_size 28

Each length is one run of the script on a synthetic video, in a process of its own; its peak resident memory is what the
operating system accounted when it ended. Weights are random unless a checkpoint is named.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
from fractions import Fraction
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from utils.video_writer import VideoWriter  # noqa: E402 - the repository is found by now

# Measured on the original: frames, and several copies of all depth maps, are held to the end.
ORIGINAL_MB_PER_FRAME_720P = 11.8


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--script", choices=("run.py", "run_streaming.py"), default="run.py")
    parser.add_argument("--lengths", type=int, nargs="+", default=[100, 500, 2000], help="frames of the videos")
    parser.add_argument("--size", default="640x360", help="WIDTHxHEIGHT of the videos")
    parser.add_argument("--encoder", default="vits")
    parser.add_argument("--input_size", default="112")
    parser.add_argument("--checkpoint", type=Path, help="random weights if left out")
    parser.add_argument("--flags", nargs=argparse.REMAINDER, default=[], help="flags for the script, last of all")
    return parser.parse_args()


def make_video(path: Path, frames: int, width: int, height: int) -> None:
    """A texture that moves by a pixel a frame."""
    texture = np.random.default_rng(0).integers(0, 256, (height // 8 + 1, width // 8 + 1, 3), dtype=np.uint8)
    image = np.repeat(np.repeat(texture, 8, axis=0), 8, axis=1)[:height, :width]
    writer = VideoWriter(path, (height, width), Fraction(24))
    for index in range(frames):
        writer.write(np.roll(image, index, axis=1))
    writer.close()


def make_checkpoint(path: Path, encoder: str) -> None:
    """Weights as they are drawn at initialisation."""
    import torch

    from video_depth_anything import VideoDepthAnything

    torch.manual_seed(0)
    torch.save(VideoDepthAnything(encoder).state_dict(), path)


def peak_memory(command: list[str]) -> float:
    """Run a command and return its own peak resident memory in MiB."""
    process = os.posix_spawn(command[0], command, {**os.environ})
    _, status, usage = os.wait4(process, 0)
    if os.waitstatus_to_exitcode(status):
        raise SystemExit(f"failed: {' '.join(command)}")
    return usage.ru_maxrss / (2**20 if sys.platform == "darwin" else 2**10)


def main() -> None:
    args = parse_arguments()
    width, height = (int(side) for side in args.size.split("x"))
    with tempfile.TemporaryDirectory() as folder:
        checkpoint = args.checkpoint or Path(folder, "random.pth")
        if args.checkpoint is None:
            make_checkpoint(checkpoint, args.encoder)
        command = [sys.executable, str(ROOT / args.script), "--encoder", args.encoder, "--checkpoint", str(checkpoint)]
        command += ["--input_size", args.input_size, "--output_dir", str(Path(folder, "out")), *args.flags]
        flags = " ".join(args.flags) or "none"
        print(f"{args.script}, {args.size}, {args.encoder}, input size {args.input_size}, flags: {flags}\n")
        print("| frames | peak memory, MiB | against the first |\n|---|---|---|")
        peaks: list[float] = []
        for frames in args.lengths:
            video = Path(folder, f"{frames}.mp4")
            make_video(video, frames, width, height)
            peaks.append(peak_memory([*command, "--input_video", str(video)]))
            print(f"| {frames} | {peaks[-1]:.0f} | {peaks[-1] / peaks[0]:.3f} |", flush=True)
    if len(peaks) > 1:
        growth = (peaks[-1] - peaks[0]) / (args.lengths[-1] - args.lengths[0])
        pixels = width * height / (1280 * 720)
        print(f"\nGrowth: {growth:.4f} MiB a frame. ", end="")
        print(f"The original: about {ORIGINAL_MB_PER_FRAME_720P} MB a frame at 1280x720, ", end="")
        print(f"so {ORIGINAL_MB_PER_FRAME_720P * pixels:.1f} MB at this size.")


if __name__ == "__main__":
    main()
