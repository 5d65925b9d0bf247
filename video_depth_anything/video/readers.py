"""Three decoders behind one interface: decord, OpenCV, and the ffmpeg program that imageio-ffmpeg brings.

None of them can be trusted with every file: decord repeats frames of trimmed clips and mangles tiny ones, OpenCV ends
damaged files without a word, both misread mirrored ones. So what a file claims is checked while it is read.
"""

from __future__ import annotations

import os
import re
import subprocess
import threading
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from queue import SimpleQueue
from typing import IO, NamedTuple, Protocol

import numpy as np
import numpy.typing as npt

from .timing import TimedFrame, as_rate

# How ffmpeg's description of a file announces a video stream.
VIDEO_STREAM = r"Stream #\S+ Video: .*"


# Perceptual quantiser and hybrid log-gamma, as ffmpeg names them.
HDR_TRANSFERS = ("smpte2084", "arib-std-b67")
# To linear light, compressed to what ordinary video shows, and back to BT.709.
TONE_MAP = (
    "zscale=transfer=linear:npl=100,format=gbrpf32le,zscale=primaries=bt709,tonemap=hable:desat=0,"
    "zscale=transfer=bt709:matrix=bt709:range=tv,format=yuv420p,"
)


class FrameInfo(NamedTuple):
    """What ffmpeg tells of a frame: time and duration in seconds, size (H, W)."""

    time: float
    duration: float
    size: tuple[int, int]


class ReaderError(Exception):
    """This reader cannot read this file; another one may."""


class DecordReader:
    """Reads through decord. Frames are checked as they come: shape, and times that rise from zero on."""

    name = "decord"

    def __init__(self, location: str) -> None:
        try:
            import decord
        except (ImportError, OSError) as error:
            raise ReaderError("decord is not installed") from error
        self._failure: type[Exception] = decord.base.DECORDError
        decord.logging.set_level(decord.logging.QUIET)
        try:
            self._video = decord.VideoReader(location, ctx=decord.cpu(0))
            spans = self._video.get_frame_timestamp(range(len(self._video)))
            self._times, self._ends = spans[:, 0], spans[:, 1]
            self.fps = float(self._video.get_avg_fps())
        except (decord.base.DECORDError, RuntimeError, IndexError, ValueError) as error:
            raise ReaderError("decord cannot open it") from error
        self.num_frames: int | None = len(self._times)
        self.expected_frames: int | None = self.num_frames
        if self.num_frames == 0 or self._times[0] < 0 or (np.diff(self._times) <= 0).any():
            raise ReaderError("decord gives it times that do not rise from zero")

    def __iter__(self) -> Iterator[TimedFrame]:
        for time, end in zip(self._times, self._ends):
            try:
                image = self._video.next().asnumpy()
            except (self._failure, RuntimeError, StopIteration, ValueError) as error:
                raise ReaderError("decord stopped on the way") from error
            yield TimedFrame(_checked(image), float(time), float(end - time))

    def close(self) -> None:
        # decord frees its decoder, threads and buffers with the object.
        self._video = None


class OpenCVReader:
    """Reads through OpenCV. It ends damaged files silently, so the caller compares the count with `num_frames`.

    It tells no durations: each frame is held until the next one's time is known.
    """

    name = "OpenCV"

    def __init__(self, location: str) -> None:
        os.environ.setdefault("OPENCV_FFMPEG_LOGLEVEL", "-8")  # libavcodec's chatter on standard error
        import cv2

        self._color = cv2.COLOR_BGR2RGB
        self._convert: Callable[..., npt.NDArray[np.uint8]] = cv2.cvtColor  # type: ignore[assignment]
        self._time_property = cv2.CAP_PROP_POS_MSEC
        self._capture = cv2.VideoCapture(location)
        if not self._capture.isOpened():
            raise ReaderError("OpenCV cannot open it")
        self.fps = float(self._capture.get(cv2.CAP_PROP_FPS))
        count = self._capture.get(cv2.CAP_PROP_FRAME_COUNT)
        self.num_frames: int | None = int(count) if 0 < count < 1 << 40 else None
        self.expected_frames: int | None = self.num_frames
        if not 0 < self.fps < 1 << 20:
            raise ReaderError("OpenCV finds no frame rate in it")

    def __iter__(self) -> Iterator[TimedFrame]:
        held: TimedFrame | None = None
        step = 1 / self.fps
        while True:
            ok, image = self._capture.read()
            if not ok:
                break
            time = max(self._capture.get(self._time_property) / 1000, 0.0)
            if held is not None:
                # Some containers carry no times; counting is the best that is left.
                step = time - held.time if time > held.time else 1 / self.fps
                yield held._replace(duration=step)
                time = held.time + step
            held = TimedFrame(_checked(self._convert(image, self._color)), time, 0.0)
        if held is not None:
            yield held._replace(duration=step)

    def close(self) -> None:
        self._capture.release()


