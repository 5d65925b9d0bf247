"""Uploads as the page sees them: frames from a confined process that decodes; the page itself never does."""

from __future__ import annotations

import contextlib
import json
import logging
import math
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, replace
from fractions import Fraction
from pathlib import Path
from typing import IO, Any

import numpy as np

from ..errors import InputError
from ..video.frame import Frame
from ..video.source import Selection
from .confinement import DecoderLimits, package_folders

logger = logging.getLogger(__name__)

# What the page says for each reason that a decoder gives, after the file's name.
REASONS = {
    "unreadable": "cannot be read: it is not a video, or it is damaged. Convert it to MP4 (H.264) and try again.",
    "playlist": "is a list that names other files, not a video. Upload the video itself.",
    "no picture": "holds no pictures, only sound or text. Upload a video.",
    "too large": "has frames that are too large for this page. Make it smaller, 4096x2304 at most, and try again.",
    "memory": "needs more memory than this page gives to one video. Make its frames smaller and try again.",
    "crashed": "made the decoder fail: it is probably damaged. Convert it to MP4 (H.264) and try again.",
    "time": "takes too long to decode. Make it shorter or smaller, or convert it to MP4 (H.264), and try again.",
    "silent": "gave no frame for {patience:.0f} seconds, so it was given up. Convert it to MP4 (H.264) and try again.",
}
LONGEST_LINE = 1 << 16
# Bytes of an upload's name that its outputs carry.
LONGEST_NAME = 120
# A file of sound and pictures that the decoder writes.
SOUND_FILE_MB, SOUND_SECONDS = 2000, 300
# What the decoder is told of this process's environment: nothing that might be secret.
ENVIRONMENT = ("PATH", "LD_LIBRARY_PATH", "LANG", "SYSTEMROOT")


class UploadError(InputError):
    """An upload is refused; the message is one or two sentences for the visitor."""

    def __init__(self, video: Path, reason: str, patience: float = 0.0) -> None:
        super().__init__(f"{video.name} {REASONS.get(reason, REASONS['unreadable']).format(patience=patience)}")
        self.reason = reason


class Decoder:
    """A decoder's process, from start to end.

    Args:
        video: the upload.
        limits: what it may use.
        request: what is asked besides.
    """

    def __init__(self, video: Path, limits: DecoderLimits, request: dict[str, Any]) -> None:
        self._video = video
        self._patience = limits.patience
        self._silent = False
        words = json.dumps({"video": str(video), "limits": asdict(limits), **request})
        environment = {name: os.environ[name] for name in ENVIRONMENT if name in os.environ}
        folders = [Path(__file__).resolve().parents[2], *package_folders()]
        environment |= {"PYTHONPATH": os.pathsep.join(map(str, folders)), "OMP_NUM_THREADS": "1"}
        environment |= {"OPENBLAS_NUM_THREADS": "1", "OPENCV_FFMPEG_LOGLEVEL": "-8"}
        command = [sys.executable, "-P", "-B", "-m", "video_depth_anything.web.decoder", words]
        # In a session of its own: Ctrl-C in a terminal is for the page, which then ends this.
        # What libraries say goes nowhere: a log may be a file, and the decoder may write none.
        self.process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env=environment,
            start_new_session=True,
        )
        assert self.process.stdout is not None
        self._answers: IO[bytes] = self.process.stdout

    def answer(self) -> dict[str, Any]:
        """The next line.

        Raises:
            UploadError: if the decoder refuses the upload, crashes, or says nothing for too long.
        """
        with self._awaited():
            line = self._answers.readline(LONGEST_LINE)
        try:
            content = json.loads(line)
            kind = content["kind"]
        except (ValueError, TypeError, KeyError):
            raise self._failure() from None
        if kind == "refused":
            if content.get("detail"):
                logger.info("an upload is refused: %r", content["detail"])
            raise UploadError(self._video, str(content.get("reason")))
        return dict(content)

    def data(self, size: int) -> bytes:
        """So many bytes.

        Raises:
            UploadError: if fewer come.
        """
        with self._awaited():
            data = self._answers.read(size)
        if len(data) < size:
            raise self._failure()
        return data

    def close(self) -> None:
        """End the process, wherever it is."""
        self.process.kill()
        self.process.wait()
        self._answers.close()

    @contextmanager
    def _awaited(self) -> Iterator[None]:
        """End the process if it says nothing for too long, so that reading ends as well."""

        def give_up() -> None:
            self._silent = True
            self.process.kill()

        timer = threading.Timer(self._patience, give_up)
        timer.start()
        try:
            yield
        finally:
            timer.cancel()

    def _failure(self) -> UploadError:
        """Why the process ended before its last line."""
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.process.wait(1.0)
        self.process.kill()
        code = self.process.wait()
        if self._silent:
            return UploadError(self._video, "silent", self._patience)
        logger.warning("the decoder of an upload ended with code %d", code)
        # SIGXCPU ends who has used up the computing time; Windows has no such limit.
        out_of_time = hasattr(signal, "SIGXCPU") and code == -signal.SIGXCPU
        return UploadError(self._video, "time" if out_of_time else "crashed")


