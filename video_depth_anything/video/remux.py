"""Finishing a video that is encoded: other times for its frames, and sound beside it, without encoding it again."""

from __future__ import annotations

import heapq
import logging
from array import array
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from operator import itemgetter
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import InputError
from .names import printable
from .sound import AudioTrack, Sound

if TYPE_CHECKING:
    from av import Packet, VideoStream
    from av.container import OutputContainer

logger = logging.getLogger(__name__)

# Of times that are not at a constant rate: a common multiple of the usual rates.
VARIABLE_TICK = Fraction(1, 90_000)
# Seconds between two frames at least: two ticks, so that no rounding makes them one.
LEAST = float(2 * VARIABLE_TICK)


@dataclass(frozen=True)
class Schedule:
    """When each frame of a video is shown.

    Attributes:
        count: how many frames there are.
        rate: of constant rate.
        times: seconds at which each frame is shown, and the last one's end, count + 1 in all; None at constant rate.
    """

    count: int
    rate: Fraction
    times: Sequence[float] | None = None

    @property
    def tick(self) -> Fraction:
        """Seconds that `at` counts in."""
        return 1 / self.rate if self.times is None else VARIABLE_TICK

    @property
    def seconds(self) -> float:
        """How long all frames play."""
        return float(self.count / self.rate) if self.times is None else self.times[-1]

    def at(self, index: int) -> int:
        """The tick of frame `index`; before the first one, time goes on as its first step."""
        if self.times is None:
            return index
        if index < 0:
            return index * max(self.at(1), 1)
        return round(self.times[min(index, self.count)] / float(VARIABLE_TICK))


def schedule(stamps: array[float], end: float, rate: Fraction, tolerance: float) -> Schedule:
    """Frames at their own times, or at a constant rate if that moves none of them by more than a little.

    Args:
        stamps: when each frame is shown, in seconds.
        end: when the last one ends.
        rate: the mean rate.
        tolerance: seconds that a frame may be moved.
    """
    first, step = stamps[0], float(1 / rate)
    if all(abs(stamp - first - index * step) <= tolerance for index, stamp in enumerate(stamps)):
        return Schedule(len(stamps), rate)
    times: list[float] = []
    for stamp in (*stamps, end):
        # A file has no two frames at one time.
        times.append(max(stamp - first, times[-1] + LEAST) if times else 0.0)
    return Schedule(len(stamps), rate, times)


def remux(source: Path, target: Path, fps: Fraction, plan: Schedule, audio: AudioTrack | None, name: str) -> None:
    """Copy the packets of a video to another file.

    Sound that cannot be used is left out with a warning.

    Args:
        source, target: MP4 or Matroska files; the target's ending tells which.
        fps: the rate that frames of the source were counted in.
        plan: when they are shown.
        audio: sound to add, cut to the video's length.
        name: for messages.

    Raises:
        av.FFmpegError, OSError: if the target cannot be written.
    """
    import av

    if audio is not None:
        try:
            _copy(source, target, fps, plan, audio)
            return
        except (InputError, av.FFmpegError, ValueError) as error:
            logger.warning("%s stays without sound: that of %s fails: %s", name, printable(audio.location), error)
    try:
        _copy(source, target, fps, plan, None)
    except av.FFmpegError as error:
        if plan.times is None:
            raise
        # MP4 has no pause of many hours, for one.
        logger.warning("%s: its frames cannot have their own times (%s); they are evenly spread", name, error)
        _copy(source, target, fps, Schedule(plan.count, plan.rate), None)


def _copy(source: Path, target: Path, fps: Fraction, plan: Schedule, audio: AudioTrack | None) -> None:
    import av

    options = {"movflags": "+faststart"} if target.suffix == ".mp4" else {}
    with av.open(f"file:{source}", "r") as given, av.open(f"file:{target}", "w", container_options=options) as output:
        stream = given.streams.video[0]
        copied = output.add_stream_from_template(stream)
        copied.time_base = plan.tick
        packets = _scheduled(given.demux(stream), stream, copied, fps, plan)
        if audio is None:
            _write(output, packets)
            return
        sound = Sound(audio, output, plan.seconds)
        try:
            _write(output, heapq.merge(packets, sound.packets(), key=itemgetter(0)))
        finally:
            sound.close()


def _write(output: OutputContainer, packets: Iterator[tuple[float, Packet[Any]]]) -> None:
    for _, packet in packets:
        output.mux(packet)


def _scheduled(
    packets: Iterator[Packet[VideoStream]], source: VideoStream, target: VideoStream, fps: Fraction, plan: Schedule
) -> Iterator[tuple[float, Packet[VideoStream]]]:
    """The packets with their new times.

    MP4 takes its length from the clock by which frames are stored. Where they are stored out of order, that clock is
    behind at the end, so the packet stored last makes up for it.
    """
    tick = source.time_base or Fraction(1, 1000)
    # Matroska counts milliseconds, too coarse for high rates; frames there are in order.
    in_order = source.codec_context.name == "ffv1"
    held: tuple[int, Packet[VideoStream]] | None = None
    start = 0
    for count, packet in enumerate(packets):
        if packet.size == 0 or packet.pts is None or packet.dts is None:
            continue
        if held is not None:
            yield float(held[0] * plan.tick), held[1]
        shown, decoded = (count, count) if in_order else (round(at * tick * fps) for at in (packet.pts, packet.dts))
        packet.pts, packet.dts = plan.at(shown), plan.at(decoded)
        packet.duration = plan.at(shown + 1) - plan.at(shown)
        packet.time_base = plan.tick
        packet.stream = target
        start = start if held is not None else plan.at(decoded)
        held = plan.at(decoded), packet
    if held is not None:
        stored, packet = held
        packet.duration = max(start + plan.at(plan.count) - stored, packet.duration or 0)
        yield float(stored * plan.tick), packet
