"""Opens files, addresses, pipes and devices within limits, and reads their headers."""

from __future__ import annotations

import os
import re
import select
import stat
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from fractions import Fraction
from pathlib import Path
from types import MappingProxyType

import av
from av import VideoStream
from av.container import InputContainer
from av.stream import Disposition

from ..errors import InputError
from .names import printable
from .options import TIMEOUT
from .options import USUAL_LIMITS as USUAL_LIMITS
from .options import Limits as Limits

# Containers that hold all their data. Those that refer to other files or addresses are excluded: HLS, DASH, concat,
# SDP, IMF, image patterns.
SELF_CONTAINED = (
    "mov,matroska,avi,mpegts,mpeg,mpegvideo,flv,ogg,asf,mxf,dv,gif,apng,h264,hevc,av1,obu,ivf,m4v,rm,nut,wtv,3gp,"
    "webp_pipe,live_flv,gxf,rawvideo,yuv4mpegpipe"
)
# A local playlist may refer to local files only.
LOCAL_PROTOCOLS = "file,crypto,data"
NETWORK_PROTOCOLS = "http,https,httpproxy,tls,tcp,udp,udplite,rtp,srtp,rtmp,rtmps,rtmpt,srt,ftp,mmsh,mmst,crypto,data"


def is_address(location: str) -> bool:
    """Whether the location is a network address rather than a path."""
    scheme, separator, _ = location.partition("://")
    return bool(separator) and scheme.lower() != "file" and scheme.replace("+", "").isalnum() and len(scheme) > 1


def open_container(
    location: str, limits: Limits = USUAL_LIMITS, options: Mapping[str, str] = MappingProxyType({})
) -> InputContainer:
    """Open a file, address, pipe or device for demuxing, with further options of FFmpeg.

    InputError if it is missing, silent, refused by `limits`, or in no known format.
    """
    options = {**options, "max_pixels": str(limits.max_pixels)}
    if is_address(location):
        if not limits.trusted:
            raise InputError(f"{printable(location)} is an address; only files are read here")
        options |= {"protocol_whitelist": NETWORK_PROTOCOLS, "rtsp_flags": "prefer_tcp"}
        scheme, separator, rest = location.partition("://")
        address = scheme.lower() + separator + rest  # FFmpeg knows no RTSP://
        with readable(location, limits.timeout):
            return av.open(address, "r", options=options, timeout=limits.timeout, metadata_errors="replace")
    mode = _mode_of(location)
    if stat.S_ISREG(mode) and not Path(location).stat().st_size:
        # Some virtual files, such as /proc/kmsg, would block for ever.
        raise InputError(f"cannot read {printable(location)}: not a video, or damaged: the file is empty")
    if not limits.trusted:
        options |= {"format_whitelist": SELF_CONTAINED, "protocol_whitelist": "file"}
    else:
        options |= {"protocol_whitelist": LOCAL_PROTOCOLS}
    with readable(location, limits.timeout):
        if not stat.S_ISREG(mode):
            if not limits.trusted:
                raise InputError(f"{printable(location)} is not a file")
            pipe = PatientPipe(location, limits.timeout)
            try:
                return av.open(pipe, "r", options=options, metadata_errors="replace")
            except BaseException:
                pipe.close()
                raise
        # Without "file:", FFmpeg would read the part before a colon as a protocol.
        return av.open(f"file:{location}", "r", options=options, metadata_errors="replace")


def _mode_of(location: str) -> int:
    """File mode of a readable file, pipe or device."""
    path = Path(location)
    try:
        mode = path.stat().st_mode
    except (FileNotFoundError, NotADirectoryError) as error:
        raise InputError(f"input video {printable(location)} not found") from error
    except OSError as error:
        raise InputError(f"cannot read {printable(location)}: {error.strerror}") from error
    if not (stat.S_ISREG(mode) or stat.S_ISFIFO(mode) or stat.S_ISCHR(mode)):
        raise InputError(f"input {printable(location)} is not a file")
    return mode


