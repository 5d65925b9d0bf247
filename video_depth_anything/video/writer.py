"""Writes video files in one pass with PyAV: the frames' own timestamps, odd sizes, colour tags, sound."""

from __future__ import annotations

import contextlib
import logging
from collections import deque
from fractions import Fraction
from pathlib import Path
from typing import Any, Literal, cast

import av
import cv2
import numpy as np
import numpy.typing as npt
from av import VideoFrame, VideoStream
from av.container import OutputContainer
from av.video.reformatter import ColorRange, Colorspace, Interpolation, VideoReformatter

from ..errors import OutputError
from .names import printable
from .sound import AudioTrack, Sound
from .yuv import painted, yuv_table

logger = logging.getLogger(__name__)

PixelFormat = Literal["rgb24", "gray16le"]

X264 = "libx264"
# Codecs that MP4 players support.
PLAYED = {"h264", "hevc"}
# The PSNR of x264's defaults at crf 18, which the original writes, in a third of the time (benchmark/speed/README.md).
# Fewer partitions and less motion search lose little quality; trellis, finer chroma and no adaptive quantisation regain
# it. Without B-frames, frames are stored in presentation order.
FAST = "force-cfr=1:aq-strength=0.3:chroma-qp-offset=-4:trellis=1:partitions=i4x4,i8x8"
# Smooth pictures of few colours need no motion search and no look-ahead: one constant quantiser gives about the same
# quality and size in half the time (docs/lab/speed.md).
LIKE_FAST = "force-cfr=1:chroma-qp-offset=-4:cabac=1:8x8dct=1:deblock=0,0:ipratio=1.6"
SMOOTH = {"preset": "ultrafast", "qp": "20", "x264-params": LIKE_FAST}
# Visually lossless for most material. Other encoders are set to a similar quality.
QUALITY = {
    X264: {"preset": "veryfast", "crf": "19", "x264-params": FAST},
    "libx265": {"preset": "fast", "crf": "20", "x265-params": "log-level=error"},
    "h264_nvenc": {"preset": "p5", "rc": "vbr", "cq": "19"},
    "hevc_nvenc": {"preset": "p5", "rc": "vbr", "cq": "21"},
}
# Programs disagree on the matrix of untagged video. Decoders that ignore tags assume BT.601, so with these tags all
# agree. H.273 codes: SMPTE 170M matrix, BT.709 primaries, sRGB curve; and FFmpeg's code for limited range.
MATRIX, PRIMARIES, TRANSFER, RANGE = 6, 1, 13, 1
# Lossless, every frame on its own, with checksums.
FFV1 = {"level": "3", "g": "1", "slices": "4", "slicecrc": "1"}
# Minimum ticks per second: finer than the clock of any source.
FINEST = 90_000
# Rounding of times in files, in seconds: a frame this close to its place at a constant rate is put there.
ROUNDED = 1.5e-3
# Ticks that MP4 can hold between two frames.
LONGEST = 2**31 - 2
# Seconds by which sound is written behind the picture, so that none exceeds the video's end, which is not yet known.
BEHIND = 0.5


