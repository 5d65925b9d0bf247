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
from typing import IO

import numpy as np
import numpy.typing as npt

from .timing import TimedFrame, as_rate

# How ffmpeg's description of a file announces a video stream.
VIDEO_STREAM = r"Stream #\S+ Video: .*"


class ReaderError(Exception):
    """This reader cannot read this file; another one may."""


class DecordReader:
    """Reads through decord. Frames are checked as they come: shape, and times that rise from zero on."""

    name = "decord"

    def __init__(self, path: Path) -> None:
        try:
            import decord
        except (ImportError, OSError) as error:
            raise ReaderError("decord is not installed") from error
        self._failure: type[Exception] = decord.base.DECORDError
        decord.logging.set_level(decord.logging.QUIET)
        try:
            self._video = decord.VideoReader(str(path), ctx=decord.cpu(0))
            self._times = self._video.get_frame_timestamp(range(len(self._video)))[:, 0]
            self.fps = float(self._video.get_avg_fps())
        except (decord.base.DECORDError, RuntimeError, IndexError, ValueError) as error:
            raise ReaderError("decord cannot open it") from error
        self.num_frames: int | None = len(self._times)
        self.expected_frames = self.num_frames
        if self.num_frames == 0 or self._times[0] < 0 or (np.diff(self._times) <= 0).any():
            raise ReaderError("decord gives it times that do not rise from zero")

    def __iter__(self) -> Iterator[TimedFrame]:
        for time in self._times:
            try:
                image = self._video.next().asnumpy()
            except (self._failure, RuntimeError, StopIteration, ValueError) as error:
                raise ReaderError("decord stopped on the way") from error
            yield TimedFrame(_checked(image), float(time))

    def close(self) -> None:
        del self._video


class OpenCVReader:
    """Reads through OpenCV. It ends damaged files silently, so the caller compares the count with `num_frames`."""

    name = "OpenCV"

    def __init__(self, path: Path) -> None:
        os.environ.setdefault("OPENCV_FFMPEG_LOGLEVEL", "-8")  # libavcodec's chatter on standard error
        import cv2

        self._color = cv2.COLOR_BGR2RGB
        self._convert: Callable[..., npt.NDArray[np.uint8]] = cv2.cvtColor  # type: ignore[assignment]
        self._time_property = cv2.CAP_PROP_POS_MSEC
        self._capture = cv2.VideoCapture(str(path))
        if not self._capture.isOpened():
            raise ReaderError("OpenCV cannot open it")
        self.fps = float(self._capture.get(cv2.CAP_PROP_FPS))
        count = self._capture.get(cv2.CAP_PROP_FRAME_COUNT)
        self.num_frames: int | None = int(count) if 0 < count < 1 << 40 else None
        self.expected_frames = self.num_frames
        if not 0 < self.fps < 1 << 20:
            raise ReaderError("OpenCV finds no frame rate in it")

    def __iter__(self) -> Iterator[TimedFrame]:
        index, last = 0, -1.0
        while True:
            ok, image = self._capture.read()
            if not ok:
                return
            time = self._capture.get(self._time_property) / 1000
            # Some containers carry no times; counting is the best that is left.
            last = time if time > last else last + 1 / self.fps
            yield TimedFrame(_checked(self._convert(image, self._color)), last if index else max(last, 0.0))
            index += 1

    def close(self) -> None:
        self._capture.release()


class FfmpegReader:
    """Reads raw frames from an ffmpeg process; their times and their size come from its `showinfo` filter."""

    name = "ffmpeg"
    # No count to hold it to: it reads what can be read.
    num_frames: int | None = None

    def __init__(self, path: Path) -> None:
        header = ffmpeg_header(path)
        stream = re.search(VIDEO_STREAM, header)
        if stream is None:
            raise ReaderError("ffmpeg finds no video stream in it")
        rate = re.search(r"([\d.]+)(k?) fps", stream.group())
        self.fps = float(as_rate(float(rate.group(1)) * (1000 if rate.group(2) else 1))) if rate else 25.0
        length = re.search(r"Duration: (\d+):(\d+):([\d.]+)", header)
        seconds = sum(float(n) * unit for n, unit in zip(length.groups(), (3600, 60, 1))) if length else 0.0
        self.expected_frames: int | None = round(seconds * self.fps) or None
        self._path = path
        self._process: subprocess.Popen[bytes] | None = None

    def __iter__(self) -> Iterator[TimedFrame]:
        # passthrough: without it a pipe gets frames repeated and dropped to a constant rate.
        command = [ffmpeg_program(), "-hide_banner", "-nostats", "-nostdin", "-i", str(self._path), "-map", "0:v:0"]
        command += ["-vf", "showinfo=checksum=0", "-fps_mode", "passthrough"]
        command += ["-f", "rawvideo", "-pix_fmt", "rgb24", "pipe:1"]
        self._process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        assert self._process.stdout is not None and self._process.stderr is not None
        infos: SimpleQueue[tuple[float, int, int] | None] = SimpleQueue()
        threading.Thread(target=_read_showinfo, args=(self._process.stderr, infos), daemon=True).start()
        size: tuple[int, int] | None = None
        while (info := infos.get()) is not None:
            time, width, height = info
            size = size or (height, width)
            data = self._process.stdout.read(size[0] * size[1] * 3)
            if len(data) < size[0] * size[1] * 3:
                return
            yield TimedFrame(np.frombuffer(data, np.uint8).reshape(*size, 3), time)

    def close(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.communicate()
            self._process = None


Reader = DecordReader | OpenCVReader | FfmpegReader
READERS: tuple[type[Reader], ...] = (DecordReader, OpenCVReader, FfmpegReader)


def _checked(image: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
    if image.ndim != 3 or image.shape[2] != 3 or image.dtype != np.uint8:
        raise ReaderError(f"frames come out as {image.shape} {image.dtype}")
    return image


def _read_showinfo(stream: IO[bytes], infos: SimpleQueue[tuple[float, int, int] | None]) -> None:
    """Put (time, width, height) of each frame that ffmpeg reports, then None."""
    pattern = re.compile(rb"pts_time:\s*(-?[\d.e+-]+|NOPTS).* s:(\d+)x(\d+)")
    last, step = 0.0, 0.0
    for line in stream:
        match = pattern.search(line)
        if match is None:
            continue
        time = float(match.group(1)) if match.group(1) != b"NOPTS" else last + step
        step, last = max(time - last, 0.0), time
        infos.put((time, int(match.group(2)), int(match.group(3))))
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


def ffmpeg_header(path: Path) -> str:
    """What ffmpeg says of a file's streams."""
    command = [ffmpeg_program(), "-hide_banner", "-nostdin", "-i", str(path)]
    return subprocess.run(command, capture_output=True, text=True, errors="replace", check=False).stderr


def suitable_readers(path: Path, readers: Sequence[type[Reader]]) -> list[type[Reader]]:
    """The readers worth trying on a file, by what ffmpeg says of it: none if there is no video stream."""
    if FfmpegReader not in readers:
        return list(readers)
    try:
        header = ffmpeg_header(path)
    except ReaderError:
        return list(readers)
    if not re.search(VIDEO_STREAM, header):
        return []
    # Rotated or mirrored display: only ffmpeg applies every such matrix rightly.
    return [FfmpegReader] if "Display Matrix" in header else list(readers)
