"""Turns an input into the selected frames: trimmed, thinned out and scaled."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator, Sequence
from fractions import Fraction
from itertools import chain, islice
from pathlib import Path

import cv2
import numpy as np

from ..errors import InputError
from .containers import is_address
from .files import FileReader
from .frame import Frame, Image
from .images import ImageReader
from .names import output_name, printable, public_location
from .options import USUAL_LIMITS, Limits
from .options import Selection as Selection
from .reader import ArrayReader, CameraReader, Reader
from .realtime import LiveReader
from .sequences import frame_numbers, is_image
from .stream_clock import Joint
from .timing import SAME_RATE, choose_frames

logger = logging.getLogger(__name__)


def processed_size(height: int, width: int, max_res: int) -> tuple[int, int]:
    """Size (H, W) of frames whose longer side is limited to `max_res` pixels (-1: no limit; ValueError for 0 and 1).

    A size that fits stays. A reduced one is rounded to even numbers, as codecs require, the longer side down.
    """
    if max_res < 0 or max(height, width) <= max_res:
        return height, width
    if max_res < 2:
        raise ValueError(f"max_res={max_res} is too small; the minimum is 2 pixels")
    longest = max_res - max_res % 2
    scale = longest / max(height, width)
    rows, columns = (max(round(side * scale), 1) for side in (height, width))
    return min(rows + rows % 2, longest), min(columns + columns % 2, longest)


class Source:
    """What outputs need to know about their video. Sizes are (H, W)."""

    location: str  # file or address, without secrets
    address: str  # the same with its secrets, to open it again
    name: str  # that of its outputs
    source_size: tuple[int, int]  # of the input's frames, upright and with square pixels
    size: tuple[int, int]  # of the selected frames
    source_fps: Fraction  # mean frame rate of the input
    fps: Fraction  # nominal frame rate of the selected frames; their times are exact
    expected: int | None  # how many frames will be written, by the input's header
    reader: str  # name of the decoder in use
    live = False  # whether frames arrive in real time
    images: Sequence[Path] = ()  # the files of an image sequence
    pixel_aspect = Fraction(1)  # width over height of an image's pixels, before it was stretched to square ones
    first_time: float | None = None  # `source_time` of the first frame written, once known

    @property
    def joints(self) -> Sequence[Joint]:
        """Where recordings were joined in the input, up to the current frame."""
        return ()

    @property
    def copyable(self) -> bool:
        """Whether the input is a file whose packets, copied to MP4, would show exactly the frames so far."""
        return False


class VideoSource(Source):
    """Yields the selected frames of a video; iterated once.

    Args:
        location: for messages.
        selection: which frames, and how large.
        reader: open, not yet iterated; closed with the source.
        name: the location's stem if None.

    Raises:
        InputError: if no frame can be decoded; while iterating, if no frame lies in the selection.
    """

    def __init__(self, location: str | Path, selection: Selection, reader: Reader, name: str | None = None) -> None:
        self.location, self.address = public_location(str(location)), str(location)
        self.live, self.images, self.pixel_aspect = reader.live, reader.images, reader.pixel_aspect
        self.name = output_name(Path(location).stem) if name is None else name
        self.reader = reader.name
        self._placed = False
        self._selection = selection
        self._max_len = selection.max_len if selection.max_len > 0 else None
        self._reader = reader
        self._frames = iter(reader)
        try:
            self._first = next(self._frames, None)
            if self._first is None:
                raise InputError(f"cannot read {printable(location)}: not a video, or damaged: no frame can be decoded")
        except BaseException:
            reader.close()
            raise
        self.source_size = self._first.image.shape[:2]
        self.size = processed_size(*self.source_size, selection.max_res)
        if self.size != self.source_size:
            text = "%s: frames of %dx%d are processed at %dx%d; --max_res -1 keeps their size"
            logger.info(text, printable(self.location), *self.source_size[::-1], *self.size[::-1])
        self.source_fps = reader.fps
        target = selection.target_fps
        if target is not None and target > self.source_fps * (1 + Fraction(SAME_RATE)):
            rate = float(self.source_fps)
            logger.info("%s has %.6g frames per second; all are kept", printable(self.location), rate)
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
        if self._selection.frames is not None:
            kept = min(kept, self._selection.frames.last - self._selection.frames.first + 1)
        return kept if self._max_len is None else min(kept, self._max_len)

    def timed(self) -> Iterator[Frame]:
        """Yield frames (H, W, 3) uint8 RGB with their times in seconds from the first one kept."""
        first, self._first = self._first, None
        if first is None:
            return
        chosen = self._selection
        decoded = chain((first,), self._frames)
        hold = 0 if self.live else 2
        frames = choose_frames(decoded, float(self.source_fps), chosen.target_fps, chosen.start, chosen.end, hold)
        told = False
        try:
            for frame in islice(frames, self._max_len):
                if self.first_time is None:
                    self.first_time = frame.source_time
                if frame.image.shape[:2] != self.source_size and not told:
                    told = True
                    text = "%s: its frames change from %dx%d to %dx%d pixels; they are scaled to the first size"
                    sizes = (*self.source_size[::-1], *frame.image.shape[1::-1])
                    logger.warning(text, printable(self.location), *sizes)
                if frame.image.shape[:2] != self.size:
                    # Scaled here and not in the decoders, whose scalers differ.
                    resized = cv2.resize(frame.image, self.size[::-1], interpolation=cv2.INTER_AREA)
                    frame.image = np.asarray(resized, np.uint8)
                first = None
                yield frame
        finally:
            self._reader.close()
        if first is not None:
            raise InputError(f"{printable(self.location)} has no frame after --start {chosen.start:g} seconds")

    def place(self, frame: Frame, count: int) -> int:
        """Place of a frame after `count` others: negative before the frames to be written, positive after them.

        A frame to be written gets its number.
        """
        chosen = self._selection.frames
        if chosen is None:
            return 0
        number = frame.numbered(count)
        if not chosen.first <= number <= chosen.last:
            return number - chosen.first
        if not self._placed:
            self._placed, self.first_time = True, frame.source_time
        frame.number = number
        return 0

    @property
    def joints(self) -> Sequence[Joint]:
        return self._reader.joints

    @property
    def copyable(self) -> bool:
        chosen = self._selection
        whole = chosen.start <= 0 and chosen.end is None and chosen.frames is None and self._max_len is None
        same = self.fps == self.source_fps and self.size == self.source_size
        return whole and same and self._reader.copyable

    def __iter__(self) -> Iterator[Image]:
        return (frame.image for frame in self.timed())

    def close(self) -> None:
        self._reader.close()


def open_video(
    location: str | Path, selection: Selection = Selection(), name: str | None = None, limits: Limits = USUAL_LIMITS
) -> VideoSource:
    """Open a video file, an image, an address, a pipe or a device.

    Args:
        location: where it is.
        selection: which frames are wanted, and how large.
        name: what its outputs are called; its stem if None.
        limits: limits on the input; `Limits(trusted=False)` for a file that a stranger sent.

    Raises:
        InputError: if it is missing, refused by `limits`, or no frame of it decodes.
    """
    path = Path(location)
    if is_image(path) and path.is_file():
        return open_images([path], selection, str(location), name, limits)
    return _open(
        lambda: FileReader(str(location), limits, selection.live, selection.start), str(location), selection, name
    )


def open_camera(number: str, selection: Selection, name: str) -> VideoSource:
    """Open a camera of this machine."""
    return _open(lambda: CameraReader(number), number, selection, name)


def _open(opened: Callable[[], Reader], location: str, selection: Selection, name: str | None) -> VideoSource:
    reader = opened()
    if reader.live:
        again = selection.reconnect and (is_address(location) or isinstance(reader, CameraReader))
        reader = LiveReader(reader, printable(location), opened if again else None)
    return VideoSource(location, selection, reader, name)


def open_images(
    paths: Sequence[Path],
    selection: Selection = Selection(),
    location: str | None = None,
    name: str | None = None,
    limits: Limits = USUAL_LIMITS,
) -> VideoSource:
    """Open image files, in order, as one video; a single file may be an animation. Arguments as for `open_video`."""
    numbers, chosen = frame_numbers(paths), selection.frames
    if numbers and chosen is not None and not any(chosen.first <= number <= chosen.last for number in numbers):
        found = f"{printable(location or paths[0])} has images {numbers[0]} to {numbers[-1]}"
        raise InputError(f"{found}, none of the frames {chosen} given with --frames")
    reader = ImageReader(paths, selection.image_fps, selection.colorspace, limits)
    return VideoSource(location or str(paths[0]), selection, reader, name)


def open_frames(
    frames: Iterable[Image], selection: Selection = Selection(), name: str = "frames", count: int | None = None
) -> VideoSource:
    """Open frames in memory as a video.

    Args:
        frames: (H, W, 3) uint8 RGB, all of one size.
        selection: which frames are wanted, how large, and how many a second they are.
        name: what its outputs are called.
        count: how many there are; None if that is not known.

    Raises:
        InputError: if there are no frames.
    """
    return VideoSource(name, selection, ArrayReader(frames, selection.image_fps, count), name)
