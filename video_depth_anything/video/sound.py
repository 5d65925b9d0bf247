"""Adds sound to a video: copied packet by packet if MP4 can hold it, else encoded as AAC."""

from __future__ import annotations

import io
import logging
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import closing, suppress
from dataclasses import dataclass
from fractions import Fraction
from itertools import chain, islice, takewhile
from math import inf
from pathlib import Path
from typing import Any, cast

import av
import numpy as np
from av import AudioCodecContext, AudioFrame, AudioStream, Packet
from av.container import InputContainer, OutputContainer
from av.filter import Graph
from av.stream import Disposition

from ..errors import InputError
from .containers import is_address, open_container
from .names import printable
from .stream_clock import JoinedClock, Joint

logger = logging.getLogger(__name__)

# Sound that has given no sample after this many packets counts as empty.
TRIED_PACKETS = 200
# Packets from which on sound counts as playing; one or two may be stray.
SEVERAL = 3
# Codecs in MP4 that most players support; few support PCM and the others that MP4 can hold.
COPIED = {"aac", "mp3", "ac3", "eac3", "alac", "flac", "opus"}
# Formats whose header does not list all streams, and how far they are searched: bytes and microseconds.
LATE_STREAMS = {"flv", "mpegts", "mpeg"}
DEEP_LOOK = {"probesize": str(64 << 20), "analyzeduration": str(10**9)}
NO_SOUND = "it has no sound"
# Layouts that the AAC encoder supports and that are kept; the others become stereo.
KEPT_LAYOUTS = {"mono", "stereo", "5.1", "5.1(side)", "7.1"}
AAC_RATES = {8000, 11025, 12000, 16000, 22050, 24000, 32000, 44100, 48000, 64000, 88200, 96000}
USUAL_RATE, BITS_A_SECOND = 48000, 192_000
# Seconds by which sound may be off before silence is inserted or samples are dropped.
SLACK = 0.02
# Sound that begins earlier than this before the picture does not begin with it.
EARLY = 1e-3
# Seconds after the picture from which on sound counts as beginning late.
LATE = 1.0


@dataclass(frozen=True)
class AudioTrack:
    """Sound for a video, from a file or an address."""

    location: str
    begins: Callable[[], float | None] = lambda: 0.0  # `source_time` of the video's first frame, once known
    joints: Callable[[], Sequence[Joint]] = tuple  # where recordings were joined, once the video was read

    def check(self) -> str | None:
        """Why the sound cannot be used, in a few words; None if it can. Called before long work."""
        path = Path(self.location)
        if is_address(self.location):
            again = self.location.lower().startswith(("http://", "https://"))
        elif path.is_dir() or not path.exists():
            return NO_SOUND  # a folder, or a pattern, of images
        else:
            again = path.is_file()
        if not again:  # a pipe, a camera or a live stream
            return "its source can be read only once"
        try:
            with closing(open_sound(self.location)) as container:
                reason = "it is empty"
                for packet in islice(container.demux(sound_stream(container)), TRIED_PACKETS):
                    try:
                        if packet.decode():
                            return None
                    except (av.FFmpegError, ValueError) as error:  # the first packet may be broken
                        reason = f"it cannot be decoded: {getattr(error, 'strerror', None) or error}"
                return reason
        except InputError as error:
            return str(error)
        except Exception as error:
            return f"it cannot be read: {getattr(error, 'strerror', None) or error}"