class FfmpegReader:
    """Reads raw frames from an ffmpeg process; their times and their size come from its `showinfo` filter.

    The only one that applies every display matrix, and that maps HDR to the range of ordinary video.
    """

    name = "ffmpeg"
    # No count to hold it to: it reads what can be read.
    num_frames: int | None = None

    def __init__(self, location: str) -> None:
        header = ffmpeg_header(location)
        stream = re.search(VIDEO_STREAM, header)
        if stream is None:
            raise ReaderError("ffmpeg finds no video stream in it")
        rate = re.search(r"([\d.]+)(k?) fps", stream.group())
        self.fps = float(as_rate(float(rate.group(1)) * (1000 if rate.group(2) else 1))) if rate else 25.0
        length = re.search(r"Duration: (\d+):(\d+):([\d.]+)", header)
        seconds = sum(float(n) * unit for n, unit in zip(length.groups(), (3600, 60, 1))) if length else 0.0
        self.expected_frames: int | None = round(seconds * self.fps) or None
        self._location = location
        self._filters = (TONE_MAP if is_hdr(header) else "") + "showinfo=checksum=0"
        self._process: subprocess.Popen[bytes] | None = None

    def __iter__(self) -> Iterator[TimedFrame]:
        # passthrough: without it a pipe gets frames repeated and dropped to a constant rate.
        command = [ffmpeg_program(), "-hide_banner", "-nostats", "-nostdin", "-i", self._location, "-map", "0:v:0"]
        command += ["-vf", self._filters, "-fps_mode", "passthrough"]
        command += ["-f", "rawvideo", "-pix_fmt", "rgb24", "pipe:1"]
        self._process = subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, start_new_session=True
        )
        assert self._process.stdout is not None and self._process.stderr is not None
        infos: SimpleQueue[FrameInfo | None] = SimpleQueue()
        threading.Thread(target=_read_showinfo, args=(self._process.stderr, infos), daemon=True).start()
        size: tuple[int, int] | None = None
        while (info := infos.get()) is not None:
            size = size or info.size
            data = self._process.stdout.read(size[0] * size[1] * 3)
            if len(data) < size[0] * size[1] * 3:
                return
            yield TimedFrame(np.frombuffer(data, np.uint8).reshape(*size, 3), info.time, info.duration or 1 / self.fps)

    def close(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.communicate()
            self._process = None


class Reader(Protocol):
    """A decoder at work on one input.

    name: for messages. fps: mean rate it states. num_frames: what it must reach not to count as stopped early, None if
    it makes no claim. expected_frames: the best guess, for progress.
    """

    name: str
    fps: float
    num_frames: int | None
    expected_frames: int | None

    def __iter__(self) -> Iterator[TimedFrame]: ...

    def close(self) -> None: ...


ReaderKind = type[DecordReader] | type[OpenCVReader] | type[FfmpegReader]
# decord is not for streams: it demuxes far ahead while the first frames decode, and keeps every frame that its consumer
# is slower to take. 1,500 frames of 480x270 taken at 50 a second held 570 MB, all of them; OpenCV held none.
STREAM_READERS: tuple[ReaderKind, ...] = (OpenCVReader, FfmpegReader)
READERS: tuple[ReaderKind, ...] = (DecordReader, OpenCVReader, FfmpegReader)


def _checked(image: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
    if image.ndim != 3 or image.shape[2] != 3 or image.dtype != np.uint8:
        raise ReaderError(f"frames come out as {image.shape} {image.dtype}")
    return image


def _read_showinfo(stream: IO[bytes], infos: SimpleQueue[FrameInfo | None]) -> None:
    """Put what ffmpeg reports of each frame, then None."""
    last: FrameInfo | None = None
    for line in stream:
        match = re.search(rb"pts_time:\s*(\S+).* duration_time:\s*(\S+).* s:(\d+)x(\d+)", line)
        if match is None:
            continue
        time, duration = (float(group) if group != b"NOPTS" else 0.0 for group in match.groups()[:2])
        if last is not None and time <= last.time:
            time = last.time + last.duration
        last = FrameInfo(time, duration, (int(match.group(4)), int(match.group(3))))
        infos.put(last)
    infos.put(None)


def ffmpeg_program() -> str:
    """Path of the ffmpeg program.

    Raises:
        ReaderError: if imageio-ffmpeg is not installed and there is no ffmpeg on the PATH.
    """
    try:
        import imageio_ffmpeg

        program: str = imageio_ffmpeg.get_ffmpeg_exe()
        return program
    except (ImportError, RuntimeError) as error:
        raise ReaderError("imageio-ffmpeg is not installed") from error


def ffmpeg_header(location: str | Path) -> str:
    """What ffmpeg says of the streams of a file or an address."""
    command = [ffmpeg_program(), "-hide_banner", "-nostdin", "-i", str(location)]
    return subprocess.run(command, capture_output=True, text=True, errors="replace", check=False).stderr


def is_hdr(header: str) -> bool:
    """Whether a file's description names a transfer function of high dynamic range."""
    return any(name in header for name in HDR_TRANSFERS)


def suitable_readers(location: str, readers: Sequence[ReaderKind]) -> list[ReaderKind]:
    """The readers worth trying, by what ffmpeg says of the input: none if there is no video stream."""
    if FfmpegReader not in readers:
        return list(readers)
    try:
        header = ffmpeg_header(location)
    except ReaderError:
        return list(readers)
    if not re.search(VIDEO_STREAM, header):
        return []
    return [FfmpegReader] if "Display Matrix" in header or is_hdr(header) else list(readers)
