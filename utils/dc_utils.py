"""Whole videos in and out, under the names that callers of the original layout import."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import closing
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from video_depth_anything.errors import OutputError
from video_depth_anything.files import whole_file
from video_depth_anything.outputs.colormap import Colorizer
from video_depth_anything.video.decord_reader import DecordError, DecordReader
from video_depth_anything.video.source import Selection, VideoSource, open_video
from video_depth_anything.video.timing import parse_target_fps

# Whether decord is there to read with.
DECORD_AVAILABLE = find_spec("decord") is not None
# How `save_video` writes each container: x264's quality 18 is visually lossless; VP9 counts otherwise.
H264: dict[str, Any] = {"codec": "libx264", "output_params": ["-crf", "18"]}
VP9: dict[str, Any] = {"codec": "libvpx-vp9", "output_params": ["-crf", "24", "-b:v", "0"]}
CONTAINERS = {".mp4": H264, ".mov": H264, ".mkv": H264, ".avi": H264, ".webm": VP9}


def ensure_even(value: int) -> int:
    """The number, or the next one if it is odd: H.264 in its common form has even sides."""
    return value + value % 2


def read_video_frames(
    video_path: str | Path, process_length: int = -1, target_fps: float = -1, max_res: int = -1
) -> tuple[npt.NDArray[np.uint8], float]:
    """Read a video into memory. `video_depth_anything.video.source.open_video` reads it as a stream.

    decord reads it, as in the original; PyAV where decord is missing, fails on the file, or shows it otherwise than it
    is meant (mirrored, HDR, interlaced, trimmed).

    Args:
        video_path: of the file.
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
    """Write frames, or depth maps in colour, to a video file.

    Args:
        frames: (H, W, 3) uint8 RGB each; with `is_depths` (N, H, W) float, coloured between its minimum and maximum.
        output_video_path: where to. The suffix names the container: .mp4, .mov, .mkv and .avi hold H.264, .webm VP9;
            .gif is one too. Odd sides are padded by one pixel that repeats its neighbour.
        fps: frame rate.
        is_depths: whether the frames are depth maps.
        grayscale: whether depth is coloured gray; else with inferno. Bright is large.

    Raises:
        OutputError: if the file cannot be written.
        ValueError: if there are no frames, or the frame rate is not positive.
    """
    from imageio.v2 import get_writer

    open_writer: Any = get_writer  # its own types do not tell of `append_data`, and its `with` not of errors
    path = Path(output_video_path)
    suffix = path.suffix.lower()
    if suffix not in (*CONTAINERS, ".gif"):
        raise OutputError(f"cannot write {path}: its suffix must be one of {', '.join(CONTAINERS)}, .gif")
    if not 0 < fps < float("inf"):
        raise ValueError(f"frame rate {fps} is not a positive number")
    options = {"format": "FFMPEG", "fps": fps, "macro_block_size": 1, **CONTAINERS.get(suffix, {})}
    if suffix == ".gif":
        options = {"duration": 1000 / fps, "loop": 0}  # milliseconds; without end
    pictures = iter(_colored(frames, grayscale) if is_depths else frames)
    first = next(pictures, None)
    if first is None:
        raise ValueError(f"no frames to write to {path}")
    try:
        with whole_file(path) as partial, closing(open_writer(partial, **options)) as writer:
            writer.append_data(_padded(first))
            for picture in pictures:
                writer.append_data(_padded(picture))
    except OSError as error:
        raise OutputError(f"cannot write {path}: {str(error).strip().splitlines()[0]}") from error


def _colored(depths: Iterable[npt.NDArray[Any]], grayscale: bool) -> Iterator[npt.NDArray[np.uint8]]:
    maps = np.asarray(depths)
    finite = maps[np.isfinite(maps)]
    low, high = (float(finite.min()), float(finite.max())) if finite.size else (0.0, 0.0)
    return map(Colorizer(low, high, None if grayscale else "inferno"), maps)


def _padded(picture: npt.NDArray[Any]) -> npt.NDArray[np.uint8]:
    """(H, W, 3) or (H, W) to uint8 RGB with even sides."""
    rgb = np.asarray(picture, dtype=np.uint8)
    if rgb.ndim == 2:
        rgb = np.repeat(rgb[..., None], 3, axis=2)
    height, width = rgb.shape[:2]
    return np.pad(rgb, ((0, ensure_even(height) - height), (0, ensure_even(width) - width), (0, 0)), mode="edge")
