"""One input as a stream of frames: opened with whichever reader can, trimmed, thinned out and scaled as asked."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from itertools import chain, islice
from pathlib import Path

import numpy as np
import numpy.typing as npt

from ..errors import InputError
from .readers import STREAM_READERS, Reader, ReaderError, ReaderKind, suitable_readers
from .timing import SAME_RATE, TimedFrame, as_rate, choose_frames, trim

logger = logging.getLogger(__name__)

ReaderFactory = Callable[[str], Reader]


@dataclass(frozen=True)
class Selection:
    """Which frames of an input are wanted, and how large.

    max_res: longer side at most, in pixels; -1: any. target_fps: frames a second, None: all. max_len: frames kept at
    most, -1: all. start, end: seconds from the first frame; end None: to the end. image_fps: frames a second that
    images stand for.
    """

    max_res: int = -1
    target_fps: Fraction | None = None
    max_len: int = -1
    start: float = 0.0
    end: float | None = None
    image_fps: float = 24.0


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
    """A video as a stream of frames; iterated once.

    Attributes:
        location: file or address.
        name: what its outputs are called.
        source_size: (H, W) of the input's frames as they are shown.
        size: (H, W) of the frames that come out.
        source_fps: mean frame rate the input states.
        fps: nominal frame rate of what comes out; the times of the frames tell the true one.
        expected: how many frames will come, as far as the input can be believed; None if it does not say.
        reader: name of the decoder in use.

    Raises:
        InputError: if no reader decodes a frame of it; while iterating, if no frame lies in the selection.
    """

    def __init__(
        self,
        location: str | Path,
        selection: Selection = Selection(),
        readers: Sequence[ReaderFactory] = STREAM_READERS,
        name: str | None = None,
    ) -> None:
        self.location = str(location)
        self.name = name or Path(location).stem
        self._selection = selection
        self._max_len = selection.max_len if selection.max_len > 0 else None
        self._opened = _open_first(self.location, list(readers))
        reader, first = self._opened.reader, self._opened.first
        self.reader = reader.name
        self.source_size = (first.image.shape[0], first.image.shape[1])
        self.size = processed_size(*self.source_size, selection.max_res)
        self.source_fps = as_rate(reader.fps)
        target = selection.target_fps
        if target is not None and target > self.source_fps * (1 + Fraction(SAME_RATE)):
            logger.info("%s has %.6g frames a second: all are kept", self.location, float(self.source_fps))
        self.fps = self.source_fps if target is None else min(target, self.source_fps)
        self.expected = self._expected(reader.expected_frames)

    def _expected(self, claimed: int | None) -> int | None:
        start, end = self._selection.start, self._selection.end
        seconds = None if claimed is None else claimed / self.source_fps
        if end is not None:
            seconds = Fraction(end) if seconds is None else min(seconds, Fraction(end))
        if seconds is None:
            return self._max_len
        kept = max(round((seconds - Fraction(start)) * self.fps), 1)
        return kept if self._max_len is None else min(kept, self._max_len)

    def timed(self) -> Iterator[TimedFrame]:
        """Frames (H, W, 3) uint8 RGB with their times in seconds from the first one kept."""
        wanted = trim(self._decoded(), self._selection.start, self._selection.end)
        count = 0
        chosen = choose_frames(wanted, float(self.source_fps), self._selection.target_fps)
        for frame in islice(chosen, self._max_len):
            yield frame._replace(image=_resized(frame.image, self.size))
            count += 1
        if count == 0:
            raise InputError(f"{self.location} has no frame after --start {self._selection.start:g} seconds")

    def __iter__(self) -> Iterator[npt.NDArray[np.uint8]]:
        return (frame.image for frame in self.timed())

    def close(self) -> None:
        """Let go of the input, read or not."""
        self._opened.reader.close()

    def _decoded(self) -> Iterator[TimedFrame]:
        """All frames of the input; where a decoder stops early, the next one goes on after the same frame."""
        done = 0
        while True:
            reader = self._opened.reader
            try:
                for frame in chain((self._opened.first,), self._opened.rest):
                    yield frame
                    done += 1
                stopped = reader.num_frames is not None and done < reader.num_frames
            except ReaderError:
                stopped = True
            finally:
                reader.close()
            following = _resume(self.location, self._opened.others, done) if stopped else None
            if following is None:
                if stopped and reader.num_frames is not None:
                    claimed = reader.num_frames
                    logger.warning("%s ends after %d frames, though it claims %d", self.location, done, claimed)
                return
            name = following.reader.name
            logger.warning("%s: %s stops after %d frames, %s goes on", self.location, reader.name, done, name)
            self._opened = following


@dataclass
class Opened:
    """A reader that has decoded its first frame, and the ones to try if it fails on the way."""

    reader: Reader
    first: TimedFrame
    rest: Iterator[TimedFrame]
    others: list[ReaderFactory]


def _open_first(location: str, readers: list[ReaderFactory]) -> Opened:
    """The first reader that decodes a frame."""
    reasons: list[str] = [] if readers else ["no video stream in it"]
    while readers:
        opened = _try_open(location, readers, reasons)
        if opened is not None:
            return opened
        readers = readers[1:]
    raise InputError(f"cannot read {location}: not a video, or damaged: {'; '.join(reasons)}")


def _try_open(location: str, readers: list[ReaderFactory], reasons: list[str]) -> Opened | None:
    try:
        reader = readers[0](location)
    except ReaderError as error:
        reasons.append(str(error))
        return None
    try:
        frames = iter(reader)
        first = next(frames)
    except (ReaderError, StopIteration) as error:
        reasons.append(str(error) or f"{reader.name} decodes no frame")
        reader.close()
        return None
    # Some readers count from the file's start, others from the first frame shown.
    rest = (frame._replace(time=frame.time - first.time) for frame in frames)
    return Opened(reader, first._replace(time=0.0), rest, readers[1:])


def _resume(location: str, readers: list[ReaderFactory], done: int) -> Opened | None:
    """One of `readers`, wound forward past the frames that are done."""
    while readers:
        opened = _try_open(location, readers, [])
        readers = readers[1:]
        if opened is None:
            continue
        frames = islice(chain((opened.first,), opened.rest), done, None)
        try:
            return Opened(opened.reader, next(frames), frames, opened.others)
        except (ReaderError, StopIteration):
            opened.reader.close()
    return None


def _resized(image: npt.NDArray[np.uint8], size: tuple[int, int]) -> npt.NDArray[np.uint8]:
    """Scaled here and not in the decoders, whose scalers differ."""
    if image.shape[:2] == size:
        return image
    import cv2

    return np.asarray(cv2.resize(image, (size[1], size[0]), interpolation=cv2.INTER_AREA), dtype=np.uint8)


def open_video(
    location: str | Path,
    selection: Selection = Selection(),
    name: str | None = None,
    readers: Sequence[ReaderKind] = STREAM_READERS,
) -> VideoSource:
    """Open a video file or address with those of `readers` that suit it.

    Raises:
        InputError: if it is missing, or no reader decodes a frame of it.
    """
    text = str(location)
    if "://" not in text:
        path = Path(location)
        if not path.is_file():
            raise InputError(f"input video {path} not found" if not path.exists() else f"input {path} is not a file")
    return VideoSource(text, selection, suitable_readers(text, readers), name)