class Sound:
    """Sound packets for a video that is being written to `output`; made once its first frame is known."""

    def __init__(self, track: AudioTrack, output: OutputContainer) -> None:
        self._location = track.location
        self._zero = track.begins() or 0.0
        self._end: float | None = None
        self._clock = JoinedClock(track.joints())
        self._container = open_sound(track.location)
        try:
            self._source = sound_stream(self._container)
            timed = self._timed()
            # Some containers cannot hold a track without packets: late sound is encoded with silence before it.
            first = next((item for item in timed if item[0] >= -EARLY or item[1].size == 0), None)
            copied = first is not None and first[0] < LATE and goes_into_mp4(self._source)
            if copied:
                self._target = output.add_stream_from_template(self._source)
            else:
                self._target = _encoder(output, self._source)
        except BaseException:
            self._container.close()
            raise
        rest = timed if first is None else chain((first,), timed)
        self._output = output
        self._packets: Iterator[tuple[float, Packet[Any]]] | None = self._copy(rest) if copied else self._encode(rest)
        self._held: tuple[float, Packet[Any]] | None = None

    @classmethod
    def opened(cls, track: AudioTrack, output: OutputContainer, name: str) -> Sound | None:
        """Open the sound of a video; if that fails, warn and return None, so that the video is not lost."""
        try:
            return cls(track, output)
        except Exception as error:
            logger.warning("%s has no sound, because that of %s failed: %s", name, printable(track.location), error)
            return None

    def write_until(self, seconds: float) -> None:
        """Write the packets that begin before a time of the video; damaged sound ends with a warning."""
        try:
            while self._packets is not None:
                self._held = self._held or next(self._packets, None)
                if self._held is None or self._held[0] >= seconds:
                    return
                self._output.mux(self._held[1])
                self._held = None
        except Exception as error:  # of any kind
            self._packets = None
            logger.warning("the sound of %s ended early: %s", printable(self._location), error)

    def finish(self, end: float) -> None:
        """Write the rest of the sound, up to the video's end."""
        self._end = end
        self.write_until(inf)
        self.close()

    def close(self) -> None:
        """Close the file."""
        self._container.close()

    def _timed(self) -> Iterator[tuple[float, Packet[AudioStream]]]:
        """Yield the source's packets with their times in the video, up to its end; the last one is empty."""
        tick = self._source.time_base or Fraction(1, 1000)
        zero = (self._container.start_time or 0) / 1e6 + self._zero
        following = zero
        for packet in self._container.demux(self._source):
            own = following
            if packet.size:
                stamp = packet.dts if packet.pts is None else packet.pts
                own = following if stamp is None else float(stamp * tick)
                following = own + float((packet.duration or 0) * tick)
            time = self._clock.seconds(own) - zero
            if self._end is not None and time >= self._end:
                return
            yield time, packet

    def _copy(self, packets: Iterable[tuple[float, Packet[AudioStream]]]) -> Iterator[tuple[float, Packet[Any]]]:
        tick = self._source.time_base or Fraction(1, 1000)
        last, end = -1, 0.0
        for time, packet in packets:
            # At a joint, sound may have been recorded without a picture; it would overlap the sound before it.
            if time < end - SLACK or time < -EARLY or packet.size == 0:
                continue
            if self._end is not None and time >= self._end:
                return
            end = time + float((packet.duration or 0) * tick)
            last = max(last + 1, round(time / float(tick)))
            packet.pts = packet.dts = last
            packet.time_base = tick
            packet.stream = self._target
            yield time, packet

    def _encode(self, packets: Iterable[tuple[float, Packet[AudioStream]]]) -> Iterator[tuple[float, Packet[Any]]]:
        """Yield encoded packets at the sound's times: gaps are filled with silence, overlaps are dropped."""
        context = self._target.codec_context
        graph: Graph | None = None
        for time, packet in packets:
            frames: list[AudioFrame] = []
            with suppress(av.FFmpegError, ValueError):  # a broken packet becomes silence
                frames = packet.decode()
            for frame in frames:
                frame.pts, frame.time_base = round(time * frame.sample_rate), Fraction(1, frame.sample_rate)
                time += frame.samples / frame.sample_rate
                graph = graph or _fitting(frame, context)
                graph.push(frame)
                yield from self._encoded(graph)
        if graph is not None:
            graph.push(None)
            yield from self._encoded(graph)
        for last in self._target.encode(None):
            yield 0.0, last

    def _encoded(self, graph: Graph) -> Iterator[tuple[float, Packet[Any]]]:
        with suppress(av.error.BlockingIOError, av.error.EOFError):
            while True:
                fitted = cast("AudioFrame", graph.pull())
                at = float((fitted.pts or 0) * (fitted.time_base or 0))
                left = inf if self._end is None else round((self._end - at) * fitted.sample_rate)
                if left <= 0:
                    continue
                if left < fitted.samples:
                    samples = np.ascontiguousarray(fitted.to_ndarray()[:, : int(left)], np.float32)
                    cut = AudioFrame.from_ndarray(samples, "fltp", fitted.layout.name)
                    cut.sample_rate, cut.pts, cut.time_base = fitted.sample_rate, fitted.pts, fitted.time_base
                    fitted = cut
                for packet in self._target.encode(fitted):
                    yield at, packet


