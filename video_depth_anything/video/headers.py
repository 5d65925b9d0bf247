"""What the header of a video says, and whether it can be true."""

from __future__ import annotations

import re
from fractions import Fraction
from itertools import pairwise

from av import VideoStream
from av.container import InputContainer
from av.stream import Disposition

from ..errors import InputError
from .names import printable
from .timing import as_rate

USUAL_RATE = Fraction(25)


def video_stream(container: InputContainer, location: str) -> VideoStream:
    """The video that players show: the largest, the one marked as default before others; never a cover."""
    pictures = Disposition.attached_pic | Disposition.timed_thumbnails
    streams = [s for s in container.streams.video if not s.disposition & pictures and s.codec_context is not None]
    if not streams:
        what = "it has sound but no video stream" if container.streams.audio else "it has no video stream"
        raise InputError(f"cannot read {printable(location)}: not a video, or damaged: {what}")
    default = Disposition.default
    return max(streams, key=lambda s: (bool(s.disposition & default), s.width * s.height, -s.index))


def claimed_end(container: InputContainer, stream: VideoStream, start: float) -> float | None:
    """When the video ends by the header, in seconds since the file's start; None if the header does not say."""
    if stream.duration and stream.time_base:
        return start + float(stream.duration * stream.time_base)
    # The container's length may be that of the sound.
    length = (container.duration or 0) / 1e6 if len(container.streams) == 1 else 0.0
    for key, value in stream.metadata.items():  # Matroska's statistics tags
        clock = re.fullmatch(r"(\d+):(\d+):(\d+\.?\d*)", value) if key.upper().startswith("DURATION") else None
        if clock is not None:
            hours, minutes, seconds = map(float, clock.groups())
            length = hours * 3600 + minutes * 60 + seconds
    # Matroska and FLV count it from 0 and not from the file's start.
    begins = (container.start_time or 0) / 1e6
    from_zero = container.format.name in ("matroska,webm", "flv") and begins < length
    return (length - begins if from_zero else length) or None


def rate_of(times: list[float]) -> Fraction:
    """The rate that these times show: by their median step, which a pause does not move."""
    steps = sorted(after - before for before, after in pairwise(times) if after > before)
    return as_rate(1 / steps[len(steps) // 2]) if steps else USUAL_RATE


def plausible_rate(*candidates: Fraction | None) -> Fraction | None:
    """The first that can be a video's frame rate: one frame an hour at least, 1000 a second at most."""
    for rate in candidates:
        if rate is not None and Fraction(1, 3600) <= rate <= 1000:
            return Fraction(rate)
    return None


def can_copy(stream: VideoStream) -> bool:
    """Whether a stream is what our own videos are: H.264 of 8 bits with 4:2:0 chroma, in the form that MP4 holds."""
    context = stream.codec_context
    square = stream.sample_aspect_ratio in (None, 0, 1)
    in_mp4 = (context.extradata or b"")[:1] == b"\x01"
    return context.name == "h264" and context.pix_fmt == "yuv420p" and square and in_mp4
