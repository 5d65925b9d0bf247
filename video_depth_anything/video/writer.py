"""Video files with PyAV: exact rates or the frames' own times, odd sizes, colours tagged as what they are, sound."""

from __future__ import annotations

import contextlib
import logging
from array import array
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, cast

import numpy as np
import numpy.typing as npt

from ..errors import OutputError
from ..files import discard, partial_path
from .names import printable
from .remux import Schedule, remux, schedule
from .sound import AudioTrack
from .timing import SAME_LENGTH, as_rate
from .yuv import yuv_planes, yuv_table

if TYPE_CHECKING:
    from av import VideoFrame, VideoStream
    from av.container import OutputContainer

logger = logging.getLogger(__name__)

PixelFormat = Literal["rgb24", "gray16le"]

X264 = "libx264"
# The PSNR of x264's defaults at crf 18, which the original writes, in half the time; benchmark/speed/README.md has the
# figures. Few partitions and no motion search at the end cost little here; trellis and finer chroma win it back, and so
# do bits that are not moved to flat parts.
FAST = "aq-strength=0.3:chroma-qp-offset=-4:trellis=1:partitions=i4x4,i8x8"
# Smooth pictures of few colours need no motion to less than half a pixel.
SMOOTH = f"{FAST}:subme=1"
# Visually lossless for most material. Other encoders get a like quality.
QUALITY = {
    X264: {"preset": "veryfast", "crf": "18", "x264-params": FAST},
    "h264_nvenc": {"preset": "p5", "rc": "vbr", "cq": "19", "b": "0"},
}
# Untagged video is read with one matrix by some programs and another by others; BT.601 is what decoders that ignore
# tags assume, so this is read alike by all. Codes of ITU-T H.273: SMPTE 170M matrix, BT.709 primaries, sRGB curve, and
# FFmpeg's for limited range.
MATRIX, PRIMARIES, TRANSFER, RANGE = 6, 1, 13, 1
# Lossless, every frame on its own, with checksums.
FFV1 = {"level": "3", "g": "1", "slices": "4", "slicecrc": "1"}
# Seconds by which a flash may be off its sound.
SYNC = 0.02


class TimedVideo:
    """A video file in the making, whose frames may come with their times.

    Args:
        path: where to.
        fps: exact frame rate.
        audio: sound to add.
    """

    def __init__(self, path: Path, fps: Fraction, audio: AudioTrack | None) -> None:
        self.path = path
        self._fps = fps
        self._audio = audio
        self._count = 0
        self._stamps = array("d")
        self._end = 0.0

    def _add(self, time: float | None, duration: float | None) -> None:
        """Count a frame."""
        self._count += 1
        if time is not None and duration is not None:
            self._stamps.append(time)
            self._end = time + duration

    def _discard(self) -> None:
        discard(self.path)
        self._finished_path().unlink(missing_ok=True)

    def _schedule(self, seconds: float | None) -> Schedule:
        if self._count and len(self._stamps) == self._count:
            playing = self._end - self._stamps[0]
            rate = self._mean_rate(playing)
            tolerance = min(0.5 / float(rate), SYNC if self._audio is not None else float("inf"))
            return schedule(self._stamps, self._end, rate, tolerance)
        return Schedule(self._count, self._fps if seconds is None or not self._count else self._mean_rate(seconds))

    def _mean_rate(self, seconds: float) -> Fraction:
        """The nominal rate, unless frames at it would be off by more than half a frame after so many seconds."""
        if seconds <= 0 or abs(self._count - seconds * self._fps) <= SAME_LENGTH:
            return self._fps
        return as_rate(self._count / seconds, self._count)

    def _finish(self, plan: Schedule) -> None:
        audio = self._audio if self._audio is not None and self._audio.exists() else None
        partial = partial_path(self.path)
        if plan.rate == self._fps and plan.times is None and audio is None:
            partial.replace(self.path)
            return
        finished = self._finished_path()
        remux(partial, finished, self._fps, plan, audio, self.path.name)
        finished.replace(self.path)
        discard(self.path)

    def _finished_path(self) -> Path:
        return self.path.with_name(f".finished_{self.path.name}")

    @contextlib.contextmanager
    def _failing(self) -> Iterator[None]:
        """Turn the library's errors into one line that names the file."""
        import av

        try:
            yield
        except (av.FFmpegError, OSError) as error:
            raise OutputError(f"cannot write {printable(self.path)}: {error.strerror or error}") from error


