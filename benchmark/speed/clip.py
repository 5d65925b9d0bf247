"""The frames that the benchmarks run on."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt

from video_depth_anything.errors import InputError

Frame = npt.NDArray[np.uint8]


def synthetic_frames(size: tuple[int, int]) -> Iterator[Frame]:
    """Smooth noise that drifts over the picture: frames (height, width, 3) uint8, without end."""
    height, width = size
    coarse = np.random.default_rng(0).integers(0, 256, (height // 8 + 1, width // 8 + 1, 3)).astype(np.uint8)
    picture = np.asarray(cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC), dtype=np.uint8)
    while True:
        yield picture
        picture = np.roll(picture, (1, 3), axis=(0, 1))


def video_frames(path: Path) -> Iterator[Frame]:
    """RGB frames of a video file, from its start again at its end.

    Raises:
        InputError: if it cannot be read.
    """
    while True:
        capture = cv2.VideoCapture(str(path))
        good, picture = capture.read()
        if not good:
            raise InputError(f"{path} cannot be read as a video")
        while good:
            yield np.asarray(picture[..., ::-1], dtype=np.uint8)
            good, picture = capture.read()
        capture.release()


def take_frames(video: Path | None, size: tuple[int, int], count: int) -> Frame:
    """The clip (count, height, width, 3) uint8 RGB: a video's first frames, or synthetic ones of `size`."""
    return np.stack(list(islice(video_frames(video) if video else synthetic_frames(size), count)))
