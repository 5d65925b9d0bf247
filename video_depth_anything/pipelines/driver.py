"""The way of a frame through a run: reader, queue, depth, queue, writers."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from itertools import groupby
from operator import attrgetter

from ..errors import BrokenOffError, InputError
from ..outputs.base import Finished
from ..outputs.run_outputs import RunOutputs
from ..video.frame import DepthMap, Frame, Image
from ..video.scene_cuts import CutDetector
from ..video_depth_stream import DepthStream
from .sharpening import sharpen
from .stop import Stop, Stopped
from .threads import BackgroundConsumer, prefetch

# Enough to bridge the pause that decoding a window makes, small beside a window's features.
READ_AHEAD = 8
# A window's frames become final all at once.
WRITE_BEHIND = 24
# Frames whose times are kept for `--latency`: as many as say something of now, and few enough for a stream of days.
LATENCY_FRAMES = 10_000

# From the frames of a video to one (H, W) float32 map each, in order.
Depths = Callable[[Iterator[Frame]], Iterator[DepthMap]]
_image_of: Callable[[Frame], Image] = attrgetter("image")
# Called with the numbers of frames that the network has taken, and of those whose depth is final.
Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class RunSummary:
    """What a run did.

    frames: those written. took: seconds from a frame to its outputs, of the latest ones. broken: how the input broke
    off. ages: seconds from when a live source gave a frame to its outputs.
    """

    frames: int
    seconds: float
    interrupted: bool
    took: tuple[float, ...] = ()
    broken: BrokenOffError | None = None
    ages: tuple[float, ...] = ()


def run_video(
    frames: Iterable[Frame],
    depths: Depths,
    outputs: RunOutputs,
    on_progress: Progress,
    stop: Stop,
    live: bool = False,
    place: Callable[[Frame, int], int] | None = None,
    sharpened_from: int | None = None,
) -> RunSummary:
    """Compute the depth of a video and write its outputs.

    Memory: the frames that `depths` has taken and not given depth for, and two short queues.

    Args:
        frames: in the order of time.
        depths: the middle of the way, see `by_windows` and `by_frames`.
        outputs: closed at the end, also when the run is stopped, an output asks for the end, or the input breaks off,
            with the frames done; aborted if anything fails.
        on_progress: told how far it is.
        stop: ends the run between two frames, and while it waits for one.
        live: read a frame only when it is wanted, and write it before the next one is read.
        place: where a frame lies, after so many others: below 0 before those to be written, above 0 behind them.
        sharpened_from: the network's input size, if depth is to take its edges from the frame.

    Raises:
        InputError: if no frame is to be written.
    """
    start = time.monotonic()
    reading = prefetch(frames, 0 if live else READ_AHEAD, stop)
    write = outputs.write if sharpened_from is None else partial(_write_sharpened, outputs, sharpened_from)
    writing = BackgroundConsumer(write, 0 if live else WRITE_BEHIND)
    way = _Way(on_progress, stop, place)
    took: deque[float] = deque(maxlen=LATENCY_FRAMES)
    ages: deque[float] = deque(maxlen=LATENCY_FRAMES)
    interrupted = False
    try:
        try:
            for frame, begun in way.joined(depths(way.taken_from(reading))):
                writing.put(frame)
                now = time.monotonic()
                took.append(now - begun)
                if frame.arrived is not None:
                    ages.append(now - frame.arrived)
            # A source that waits ends early where it is told to, as if there were no more frames.
            stop.check()
        except Finished:
            pass
        except Stopped:
            interrupted = True
        finally:
            reading.close()  # type: ignore[attr-defined]
        if way.done > way.written == 0 and not interrupted:
            raise InputError("the input has none of the frames given with --frames")
        writing.finish()
        outputs.close(interrupted or way.broken is not None)
    except BaseException:
        writing.cancel()
        outputs.abort()
        raise
    return RunSummary(way.written, time.monotonic() - start, interrupted, tuple(took), way.broken, tuple(ages))


def _write_sharpened(outputs: RunOutputs, input_size: int, frame: Frame) -> None:
    frame.depth = sharpen(frame.depth, frame.image, input_size)
    outputs.write(frame)


class _Way:
    """The frames between reader and writers, and how far they are."""

    def __init__(self, on_progress: Progress, stop: Stop, place: Callable[[Frame, int], int] | None) -> None:
        self.taken = self.done = self.written = 0
        self.broken: BrokenOffError | None = None
        self._waiting: deque[tuple[Frame, float]] = deque()
        self._on_progress = on_progress
        self._stop = stop
        self._place = place

    def taken_from(self, frames: Iterable[Frame]) -> Iterator[Frame]:
        """Frames on their way to the network; they wait here for their depth."""
        try:
            for frame in frames:
                self._stop.check()
                self.taken += 1
                self._waiting.append((frame, time.monotonic()))
                self._on_progress(self.taken, self.done)
                yield frame
        except BrokenOffError as error:
            # The frames before are computed as if the video ended there.
            self.broken = error

    def joined(self, depths: Iterator[DepthMap]) -> Iterator[tuple[Frame, float]]:
        """The frames to be written, with their depth, and when they were taken."""
        for depth in depths:
            frame, begun = self._waiting.popleft()
            where = 0 if self._place is None else self._place(frame, self.done)
            self.done += 1
            if where == 0:
                frame.depth = depth
                self.written += 1
                yield frame, begun
            self._on_progress(self.taken, self.done)
            self._stop.check()
            if where > 0:
                return


def by_windows(infer: Callable[[Iterator[Image]], Iterator[DepthMap]], cuts: CutDetector | None = None) -> Depths:
    """Depth of a whole video, each shot of it that `cuts` finds as if it were a video of its own.

    infer: from a shot's images to one (H, W) map each, in order.
    """

    if cuts is None:
        return lambda frames: infer(map(_image_of, frames))

    def depths(frames: Iterator[Frame]) -> Iterator[DepthMap]:
        shots = 0

        def shot_of(frame: Frame) -> int:
            nonlocal shots
            shots += cuts.is_cut(frame)
            return shots

        for _, shot in groupby(frames, key=shot_of):
            yield from infer(map(_image_of, shot))

    return depths


def by_frames(stream: DepthStream, cuts: CutDetector | None = None) -> Depths:
    """Depth of each frame as it comes; the stream forgets the video where `cuts` sees a scene cut."""

    def depths(frames: Iterator[Frame]) -> Iterator[DepthMap]:
        for frame in frames:
            if cuts is not None and cuts.is_cut(frame):
                stream.reset()
            yield stream.step(frame.image)

    return depths