class UploadSource:
    """An upload as a stream of frames, decoded elsewhere; iterated once. Outputs take it as a `VideoSource`.

    Args:
        video: the upload.
        selection: which frames; the size, rate and number count, the rest does not.
        limits: what its decoder may use.

    Raises:
        UploadError: if it is refused; while iterating, if its decoder fails.
    """

    pixel_aspect = Fraction(1)
    live = False
    # Its sound comes from its decoder too, which joins it.
    joints = ()
    # The visitor's packets are opened by the decoder alone.
    copyable = False
    images: Sequence[Path] = ()

    def __init__(self, video: Path, selection: Selection, limits: DecoderLimits) -> None:
        # Outputs carry it: the visitor's name for the file, not this machine's, and short enough to be added to.
        self.location = self.address = video.name
        self.name = os.fsencode(video.stem)[:LONGEST_NAME].decode(errors="ignore")
        rate = selection.target_fps
        wanted = {"max_res": selection.max_res, "target_fps": None if rate is None else str(rate)}
        self._video = video
        self._decoder = Decoder(video, limits, {"selection": {**wanted, "max_len": selection.max_len}})
        self.first_time: float | None = None
        try:
            self._take(self._decoder.answer(), limits.max_pixels)
        except BaseException:
            self._decoder.close()
            raise

    @property
    def process(self) -> subprocess.Popen[bytes]:
        """The decoder's."""
        return self._decoder.process

    def _take(self, facts: dict[str, Any], max_pixels: int) -> None:
        """Believe what the decoder says as far as it makes sense."""
        try:
            self.source_size = _size(facts["source_size"], max_pixels)
            self.size = _size(facts["size"], max_pixels)
            self.source_fps, self.fps = _rate(facts["source_fps"]), _rate(facts["fps"])
            self.expected = None if facts["expected"] is None else max(int(facts["expected"]), 1)
            self.reader = str(facts["reader"])
        except (KeyError, TypeError, ValueError, ZeroDivisionError) as error:
            raise UploadError(self._video, "unreadable") from error

    def timed(self) -> Iterator[Frame]:
        """Frames (H, W, 3) uint8 RGB with their times in seconds from the first one."""
        last = -math.inf
        while (answer := self._decoder.answer())["kind"] == "frame":
            data = self._decoder.data(math.prod(self.size) * 3)
            time, duration = float(answer["time"]), float(answer["duration"])
            if not (math.isfinite(time) and math.isfinite(duration) and time > last):
                raise UploadError(self._video, "unreadable")
            own = answer.get("source_time")
            if last == -math.inf and own is not None:
                self.first_time = float(own)
            last = time
            yield Frame(np.frombuffer(data, np.uint8).reshape(*self.size, 3), time, duration)

    def close(self) -> None:
        """End the decoder."""
        self._decoder.close()


def add_sound(video: Path, picture: Path, begins: float | None, limits: DecoderLimits) -> bool:
    """Give a video that was made of an upload's frames the upload's sound, and say whether there is one.

    Whatever is wrong with the sound, the video stays as it was.

    Args:
        video: the upload.
        picture: MP4 file; replaced.
        begins: the upload's own time of the first frame.
        limits: what the decoder may use.
    """
    output = picture.with_name(f".sound_{picture.name}")
    limits = replace(limits, file_mb=SOUND_FILE_MB, patience=SOUND_SECONDS)
    decoder = Decoder(video, limits, {"picture": str(picture), "output": str(output), "begins": begins})
    try:
        if not decoder.answer().get("sound") or not output.is_file():
            return False
        output.replace(picture)
        return True
    except UploadError as error:
        logger.warning("an upload's sound is left out: %s", error.reason)
        return False
    finally:
        decoder.close()
        output.unlink(missing_ok=True)


def _size(value: Any, max_pixels: int) -> tuple[int, int]:
    height, width = (int(side) for side in value)
    if min(height, width) < 1 or height * width > max_pixels:
        raise ValueError(f"frames of {width}x{height} pixels")
    return height, width


def _rate(value: Any) -> Fraction:
    rate = Fraction(str(value))
    if not 0 < rate < 100_000:
        raise ValueError(f"{rate} frames a second")
    return rate