class VideoWriter(TimedVideo):
    """Writes one video file, which has its name only after `close`.

    Frames that come with their times are shown at them, if a constant rate would move any by more than half a frame, or
    by 20 ms where there is sound; players that know constant rates only show such files at the mean rate.

    Args:
        path: where to; .mp4 for colour.
        size: (H, W) of the frames. H.264 in its common form has even sizes, so an odd side is padded by one pixel that
            repeats its neighbour; a note says so.
        fps: exact frame rate.
        pixels: "rgb24" for H.264, "gray16le" for lossless FFV1.
        audio: sound to add, cut to the video's length; left out with a warning where it cannot be used.
        codec: H.264 encoder, for instance "h264_nvenc". One that is not to be had here is replaced by libx264, and a
            line says so.
        table: (256, 3) uint8 RGB, the colours of levels, where all frames are such; None: gray.

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
        from av.video.reformatter import VideoReformatter

        super().__init__(path, fps, audio)
        self._size = size
        self._pixels = pixels
        self._pad = (size[0] % 2, size[1] % 2) if pixels == "rgb24" else (0, 0)
        height, width = (side + pad for side, pad in zip(size, self._pad))
        if any(self._pad):
            logger.info("%s is padded to even sides: %dx%d", path.name, width, height)
        self._reformatter = VideoReformatter()
        self._table = yuv_table(table)
        self._smooth = table is not None
        with self._failing():
            self._output, self._stream = self._open(codec if pixels == "rgb24" else "ffv1", width, height)

    def write(self, frame: npt.NDArray[Any], time: float | None = None, duration: float | None = None) -> None:
        """Append a frame.

        Args:
            frame: (H, W, 3) uint8 RGB or (H, W) uint8 levels for H.264, (H, W) uint16 for FFV1.
            time: when it is shown, in seconds from any fixed point; later than the frame before. Either all frames have
                one, or none.
            duration: for how long, in seconds; needed with `time`.
        """
        if frame.shape[:2] != self._size:
            raise ValueError(f"frame is {frame.shape}, the video has {self._size}")
        picture = self._picture(np.ascontiguousarray(frame))
        picture.pts, picture.time_base = self._count, 1 / self._fps
        picture.duration = 1
        with self._failing():
            self._output.mux(self._stream.encode(picture))
        self._add(time, duration)

    def close(self, seconds: float | None = None) -> None:
        """Finish the file and give it its name.

        Args:
            seconds: how long it should play, for frames that came without times. If they are off by more than half a
                frame at the nominal rate, they are spread over that time at the mean rate.
        """
        try:
            with self._failing():
                if not self._count:
                    self._output.start_encoding()
                self._output.mux(self._stream.encode(None))
                self._output.close()
                self._finish(self._schedule(seconds))
        except BaseException:
            self.abort()
            raise

    def abort(self) -> None:
        """Stop and remove what was written."""
        import av

        with contextlib.suppress(av.FFmpegError, OSError):
            self._output.close()
        self._discard()

    def _open(self, codec: str, width: int, height: int) -> tuple[OutputContainer, VideoStream]:
        import av

        mp4 = self._pixels == "rgb24"
        movflags = {"movflags": "+faststart"} if mp4 and self._audio is None else {}
        target = f"file:{partial_path(self.path)}"
        output = av.open(target, "w", format="mp4" if mp4 else "matroska", container_options=movflags)
        try:
            options = QUALITY.get(codec, {}) if mp4 else FFV1
            if codec == X264 and self._smooth:
                options = {**options, "x264-params": SMOOTH}
            stream = cast("VideoStream", output.add_stream(codec, rate=self._fps, options=options))
            stream.width, stream.height = width, height
            stream.pix_fmt = "yuv420p" if mp4 else "gray16le"
            context = stream.codec_context
            context.time_base = 1 / self._fps
            if mp4:
                context.colorspace, context.color_primaries = MATRIX, PRIMARIES
                context.color_trc, context.color_range = TRANSFER, RANGE
            context.open()
        except (av.FFmpegError, ValueError) as error:
            output.close()
            if codec in (X264, "ffv1"):
                raise
            logger.warning("the encoder %s does not work here (%s); %s is used", codec, error, X264)
            return self._open(X264, width, height)
        return output, stream

    def _picture(self, frame: npt.NDArray[Any]) -> VideoFrame:
        """A contiguous frame in the encoder's pixel format, with a copy of the numbers."""
        import av
        import cv2
        from av.video.reformatter import ColorRange, Colorspace, Interpolation

        if self._pixels == "gray16le":
            return av.VideoFrame.from_ndarray(frame, format="gray16le")
        if any(self._pad):
            frame = cv2.copyMakeBorder(frame, 0, self._pad[0], 0, self._pad[1], cv2.BORDER_REPLICATE)
        if frame.ndim == 2:
            picture = av.VideoFrame.from_ndarray(yuv_planes(frame, self._table), format="yuv420p")
        else:
            picture = self._reformatter.reformat(
                av.VideoFrame.from_numpy_buffer(frame, format="rgb24"),
                format="yuv420p",
                dst_colorspace=Colorspace.ITU601,
                dst_color_range=ColorRange.MPEG,
                interpolation=Interpolation.BICUBIC,
            )
        picture.colorspace, picture.color_range = MATRIX, RANGE
        picture.color_primaries, picture.color_trc = PRIMARIES, TRANSFER
        return picture
