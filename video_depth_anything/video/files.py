"""Video files, addresses, pipes: decoded with PyAV, which is FFmpeg."""

from __future__ import annotations

import logging
import math
import threading
from collections.abc import Iterator
from fractions import Fraction
from itertools import chain, islice
from pathlib import Path
from typing import NamedTuple

import av
from av import Packet, VideoFrame, VideoStream
from av.codec.context import Flags
from av.container import InputContainer
from av.stream import Discard

from ..errors import BrokenOffError, InputError
from .containers import can_copy, claimed_end, is_address, open_container, reading_error, stated_rate, video_stream
from .conversion import HLG, PQ, UPRIGHT, Converter
from .cropping import container_crop
from .filters import deinterlaced
from .frame import Frame
from .names import printable
from .options import USUAL_LIMITS, Limits
from .reader import Reader
from .realtime import is_live
from .sound import plays_between
from .stream_clock import StreamClock
from .timing import ROUNDED, USUAL_RATE, as_rate, rate_of

logger = logging.getLogger(__name__)

# AVFMT_TS_DISCONT: timestamps may start again in this format.
MAY_RESTART = 0x200
# AVFMT_NOTIMESTAMPS: a bare stream of a codec.
NO_TIMES = 0x80
# Formats with an index of key frames, and how many seconds earlier decoding starts, because filters look back.
SEEKABLE = {"mov,mp4,m4a,3gp,3g2,mj2", "matroska,webm"}
MARGIN = 1.0
# Frames from whose times the rate is measured if the file states none.
RATE_SAMPLE = 24
# A file counts as truncated if more than this share, or number, of the frames in its header is missing.
MISSING_SHARE, MISSING_FRAMES = 0.01, 1.5
# Bytes of a packet of MPEG-TS; no frame takes less.
TS_PACKET = 188


class Stamp(NamedTuple):
    """A frame's time and duration, in seconds."""

    time: float
    duration: float


