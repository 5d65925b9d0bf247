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
from video_depth_anything.outputs.colormap import color_table, in_colors, levels_of
from video_depth_anything.video.source import Selection, open_video
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
    video_path: str | Path, process_length: int = -1, target_fps: float = -1, max_res: float = -1
) -> tuple[npt.NDArray[np.uint8], float]:
    """Read a video into memory. `video_depth_anything.video.source.open_video` reads it as a stream.

    decord reads it, as in the original and with the same frames; PyAV where decord is missing or fails on the file.

    Args:
        video_path: of the file.
        process_length: at most so many frames are kept, -1: all.
        target_fps: frames a second to keep, -1: all. decord takes every n-th frame, PyAV chooses by time.
        max_res: longer side of the result at most, in pixels, -1: any. decord makes both sides even.

    Returns:
        (N, H, W, 3) uint8 RGB, and their frame rate: `target_fps` if it is given.

    Raises:
        InputError: if the file is missing, or no frame of it decodes.
    """
    selection = Selection(round(max_res), parse_target_fps(target_fps), process_length)
    found = _read_by_decord(str(video_path), process_length, target_fps, max_res) if DECORD_AVAILABLE else None
    if found is not None:
        return found
    source = open_video(video_path, selection)
    return np.stack(list(source)), float(source.fps)


def _read_by_decord(
    path: str, process_length: int, target_fps: float, max_res: float
) -> tuple[npt.NDArray[np.uint8], float] | None:
    """None if decord cannot read the file."""
    import decord

    decord.logging.set_level(decord.logging.QUIET)
    try:
        video: Any = decord.VideoReader(path, ctx=decord.cpu(0))
        height, width = video.get_batch([0]).shape[1:3]
        if 0 < max_res < max(height, width):
            scale = max_res / max(height, width)
            height, width = (ensure_even(round(side * scale)) for side in (height, width))
        video = decord.VideoReader(path, ctx=decord.cpu(0), width=width, height=height)
        rate = video.get_avg_fps()
        fps = rate if target_fps == -1 else target_fps
        chosen = range(0, len(video), max(round(rate / fps), 1))
        frames = video.get_batch(chosen if process_length == -1 else chosen[:process_length]).asnumpy()
    except (decord.base.DECORDError, RuntimeError):
        return None
    return (frames, fps) if frames.shape[3:] == (3,) else None  # of frames of two pixels it makes other arrays


def save_video(
    frames: Iterable[npt.NDArray[np.floating | np.uint8]],
    output_video_path: str | Path,
    fps: float = 10,
    is_depths: bool = False,
    grayscale: bool = False,
    metric: bool = False,
) -> None:
    """Write frames, or depth maps in colour, to a video file.

    Args:
        frames: (H, W, 3) uint8 RGB each; with `is_depths` (N, H, W) float, coloured between its minimum and maximum.
        output_video_path: where to. The suffix names the container: .mp4, .mov, .mkv and .avi hold H.264, .webm VP9;
            .gif is one too. Odd sides are padded by one pixel that repeats its neighbour.
        fps: frame rate.
        is_depths: whether the frames are depth maps.
        grayscale: whether depth is coloured gray; else with inferno.
        metric: whether the depth is in metres and near is bright, as `vda run --metric` colours it. By default large is
            bright, as in the original.

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
    pictures = iter(_colored(frames, grayscale, metric) if is_depths else frames)
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


def _colored(depths: Iterable[npt.NDArray[Any]], grayscale: bool, metric: bool) -> Iterator[npt.NDArray[np.uint8]]:
    maps = np.asarray(depths)
    finite = maps[np.isfinite(maps)]
    low, high = (float(finite.min()), float(finite.max())) if finite.size else (0.0, 0.0)
    ends = (high, low) if metric else (low, high)
    levels = (levels_of(one, *ends) for one in maps)
    return levels if grayscale else (in_colors(one, color_table("inferno")) for one in levels)


def _padded(picture: npt.NDArray[Any]) -> npt.NDArray[np.uint8]:
    """(H, W, 3) or (H, W) to uint8 RGB with even sides."""
    rgb = np.asarray(picture, dtype=np.uint8)
    if rgb.ndim == 2:
        rgb = np.repeat(rgb[..., None], 3, axis=2)
    height, width = rgb.shape[:2]
    return np.pad(rgb, ((0, ensure_even(height) - height), (0, ensure_even(width) - width), (0, 0)), mode="edge")
