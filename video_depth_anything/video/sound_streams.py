"""The stream of sound in a file: which one it is, and whether it plays at a time."""

from __future__ import annotations

import io
from contextlib import closing, suppress
from fractions import Fraction
from itertools import islice, takewhile

import av
from av import AudioStream
from av.container import InputContainer
from av.stream import Disposition

from ..errors import InputError
from .containers import open_container

# Packets after which sound that has not given a sample is taken for empty.
TRIED_PACKETS = 200
# Packets that show that sound plays; one or two may be stray.
SEVERAL = 3
# What MP4 holds and players play. It could hold PCM and others too, which few play.
COPIED = {"aac", "mp3", "ac3", "eac3", "alac", "flac", "opus"}
# Formats without a list of their streams, and how far into them is looked for one: bytes, and microseconds.
LATE_STREAMS = {"flv", "mpegts", "mpeg"}
DEEP_LOOK = {"probesize": str(64 << 20), "analyzeduration": str(10**9)}
NO_SOUND = "it has no sound"


def open_sound(location: str) -> InputContainer:
    """A file opened for its sound, which in some formats shows up only where it begins."""
    container = open_container(location)
    if container.streams.audio or container.format.name not in LATE_STREAMS:
        return container
    container.close()
    return open_container(location, options=DEEP_LOOK)


def sound_stream(container: InputContainer) -> AudioStream:
    """The sound that players play: the one marked as default, or the first."""
    streams = [stream for stream in container.streams.audio if stream.codec_context is not None]
    if not streams:
        raise InputError("its codec is not supported" if container.streams.audio else NO_SOUND)
    return max(streams, key=lambda s: (bool(s.disposition & Disposition.default), -s.index))


def goes_into_mp4(stream: AudioStream) -> bool:
    """Whether MP4 takes the packets as they are, and players play them then."""
    if stream.codec.canonical_name not in COPIED:
        return False
    trial = av.open(io.BytesIO(), "w", format="mp4")
    try:
        trial.add_stream_from_template(stream)
        trial.start_encoding()
    except (av.FFmpegError, ValueError):
        return False  # MP3 of 8 kHz, for one
    finally:
        with suppress(av.FFmpegError, ValueError):  # a file without packets may be refused for that
            trial.close()
    return True


def plays_between(location: str, before: float, after: float) -> bool:
    """Whether a file has sound between two times, in seconds of its own count; False where that cannot be found out."""
    try:
        with closing(open_container(location)) as container:
            stream = sound_stream(container)
            tick = stream.time_base or Fraction(1, 1000)
            container.seek(round((before + 1) / tick), stream=stream)
            times = (float((packet.pts or 0) * tick) for packet in islice(container.demux(stream), TRIED_PACKETS))
            # What comes after the picture has gone on belongs to another recording, whatever its times.
            return sum(before + 1 < time for time in takewhile(lambda time: time < after - 1, times)) > SEVERAL
    except Exception:  # of whatever kind: nothing depends on it but this question
        return False
