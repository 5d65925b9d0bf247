"""Whole videos in and out, under the names that callers of the original layout import."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import numpy as np
import numpy.typing as npt

from video_depth_anything.outputs.colormap import Colorizer
from video_depth_anything.video.decord_reader import DecordError, DecordReader
from video_depth_anything.video.source import Selection, VideoSource, open_video
from video_depth_anything.video.timing import as_rate, parse_target_fps
from video_depth_anything.video.writer import VideoWriter


def read_video_frames(
    video_path: str | Path, process_length: int = -1, target_fps: float = -1, max_res: int = -1
) -> tuple[npt.NDArray[np.uint8], float]:
    """Read a video into memory. `video_depth_anything.video.source.open_video` reads it as a stream.

    decord reads it, as in the original; PyAV where decord is missing, fails on the file, or shows it otherwise than it
    is meant (mirrored, HDR, interlaced, trimmed).

    Args:
        process_length: at most so many frames are kept, -1: all.
        target_fps: frames are chosen by time to come at this rate, -1: all. More than the file has is not possible.
        max_res: longer side of the result at most, in pixels, -1: any.

    Returns:
        (N, H, W, 3) uint8 RGB, and their frame rate.

    Raises:
        InputError: if the file is missing, or no frame of it decodes.
    """
    selection = Selection(max_res, parse_target_fps(target_fps), process_length)
    try:
        source = VideoSource(video_path, selection, DecordReader(str(video_path)))
        return np.stack(list(source)), float(source.fps)
    except DecordError:
        source = open_video(video_path, selection)
        return np.stack(list(source)), float(source.fps)


def save_video(
    frames: Iterable[npt.NDArray[np.floating | np.uint8]],
    output_video_path: str | Path,
    fps: float = 10,
    is_depths: bool = False,
    grayscale: bool = False,
) -> None:
    """Write frames, or depth maps in colour, to an .mp4 file.

    Args:
        frames: (H, W, 3) uint8 RGB each; with `is_depths` (N, H, W) float, coloured between its minimum and maximum.
        fps: frame rate.
        is_depths: colour the frames; inferno, bright is large, or gray with `grayscale`.

    Raises:
        OutputError: if the file cannot be written. ValueError: if there are no frames.
    """
    path, rate = Path(output_video_path), as_rate(fps)
    colored: Iterable[npt.NDArray[np.uint8]]
    if is_depths:
        depths = np.asarray(frames)
        finite = depths[np.isfinite(depths)]
        low, high = (float(finite.min()), float(finite.max())) if finite.size else (0.0, 0.0)
        colorizer = Colorizer(low, high, None if grayscale else "inferno")
        colored = (colorizer(depth) for depth in depths)
    else:
        colored = (np.asarray(frame, dtype=np.uint8) for frame in frames)
    writer: VideoWriter | None = None
    try:
        for image in colored:
            writer = writer or VideoWriter(path, (image.shape[0], image.shape[1]), rate)
            writer.write(image)
    except BaseException:
        if writer is not None:
            writer.abort()
        raise
    if writer is None:
        raise ValueError(f"no frames to write to {path}")
    writer.close()