class FileReader(Reader):
    """Decodes the video of a file or an address; iterated once.

    Raises:
        InputError: if it is missing, refused by `limits`, or holds no video; while iterating, if it cannot be decoded.
        BrokenOffError: after the last frame, if an address, a pipe or a device breaks off or times out.
    """

    name = "PyAV"

    def __init__(
        self, location: str, limits: Limits = USUAL_LIMITS, live: bool | None = None, start: float = 0.0
    ) -> None:
        self._location = location
        self._chosen_live = live
        self._skipped = start
        self._limits = limits
        # Closing FFmpeg during a read is unsafe, so the reader or `close`, whichever finishes last, closes it.
        self._busy = threading.Lock()
        self._closing = False
        self._damaged = self._torn = False
        self._broken: InputError | None = None
        self._packets = 0
        self._entry: tuple[int | None, bool] = (None, False)
        self._first_dts: int | None = None
        self._late = 0.0
        self._counts_all = True
        self._still_until = 0.0
        self._container = open_container(location, limits)
        try:
            self._stream = video_stream(self._container, location)
            width, height = self._stream.width, self._stream.height
            if width * height > limits.max_pixels:
                most = f"{limits.max_pixels / 1e6:.3g} million pixels; see --max_pixels"
                raise InputError(f"{printable(location)} has frames of {width}x{height} pixels; the limit is {most}")
            self._prepare()
        except BaseException:
            self._container.close()
            raise

    def _prepare(self) -> None:
        stream = self._stream
        path = Path(self._location)
        self._is_file = path.is_file()
        kind, width, height = self._container.format.name, stream.width, stream.height
        self._crop = container_crop(path, kind, stream.index, width, height) if self._is_file else None
        self.copyable = self._is_file and can_copy(stream) and self._crop is None
        flags = self._container.format.flags
        # Ogg states its duration anyway.
        self._may_restart = (bool(flags & MAY_RESTART) and kind != "ogg") or is_address(self._location)
        stated = stated_rate(stream, bool(flags & NO_TIMES))
        has_length = bool(self._container.duration or stream.duration or self._container.size > 0)
        self.live = is_live(self._location, has_length, self._chosen_live)
        self.made_up_clock = self.live and bool(flags & NO_TIMES)
        self._set_up(self._container, stream)
        self._frames = self._decoded(stated or USUAL_RATE)
        if stated is None and not self.live:
            head = list(islice(self._frames, RATE_SAMPLE))
            stated = rate_of([stamp.time for _, stamp in head])
            self._frames = chain(head, self._frames)
            self._skipped = 0.0
        stated = stated or USUAL_RATE
        self._start = self._in_file(stream.start_time)
        self._claimed = claimed_end(self._container, stream, self._start)
        frames = None if self._claimed is None else round((self._claimed - self._start) * stated)
        self.fps = as_rate(float(stated), frames)
        self.expected_frames = frames or stream.frames or None
        if kind == "mpegts" and (self.expected_frames or 0) > self._container.size / TS_PACKET:
            self.expected_frames = None  # the file is not large enough for them

    def _set_up(self, container: InputContainer, stream: VideoStream) -> None:
        # With several threads, frames come out of the decoder later.
        stream.thread_type = "SLICE" if self.live else "AUTO"
        # Without it, H.264 cropped at the left keeps columns that should be hidden.
        stream.codec_context.flags |= Flags.unaligned
        for other in container.streams:
            if other.index != stream.index:
                other.discard = Discard.all

    def _in_file(self, stamp: int | None) -> float:
        """Convert a timestamp to seconds since the file's start, which is that of its earliest stream."""
        return float((stamp or 0) * (self._stream.time_base or 0)) - (self._container.start_time or 0) / 1e6

    def __iter__(self) -> Iterator[Frame]:
        """Yield frames with their times in seconds since the file's start; each lasts until the next one."""
        converter = Converter(self._location, self._stream.sample_aspect_ratio, self._crop)
        held: Frame | None = None
        count, first, begin = 0, 0.0, -math.inf
        frames = deinterlaced(self._frames)
        if self._skipped > 0 and not self.live and (found := next(frames, None)) is not None:
            # The first frame gives size and start time. Without a seek, all frames up to --start are decoded.
            yield Frame(converter.picture(found[0]), *found[1], source_time=found[1].time)
            count, first = 1, found[1].time
            begin = first + self._skipped - 2 * ROUNDED
            if self._skipped > 2 * MARGIN and self._sought(begin):
                frames = deinterlaced(self._frames)
        for frame, stamp in frames:
            if stamp.time < begin:
                count += 1
                continue
            image = converter.picture(frame)
            if self.live:
                yield Frame(image, *stamp, source_time=stamp.time)
                continue
            self.copyable = self.copyable and converter.orientation == UPRIGHT
            if count == 0:
                first = stamp.time
            if held is not None:
                held.duration = stamp.time - held.time
                yield held
            held = Frame(image, *stamp, source_time=stamp.time)
            count += 1
        if self._broken is not None and not self._is_file:
            if held is not None:
                yield held
            raise BrokenOffError(str(self._broken)) from self._broken
        if held is None:
            return
        if not self.joints and self._still_until > held.end:
            held.duration = self._still_until - held.time
        end = held.end  # the receiver may shift the frame's time
        yield held
        self._tell_of_damage(count, first, end)

    def _sought(self, seconds: float) -> bool:
        """Seek to an earlier key frame, if decoding from there gives the same frames; return whether it does."""
        if self._container.format.name not in SEEKABLE or not self._is_file or self.joints:
            return False
        container = open_container(self._location, self._limits)
        before = self._container, self._stream, self._frames, self._packets
        tick = self._stream.time_base or Fraction(1, 1000)
        target = seconds + (self._container.start_time or 0) / 1e6
        with self._busy:
            stream = video_stream(container, self._location)
            self._set_up(container, stream)
            self._container, self._stream, self._packets = container, stream, 0
        found = None
        try:
            container.seek(round((target - MARGIN) / tick), stream=stream)
            self._frames = self._decoded(1 / Fraction(self.fps))
            found = next(self._frames, None)
            pts, is_key = self._entry
            # Leading frames, which refer to frames before the key frame.
            while found is not None and pts is not None and (found[0].pts or 0) < pts:
                found = next(self._frames, None)
            exact = found is not None and is_key and found[0].pts == pts and found[1].time < seconds
        except (InputError, av.FFmpegError):
            exact = False
        if found is not None and exact:
            self._frames = chain((found,), self._frames)
            self._counts_all = False
            before[0].close()
            return True
        with self._busy:
            self._container, self._stream, self._frames, self._packets = before
        container.close()
        return False

    def close(self) -> None:
        """Close the input; a thread that is reading it stops after its current frame."""
        self._closing = True
        if self._busy.acquire(timeout=0.2):
            try:
                self._container.close()
            finally:
                self._busy.release()

    def _decoded(self, rate: Fraction) -> Iterator[tuple[VideoFrame, Stamp]]:
        """Yield decoded frames with their times; damaged packets are skipped."""
        tick = self._stream.time_base or Fraction(1, 1000)
        usual = float(1 / rate)
        by_dts = self._container.format.name == "avi"
        clock = StreamClock(tick, usual, self._location, by_dts, self._goes_on)
        self.joints = clock.joints
        stream_size = (self._stream.height, self._stream.width)
        start = (self._container.start_time or 0) / 1e6
        packets = self._container.demux(self._stream)
        seen, more = 0, True
        while more:
            with self._busy:
                if self._closing:
                    self._container.close()
                    return
                frames, more = self._step(packets)
            for frame in frames:
                if by_dts and seen == 0 and frame.dts is not None:
                    # In AVI a frame takes the timestamp of the packet after which the decoder returns it. The first
                    # frame keeps that of its own packet, however late a reordering decoder returns it.
                    self._late = max(frame.dts - (self._first_dts or 0), 0) * float(tick)
                    start += self._late
                seen += 1
                self._damaged |= frame.is_corrupt
                as_stored = not frame.interlaced_frame and (frame.height, frame.width) == stream_size
                self.copyable &= as_stored and frame.color_trc not in (PQ, HLG) and not self._damaged
                frame.time_base = tick
                time = clock.seconds(frame.pts, frame.dts, frame.duration) - start
                yield frame, Stamp(time, float(frame.duration * tick) if frame.duration else usual)

    def _step(self, packets: Iterator[Packet[VideoStream]]) -> tuple[list[VideoFrame], bool]:
        """Decode the next packet; return its frames, and whether more packets follow."""
        packet = None
        try:
            packet = next(packets, None)
        except (av.FFmpegError, OSError) as error:
            self._broken = reading_error(self._location, error, self._limits.timeout, begun=self._packets > 0)
            if not self._packets:
                raise self._broken from error
            if self._is_file:
                logger.warning("%s; the frames before are kept", self._broken)
        last = packet is None or (packet.size == 0 and packet.dts is None)
        if packet is not None and not last:
            if packet.size == 0:  # a frame that the encoder dropped: the one before stays
                stamp = packet.dts if packet.pts is None else packet.pts
                if stamp is not None:
                    self._still_until = self._in_file(stamp + (packet.duration or 0))
                return [], True
            if packet.is_corrupt and self._is_file and (packet.pos or 0) + packet.size >= self._container.size:
                # The file is truncated within it; its error would lose the frames still in the decoder's threads.
                last = self._torn = True
            if packet.is_keyframe and self._first_dts is None:
                self._first_dts = packet.dts
            self._torn |= packet.is_corrupt
            if self._packets == 0:
                self._entry = packet.pts, packet.is_keyframe
            self._packets += 1
        try:
            return self._stream.decode(None if last else packet), not last
        except (av.error.EOFError, av.error.BlockingIOError):
            pass
        except av.FFmpegError:
            self._damaged = True
        return [], not last

    def _goes_on(self, before: float, after: float) -> bool:
        """Whether a gap between two of the stream's timestamps is a still picture: sound plays in it."""
        if "mp4" in self._container.format.name:
            return True  # the format stores durations only, so its times cannot jump
        return not is_address(self._location) and plays_between(self._location, before, after)

    def _tell_of_damage(self, count: int, first: float, end: float) -> None:
        name = printable(self._location)
        if self._claimed is not None and not self._may_restart and not self.joints:
            missing = (self._claimed - self._late - end) * float(self.fps)
            claimed = (self._claimed - self._start) * float(self.fps)
            if missing > max(MISSING_FRAMES, MISSING_SHARE * claimed):
                text = "%s ends after %d frames, but its header says %d: it is truncated or damaged"
                logger.warning(text, name, count if self._counts_all else round(claimed - missing), round(claimed))
                return
        # Packets at the joint of two recordings are marked too, and nothing is missing there.
        holes = (
            self._torn
            and self._counts_all
            and not self.joints
            and (end - first) * float(self.fps) - count > MISSING_FRAMES
        )
        if self._damaged or holes:
            logger.warning("%s is damaged: some frames are missing or wrong", name)