def reading_error(location: str, error: Exception, timeout: float = TIMEOUT, begun: bool = False) -> InputError:
    """Turn an error of FFmpeg or the system, or a time-out, into one line that names the input."""
    if isinstance(error, (av.error.ExitError, TimeoutError)):
        return InputError(f"cannot read {printable(location)}: nothing came for {timeout:g} seconds")
    reason = getattr(error, "strerror", None) or str(error)
    if begun:
        return InputError(f"{printable(location)} broke off: {reason}")
    if isinstance(error, av.error.ProtocolNotFoundError):
        why = "the FFmpeg in PyAV does not support this kind of address"
        return InputError(f"cannot read {printable(location)}: {why}")
    if isinstance(error, av.error.InvalidDataError):
        reason = "it has no video stream"
    elif isinstance(error, (av.error.ArgumentError, av.error.DemuxerNotFoundError)):
        reason = "this container is not supported"
    return InputError(f"cannot read {printable(location)}: not a video, or damaged: {reason}")


@contextmanager
def readable(location: str, timeout: float = TIMEOUT) -> Iterator[None]:
    """Turn errors into one line that names the input, as `reading_error` does."""
    try:
        yield
    except (av.FFmpegError, OSError) as error:
        raise reading_error(location, error, timeout) from error


class PatientPipe:
    """A pipe or device as a file object whose `read` times out, also while no writer has opened it."""

    def __init__(self, location: str, timeout: float) -> None:
        self.name = location
        self._timeout = timeout
        # Without this flag, opening a pipe that nobody writes to would never return.
        self._descriptor = os.open(location, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0))
        self._begun = False

    def read(self, size: int) -> bytes:
        """Up to `size` bytes; none at the end."""
        deadline = time.monotonic() + self._timeout
        while (left := deadline - time.monotonic()) > 0:
            if not select.select([self._descriptor], [], [], left)[0]:
                continue
            try:
                data = os.read(self._descriptor, size)
            except BlockingIOError:
                continue
            if data or self._begun:
                self._begun = True
                return data
            time.sleep(0.02)  # no writer has opened the other end yet
        raise TimeoutError

    def close(self) -> None:
        """Close it."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1


def video_stream(container: InputContainer, location: str) -> VideoStream:
    """The stream that players show: the default one first, then the largest; never cover art."""
    pictures = Disposition.attached_pic | Disposition.timed_thumbnails
    streams = [s for s in container.streams.video if not s.disposition & pictures and s.codec_context is not None]
    if not streams:
        what = "it has sound but no video stream" if container.streams.audio else "it has no video stream"
        raise InputError(f"cannot read {printable(location)}: not a video, or damaged: {what}")
    default = Disposition.default
    return max(streams, key=lambda s: (bool(s.disposition & default), s.width * s.height, -s.index))


def claimed_end(container: InputContainer, stream: VideoStream, start: float) -> float | None:
    """The video's end in seconds since the file's start, from the header; None if the header lacks it."""
    if stream.duration and stream.time_base:
        return start + float(stream.duration * stream.time_base)
    # The container's duration may be that of the sound.
    length = (container.duration or 0) / 1e6 if len(container.streams) == 1 else 0.0
    for key, value in stream.metadata.items():  # Matroska's statistics tags
        clock = re.fullmatch(r"(\d+):(\d+):(\d+\.?\d*)", value) if key.upper().startswith("DURATION") else None
        if clock is not None:
            hours, minutes, seconds = map(float, clock.groups())
            length = hours * 3600 + minutes * 60 + seconds
    # Matroska and FLV count it from 0, not from the file's start.
    begins = (container.start_time or 0) / 1e6
    from_zero = container.format.name in ("matroska,webm", "flv") and begins < length
    return (length - begins if from_zero else length) or None


def stated_rate(stream: VideoStream, bare: bool) -> Fraction | None:
    """The header's frame rate if it is plausible: from one frame per hour to 1000 per second."""
    rates = [stream.average_rate, stream.guessed_rate, stream.base_rate]
    if bare:  # then the average is FFmpeg's default, and the guess comes from the stream's headers
        rates.insert(0, stream.guessed_rate)
    return next((Fraction(rate) for rate in rates if rate is not None and Fraction(1, 3600) <= rate <= 1000), None)


def can_copy(stream: VideoStream) -> bool:
    """Whether a stream has the format of our own videos: 8-bit H.264 with 4:2:0 chroma, packed as in MP4."""
    context = stream.codec_context
    square = stream.sample_aspect_ratio in (None, 0, 1)
    in_mp4 = (context.extradata or b"")[:1] == b"\x01"
    return context.name == "h264" and context.pix_fmt == "yuv420p" and square and in_mp4
