"""The path of a frame through a run: reader, queue, depth, queue, writers."""

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

# Enough to bridge the pause while a window is decoded, and small compared with a window's features.
READ_AHEAD = 8
# A window's frames become final all at once.
WRITE_BEHIND = 24
# Latest frames that `--latency` measures, a fixed number because streams may last for days.
LATENCY_FRAMES = 10_000

# Turns the frames of a video into one (H, W) float32 map each, in order.
Depths = Callable[[Iterator[Frame]], Iterator[DepthMap]]
_image_of: Callable[[Frame], Image] = attrgetter("image")
# Called with the number of frames given to the network, and of those with final depth.
Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class RunSummary:
    """Result of a run.

    frames: how many were written. took: seconds from taking a frame to its outputs, for the latest frames. broken: how
    the input broke off. ages: seconds from a live frame's arrival to its outputs.
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

    Memory: the frames inside `depths`, and two short queues.

    Args:
        frames: in the order of time.
        depths: computes depth, see `by_windows` and `by_frames`.
        outputs: closed at the end, also if the run is stopped, an output ends it, or the input breaks off; aborted on
            any other error.
        on_progress: called with the progress.
        stop: ends the run between two frames, or while it waits for one.
        live: read a frame only on demand, and write it before the next one is read.
        place: place of a frame after a number of others: negative before the frames to be written, positive after them.
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
            # A waiting source ends when `stop` is set, as if there were no more frames.
            stop.check()
        except Finished:
            pass
        except Stopped:
            interrupted = True
        finally:
            reading.close()  # type: ignore[attr-defined]
        if way.done > way.written == 0 and not interrupted:
            raise InputError(f"{outputs.source} has none of the frames given with --frames")
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
    """The frames between reader and writers, and their progress."""

    def __init__(self, on_progress: Progress, stop: Stop, place: Callable[[Frame, int], int] | None) -> None:
        self.taken = self.done = self.written = 0
        self.broken: BrokenOffError | None = None
        self._waiting: deque[tuple[Frame, float]] = deque()
        self._on_progress = on_progress
        self._stop = stop
        self._place = place

    def taken_from(self, frames: Iterable[Frame]) -> Iterator[Frame]:
        """Yield frames to the network, and keep them until their depth is known."""
        try:
            for frame in frames:
                self._stop.check()
                self.taken += 1
                self._waiting.append((frame, time.monotonic()))
                self._on_progress(self.taken, self.done)
                yield frame
        except BrokenOffError as error:
            # Depth is computed as if the video ended after these frames.
            self.broken = error

    def joined(self, depths: Iterator[DepthMap]) -> Iterator[tuple[Frame, float]]:
        """Yield the frames to be written, with their depth, and when they were taken."""
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
    """Depth by windows; each shot that `cuts` finds is treated as a video of its own.

    infer: turns a shot's images into one (H, W) map each, in order.
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
    """Depth frame by frame; the stream starts over where `cuts` finds a scene cut."""

    def depths(frames: Iterator[Frame]) -> Iterator[DepthMap]:
        for frame in frames:
            if cuts is not None and cuts.is_cut(frame):
                stream.reset()
            yield stream.step(frame.image)

    return depths
