"""The stream of sound in a file: which one it is, and whether it plays at a time."""

from __future__ import annotations

from contextlib import closing
from fractions import Fraction
from itertools import islice, takewhile
from typing import TYPE_CHECKING

from ..errors import InputError
from .containers import open_container

if TYPE_CHECKING:
    from av import AudioStream
    from av.container import InputContainer

# Packets after which sound that has not given a sample is taken for empty.
TRIED_PACKETS = 200
# Packets that show that sound plays; one or two may be stray.
SEVERAL = 3
NO_SOUND = "there is no sound in it"


def sound_stream(container: InputContainer) -> AudioStream:
    """The sound that players play: the one marked as default, or the first.

    Raises:
        InputError: if there is none that can be decoded.
    """
    from av.stream import Disposition

    streams = [stream for stream in container.streams.audio if stream.codec_context is not None]
    if not streams:
        raise InputError(NO_SOUND)
    return max(streams, key=lambda s: (bool(s.disposition & Disposition.default), -s.index))


def plays_between(location: str, before: float, after: float) -> bool:
    """Whether a file has sound between two times, in seconds of its own count; False where that cannot be found out."""
    import av

    try:
        with closing(open_container(location)) as container:
            stream = sound_stream(container)
            tick = stream.time_base or Fraction(1, 1000)
            container.seek(round((before + 1) / tick), stream=stream)
            times = (float((packet.pts or 0) * tick) for packet in islice(container.demux(stream), TRIED_PACKETS))
            # What comes after the picture has gone on belongs to another recording, whatever its times.
            return sum(before + 1 < time for time in takewhile(lambda time: time < after - 1, times)) > SEVERAL
    except (InputError, av.FFmpegError, ValueError):
        return False