def _fitting(frame: AudioFrame, target: AudioCodecContext) -> Graph:
    """Build a filter that aligns sound with its timestamps, from 0 on, in the format of `target`."""
    graph = Graph()
    graph.link_nodes(
        graph.add_abuffer(
            template=None,
            sample_rate=frame.sample_rate,
            format=frame.format.name,
            layout=frame.layout.name,
            time_base=Fraction(1, frame.sample_rate),
        ),
        graph.add("aresample", f"{target.sample_rate}:async=1:first_pts=0:min_hard_comp={SLACK}"),
        graph.add("aformat", f"sample_fmts=fltp:channel_layouts={target.layout.name}"),
        graph.add("asetnsamples", "n=1024:p=0"),
        graph.add("abuffersink"),
    ).configure()
    return graph


def _encoder(output: OutputContainer, source: AudioStream) -> AudioStream:
    layout = source.codec_context.layout
    name = layout.name if layout.name in KEPT_LAYOUTS else ("mono" if layout.nb_channels == 1 else "stereo")
    rate = source.codec_context.sample_rate
    target = output.add_stream("aac", rate=rate if rate in AAC_RATES else USUAL_RATE)
    target.codec_context.layout = name
    target.codec_context.bit_rate = BITS_A_SECOND
    return target


def open_sound(location: str) -> InputContainer:
    """Open a file for its sound, which in some formats is found only where it begins."""
    container = open_container(location)
    if container.streams.audio or container.format.name not in LATE_STREAMS:
        return container
    container.close()
    return open_container(location, options=DEEP_LOOK)


def sound_stream(container: InputContainer) -> AudioStream:
    """The sound stream that players choose: the default one, or the first."""
    streams = [stream for stream in container.streams.audio if stream.codec_context is not None]
    if not streams:
        raise InputError("its codec is not supported" if container.streams.audio else NO_SOUND)
    return max(streams, key=lambda s: (bool(s.disposition & Disposition.default), -s.index))


def goes_into_mp4(stream: AudioStream) -> bool:
    """Whether MP4 can hold the packets unchanged, so that players support them."""
    if stream.codec.canonical_name not in COPIED:
        return False
    trial = av.open(io.BytesIO(), "w", format="mp4")
    try:
        trial.add_stream_from_template(stream)
        trial.start_encoding()
    except (av.FFmpegError, ValueError):
        return False  # for example MP3 of 8 kHz
    finally:
        with suppress(av.FFmpegError, ValueError):  # FFmpeg may reject a file without packets
            trial.close()
    return True


def plays_between(location: str, before: float, after: float) -> bool:
    """Whether a file has sound between two of its own times, in seconds; False if that is unknown."""
    try:
        with closing(open_container(location)) as container:
            stream = sound_stream(container)
            tick = stream.time_base or Fraction(1, 1000)
            container.seek(round((before + 1) / tick), stream=stream)
            times = (float((packet.pts or 0) * tick) for packet in islice(container.demux(stream), TRIED_PACKETS))
            # Packets stored after the next picture belong to another recording, whatever their times.
            return sum(before + 1 < time for time in takewhile(lambda time: time < after - 1, times)) > SEVERAL
    except Exception:  # of any kind: nothing else depends on the answer
        return False
