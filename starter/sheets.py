"""Contact sheets of real frames: each image beside the disparity that checkpoints see in it, at several sizes.

    python -m starter.sheets --checkpoints old.pth new.pth --inputs a.mp4 DIR/rgb --input_sizes 280 518 --out sheet.png

A row a frame; its columns are the image, then one picture a checkpoint and size. Motion modules are not run.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from starter.scores import Frame, single_frames
from video_depth_anything.cli.console import run_script
from video_depth_anything.cli.parser import positive_int
from video_depth_anything.config import PRECISIONS
from video_depth_anything.errors import InputError, OutputError
from video_depth_anything.video.inputs import IMAGE_ENDINGS

Image = npt.NDArray[np.uint8]


def spread_frames(path: Path, count: int) -> list[Image]:
    """`count` evenly spaced frames (H, W, 3) RGB of a video or a folder of images.

    Raises:
        InputError: if there are none.
    """
    frames: list[Any] = []
    if path.is_dir():
        files = sorted(p for p in path.iterdir() if p.suffix.lower() in IMAGE_ENDINGS)
        frames = [cv2.imread(str(files[round(k)])) for k in np.linspace(0, len(files) - 1, count)] if files else []
    else:
        video = cv2.VideoCapture(str(path))
        last = max(int(video.get(cv2.CAP_PROP_FRAME_COUNT)) - 1, 0)
        for index in np.linspace(0, last, count + 2)[1:-1]:
            video.set(cv2.CAP_PROP_POS_FRAMES, round(index))
            frames.append(video.read()[1])
    if not frames or any(frame is None for frame in frames):
        raise InputError(f"{path}: no frames can be read there")
    return [np.ascontiguousarray(frame[..., ::-1]) for frame in frames]


def drawn(disparity: npt.NDArray[np.float32], width: int) -> Image:
    """Disparity as a BGR picture of that width, from its 1st to its 99th percentile."""
    low, high = np.percentile(disparity, (1, 99))
    levels = (np.clip((disparity - low) / max(high - low, 1e-6), 0, 1) * 255).astype(np.uint8)
    return np.asarray(_fit(cv2.applyColorMap(levels, cv2.COLORMAP_INFERNO), width), np.uint8)


def _fit(picture: Image, width: int) -> Image:
    height = round(picture.shape[0] * width / picture.shape[1])
    how = cv2.INTER_AREA if width < picture.shape[1] else cv2.INTER_CUBIC
    return np.asarray(cv2.resize(picture, (width, height), interpolation=how), np.uint8)


def main(argv: Sequence[str] | None = None) -> int:
    args = _parser().parse_args(argv)
    import torch

    if args.threads:
        torch.set_num_threads(args.threads)
    frames = [frame for path in args.inputs for frame in spread_frames(path, args.count)]
    unmeasured = [Frame(frame, np.zeros(frame.shape[:2], np.float32)) for frame in frames]
    columns = [[_fit(np.ascontiguousarray(frame[..., ::-1]), args.width) for frame in frames]]
    for checkpoint in args.checkpoints:
        for size in args.input_sizes:
            maps = single_frames(checkpoint, unmeasured, size, args.precision)
            columns.append([drawn(disparity, args.width) for disparity in maps])
    sheet = np.vstack([np.hstack(row) for row in zip(*columns)])
    if not cv2.imwrite(str(args.out), sheet):
        raise OutputError(f"{args.out}: cannot be written; pass a .png or .jpg file in an existing folder")
    print(args.out)
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m starter.sheets", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--checkpoints", type=Path, nargs="+", required=True, metavar="FILE")
    parser.add_argument("--inputs", type=Path, nargs="+", required=True, metavar="PATH", help="videos, image folders")
    parser.add_argument("--count", type=positive_int, default=2, help="frames of each, spread (%(default)s)")
    parser.add_argument("--input_sizes", type=positive_int, nargs="+", default=[280], help="network inputs' heights")
    parser.add_argument("--width", type=positive_int, default=320, help="of one picture in pixels (%(default)s)")
    parser.add_argument("--out", type=Path, required=True, metavar="FILE", help="the picture to write")
    parser.add_argument("--precision", choices=PRECISIONS, default="auto")
    parser.add_argument("--threads", type=positive_int, help="CPU threads of torch")
    return parser


if __name__ == "__main__":
    sys.exit(run_script(main))
