"""Video in and out, whichever decoder can read the file: the same frames, sizes and rates from each."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator, Sequence
from fractions import Fraction
from itertools import chain, islice
from pathlib import Path

import numpy as np
import numpy.typing as npt

from .colors import Colorizer
from .timing import TimedFrame, as_rate, choose_frames
from .video_readers import READERS, Reader, ReaderError, suitable_readers
from .video_writer import VideoWriter

logger = logging.getLogger(__name__)


class VideoError(Exception):
    """An input cannot be read; the message names it and the remedy."""


def processed_size(height: int, width: int, max_res: int) -> tuple[int, int]:
    """Size (H, W) of frames whose longer side may have at most `max_res` pixels (-1: any).

    A size that is changed is rounded to even numbers, as codecs want it; one that fits is left as it is.
    """
    if max_res <= 0 or max(height, width) <= max_res:
        return height, width
    scale = max_res / max(height, width)
    rows, columns = (max(round(side * scale), 1) for side in (height, width))
    return rows + rows % 2, columns + columns % 2


class VideoSource:
    """A video file as a stream of frames, thinned out and scaled as asked; made by `open_video`, iterated once.

    Attributes:
        path: the file.
        source_size: (H, W) of the file's frames as they are shown.
        size: (H, W) of the frames that come out.
        source_fps: mean frame rate of the file.
        fps: frame rate of what comes out.
        expected: how many frames will come, as far as the file can be believed; None if it does not say.
        reader: name of the decoder in use.
    """

    def __init__(
        self,
        path: Path,
        max_res: int = -1,
        target_fps: Fraction | None = None,
        max_len: int = -1,
        readers: Sequence[type[Reader]] = READERS,
    ) -> None:
        self.path = path
        self._readers = list(readers)
        self._max_len = max_len if max_len > 0 else None
        self._opened = _open_first(path, self._readers)
        reader, first, _ = self._opened
        self.reader = reader.name
        self.source_size = (first.image.shape[0], first.image.shape[1])
        self.size = processed_size(*self.source_size, max_res)
        self.source_fps = as_rate(reader.fps)
        self._target = target_fps
        if target_fps is not None and target_fps > self.source_fps:
            logger.info("%s has %.6g frames a second: all are kept", path, float(self.source_fps))
        self.fps = self.source_fps if target_fps is None else min(target_fps, self.source_fps)
        self.expected = self._expected(reader.expected_frames)

    def _expected(self, claimed: int | None) -> int | None:
        if claimed is None:
            return self._max_len
        kept = max(round(claimed * self.fps / self.source_fps), 1)
        return kept if self._max_len is None else min(kept, self._max_len)

    def timed(self) -> Iterator[TimedFrame]:
        """Frames (H, W, 3) uint8 RGB with their times in seconds from the first one."""
        frames = choose_frames(self._decoded(), float(self.source_fps), self._target)
        for frame in islice(frames, self._max_len):
            yield TimedFrame(_resized(frame.image, self.size), frame.time)

    def __iter__(self) -> Iterator[npt.NDArray[np.uint8]]:
        return (frame.image for frame in self.timed())

    def _decoded(self) -> Iterator[TimedFrame]:
        """All frames of the file; where a decoder stops early, the next one goes on after the same frame."""
        reader, first, rest = self._opened
        done = 0
        while True:
            try:
                for frame in chain((first,), rest):
                    yield frame
                    done += 1
                stopped = reader.num_frames is not None and done < reader.num_frames
            except ReaderError:
                stopped = True
            finally:
                reader.close()
            following = _resume(self.path, self._readers, reader, done) if stopped else None
            if following is None:
                if stopped and reader.num_frames is not None:
                    logger.warning("%s ends after %d frames, though it claims %d", self.path, done, reader.num_frames)
                return
            logger.warning("%s: %s stops after %d frames, %s goes on", self.path, reader.name, done, following[0].name)
            reader, first, rest = following


Opened = tuple[Reader, TimedFrame, Iterator[TimedFrame]]


def _open_first(path: Path, readers: list[type[Reader]]) -> Opened:
    """The first reader that decodes a frame; the ones before it are dropped from the list."""
    if not path.is_file():
        raise VideoError(f"input video {path} not found" if not path.exists() else f"input video {path} is not a file")
    readers[:] = suitable_readers(path, readers)
    reasons: list[str] = [] if readers else ["no video stream in it"]
    while readers:
        opened = _try_open(path, readers[0], reasons)
        if opened is not None:
            return opened
        readers.pop(0)
    raise VideoError(f"cannot read {path}: not a video, or damaged: {'; '.join(reasons)}")


def _try_open(path: Path, kind: type[Reader], reasons: list[str]) -> Opened | None:
    try:
        reader = kind(path)
    except ReaderError as error:
        reasons.append(str(error))
        return None
    try:
        frames = iter(reader)
        first = next(frames)
        # Some readers count from the file's start, others from the first frame shown.
        rest = (TimedFrame(image, time - first.time) for image, time in frames)
        return reader, TimedFrame(first.image, 0.0), rest
    except (ReaderError, StopIteration) as error:
        reasons.append(str(error) or f"{reader.name} decodes no frame")
        reader.close()
        return None


def _resume(path: Path, readers: list[type[Reader]], stopped: Reader, done: int) -> Opened | None:
    """A reader after the one that stopped, wound forward past the frames that are done."""
    del readers[: readers.index(type(stopped)) + 1]
    for kind in readers:
        opened = _try_open(path, kind, [])
        if opened is None:
            continue
        reader, first, rest = opened
        try:
            frames = islice(chain((first,), rest), done, None)
            return reader, next(frames), frames
        except (ReaderError, StopIteration):
            reader.close()
    return None


def _resized(image: npt.NDArray[np.uint8], size: tuple[int, int]) -> npt.NDArray[np.uint8]:
    """Scaled here and not in the decoders, whose scalers differ."""
    if image.shape[:2] == size:
        return image
    import cv2

    return np.asarray(cv2.resize(image, (size[1], size[0]), interpolation=cv2.INTER_AREA), dtype=np.uint8)


def parse_target_fps(target_fps: float | str | Fraction) -> Fraction | None:
    """A wanted frame rate as a fraction; None for all frames (-1).

    Raises:
        ValueError: if it is neither -1 nor a positive number or fraction.
    """
    rate = Fraction(str(target_fps))
    if rate == -1:
        return None
    if rate <= 0:
        raise ValueError(f"{target_fps} is not a positive frame rate")
    return as_rate(float(rate)) if rate.denominator > 1001 else rate


def read_video_frames(
    video_path: str | Path, process_length: int = -1, target_fps: float = -1, max_res: int = -1
) -> tuple[npt.NDArray[np.uint8], float]:
    """Read a video into memory. `VideoSource` reads it as a stream.

    Args:
        process_length: at most so many frames are kept, -1: all.
        target_fps: frames are chosen by time to come at this rate, -1: all. More than the file has is not possible.
        max_res: longer side of the result at most, in pixels, -1: any.

    Returns:
        (N, H, W, 3) uint8 RGB, and their frame rate.

    Raises:
        VideoError: if the file is missing, or no reader decodes a frame of it.
    """
    source = VideoSource(Path(video_path), max_res, parse_target_fps(target_fps), process_length)
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
        colorizer = Colorizer(float(np.nanmin(depths)), float(np.nanmax(depths)), None if grayscale else "inferno")
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