class TickClock:
    """Converts seconds to ticks: whole frames where times fit a constant rate, else rounded to a tick."""

    def __init__(self, fps: Fraction) -> None:
        self.step = fps.denominator * max(min(-(-FINEST // fps.numerator), LONGEST // 8 // fps.denominator), 1)
        self.tick = 1 / (fps * self.step)
        self._fps = float(fps)
        self._near = min(ROUNDED * self._fps, 0.25)

    def at(self, seconds: float) -> int:
        """Convert seconds to a tick."""
        frames = seconds * self._fps
        nearest = round(frames)
        return nearest * self.step if abs(frames - nearest) < self._near else round(frames * self.step)


def check_codec(codec: str) -> None:
    """Reject encoders whose videos MP4 players do not support; unavailable ones pass."""
    if codec == X264:
        return
    try:
        kind = av.Codec(codec, "w").canonical_name
    except (av.FFmpegError, ValueError):
        return
    if kind not in PLAYED:
        raise OutputError(f"--codec {codec} writes {kind}; use an H.264 or HEVC encoder, such as libx264 or libx265")


def open_mp4(path: Path, tick: Fraction | None = None) -> OutputContainer:
    """Open an MP4 for writing, index before data; `tick` in seconds keeps FFmpeg from choosing a finer one."""
    options = {"movflags": "+faststart"} | ({"video_track_timescale": str(1 / tick)} if tick else {})
    return av.open(f"file:{path}", "w", format="mp4", container_options=options)


class VideoWriter:
    """Writes one video file, which is complete after `close`.

    Args:
        path: where to; .mp4 for colour, .mkv for 16 bits.
        size: (H, W) of the frames. Common H.264 needs even sizes, so an odd side is padded by repeating its edge, which
            is logged.
        fps: exact frame rate for frames without times; else the rate of most frames.
        pixels: "rgb24" for H.264 or HEVC, "gray16le" for lossless FFV1.
        audio: sound to add, cut to the video's length; omitted with a warning if it cannot be used.
        codec: encoder, for instance "h264_nvenc". If it is not available, libx264 is used, with a warning.
        table: (256, 3) uint8 RGB, the colour of each level, if frames are levels; None: gray.

    Raises:
        OutputError: here, or from `write` and `close`, if the file cannot be written.
    """

    def __init__(
        self,
        path: Path,
        size: tuple[int, int],
        fps: Fraction,
        pixels: PixelFormat = "rgb24",
        audio: AudioTrack | None = None,
        codec: str = X264,
        table: npt.NDArray[np.uint8] | None = None,
    ) -> None:
        self._mp4 = pixels == "rgb24"
        if self._mp4:
            check_codec(codec)
        self.path = path
        self._size = size
        self._fps = fps
        self._audio = audio
        self._sound: Sound | None = None
        self._clock = TickClock(fps)
        self._pad = (size[0] % 2, size[1] % 2) if self._mp4 else (0, 0)
        height, width = (side + pad for side, pad in zip(size, self._pad))
        if any(self._pad):
            logger.info("%s is padded to even sides: %dx%d", path.name, width, height)
        self._reformatter = VideoReformatter()
        self._table = yuv_table(table)
        self._smooth = table is not None
        self._count = 0
        self._first = 0.0
        self._shift = 0
        self._last, self._duration = -1, self._clock.step
        self._even = True
        # Times of frames inside the encoder, until their packets come out.
        self._durations: deque[int] = deque()
        try:
            self._output, self._stream = self._open(codec if self._mp4 else "ffv1", width, height)
        except (av.FFmpegError, OSError) as error:
            raise self._failure(error) from error

    def write(self, frame: npt.NDArray[Any], time: float | None = None, duration: float | None = None) -> None:
        """Append a frame.

        Args:
            frame: (H, W, 3) uint8 RGB or (H, W) uint8 levels for H.264, (H, W) uint16 for FFV1.
            time: in seconds from any fixed point; later than that of the frame before. None: one frame later.
            duration: in seconds; None: one frame.
        """
        if frame.shape[:2] != self._size:
            raise ValueError(f"frame is {frame.shape}, the video has {self._size}")
        if self._count == 0:
            self._first = time or 0.0
        seconds = float(self._count / self._fps) if time is None else time - self._first
        step = self._clock.step if duration is None else round(duration / self._clock.tick)
        # A container cannot hold two frames at one time, or a pause of days.
        tick = max(self._clock.at(seconds) - self._shift, self._last + 1)
        if self._count and tick - self._last > LONGEST:
            text = "%s: a pause of %.3g hours is shortened to the longest pause that MP4 can hold"
            logger.warning(text, self.path.name, float((tick - self._last) * self._clock.tick) / 3600)
            self._shift += tick - self._last - LONGEST
            tick = self._last + LONGEST
        if self._durations:
            self._durations[-1] = tick - self._last
        self._even &= tick == self._count * self._clock.step
        self._last, self._duration = tick, min(max(step, 1), LONGEST)
        self._durations.append(self._duration)
        try:
            if self._count == 0 and self._audio is not None:
                self._sound = Sound.opened(self._audio, self._output, self.path.name)
            self._count += 1
            for packet in self._stream.encode(self._picture(frame, tick)):
                packet.duration = self._durations.popleft()
                self._output.mux(packet)
            if self._sound is not None:
                self._sound.write_until(float(tick * self._clock.tick) - BEHIND)
        except (av.FFmpegError, OSError) as error:
            raise self._failure(error) from error

    def close(self) -> None:
        """Complete the file."""
        try:
            if not self._count:
                self._output.start_encoding()
            step = self._clock.step
            if self._even and abs(self._duration - step) <= step / 2:
                # The last frame gets the usual duration if that moves the end by half a frame at most.
                self._duration = step
            if self._durations:
                self._durations[-1] = self._duration
            for packet in self._stream.encode(None):
                packet.duration = self._durations.popleft()
                self._output.mux(packet)
            if self._sound is not None:
                self._sound.finish(float((self._last + self._duration) * self._clock.tick))
            self._output.close()
        except BaseException as error:
            self.abort()
            if isinstance(error, (av.FFmpegError, OSError)):
                raise self._failure(error) from error
            raise

    def abort(self) -> None:
        """Stop and remove the file."""
        if self._sound is not None:
            self._sound.close()
        with contextlib.suppress(av.FFmpegError, OSError):
            self._output.close()
        self.path.unlink(missing_ok=True)

    def _failure(self, error: Exception) -> OutputError:
        return OutputError(f"cannot write {printable(self.path)}: {getattr(error, 'strerror', None) or error}")

    def _open(self, codec: str, width: int, height: int) -> tuple[OutputContainer, VideoStream]:
        output = (
            open_mp4(self.path, self._clock.tick) if self._mp4 else av.open(f"file:{self.path}", "w", format="matroska")
        )
        try:
            quality = SMOOTH if self._smooth and codec == X264 else QUALITY.get(codec, {})
            options = {"bf": "0", **quality} if self._mp4 else FFV1
            stream = cast("VideoStream", output.add_stream(codec, rate=self._fps, options=options))
            stream.width, stream.height = width, height
            stream.pix_fmt = "yuv420p" if self._mp4 else "gray16le"
            context = stream.codec_context
            context.time_base = self._clock.tick
            if self._mp4:
                context.colorspace, context.color_primaries = MATRIX, PRIMARIES
                context.color_trc, context.color_range = TRANSFER, RANGE
                if context.codec.canonical_name == "hevc":
                    context.codec_tag = "hvc1"  # Apple's players reject the default
            context.open()
        except (av.FFmpegError, ValueError) as error:
            output.close()
            if codec in (X264, "ffv1"):
                raise
            logger.warning("the encoder %s is not available (%s); using %s", codec, error, X264)
            return self._open(X264, width, height)
        return output, stream

    def _picture(self, frame: npt.NDArray[Any], tick: int) -> VideoFrame:
        """Convert a frame to the encoder's pixel format, copying its values."""
        pixels: npt.NDArray[Any] = np.ascontiguousarray(frame)
        if any(self._pad):
            pixels = cv2.copyMakeBorder(pixels, 0, self._pad[0], 0, self._pad[1], cv2.BORDER_REPLICATE)
        if not self._mp4:
            picture = av.VideoFrame.from_ndarray(pixels, format="gray16le")
        elif frame.ndim == 2:
            picture = painted(pixels, self._table)
        else:
            picture = self._reformatter.reformat(
                av.VideoFrame.from_numpy_buffer(pixels, format="rgb24"),
                format="yuv420p",
                dst_colorspace=Colorspace.ITU601,
                dst_color_range=ColorRange.MPEG,
                interpolation=Interpolation.BICUBIC,
            )
        if self._mp4:
            picture.colorspace, picture.color_range = MATRIX, RANGE
            picture.color_primaries, picture.color_trc = PRIMARIES, TRANSFER
        picture.pts, picture.time_base = tick, self._clock.tick
        return picture
