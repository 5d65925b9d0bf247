"""What visitors send, decoded in a confined process of its own; the page itself never opens any of it."""

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
from dataclasses import asdict
from fractions import Fraction
from pathlib import Path
from typing import IO, Any

import numpy as np

from ..errors import InputError
from ..video.frame import Frame, Image
from ..video.source import Selection, Source
from .confinement import DecoderLimits, package_folders

logger = logging.getLogger(__name__)

# What the page says for each reason that a decoder gives, after the file's name.
REASONS = {
    "unreadable": "cannot be read: it is not a video, or it is damaged. Convert it to MP4 (H.264) and try again.",
    "playlist": "is a list that names other files, not a video. Upload the video itself.",
    "no picture": "holds no pictures, only sound or text. Upload a video.",
    "too large": "has frames that are too large for this page. Make it smaller, 4096x2304 at most, and try again.",
    "too narrow": "has frames of which one side is more than 8 times the other. Crop it and try again.",
    "memory": "needs more memory than this page gives to one video. Make its frames smaller and try again.",
    "crashed": "made the decoder fail: it is probably damaged. Convert it to MP4 (H.264) and try again.",
    "time": "takes too long to decode. Make it shorter or smaller, or convert it to MP4 (H.264), and try again.",
    "picture": "cannot be used: the camera takes JPEG, PNG and WebP, 4096x2304 at most.",
    "silent": "gave no frame for {patience:.0f} seconds. Convert it to MP4 (H.264) and try again.",
}
LONGEST_LINE = 1 << 16
# One side of a frame over the other: the network's input grows with it.
MOST_RATIO = 8
# A file of sound and pictures that the decoder writes.
SOUND_LIMITS = DecoderLimits(file_mb=2000, patience=300.0)
# What the decoder gets of this process's environment: nothing that might be secret.
ENVIRONMENT = ("PATH", "LD_LIBRARY_PATH", "LANG", "SYSTEMROOT")


class UploadError(InputError):
    """An upload is refused; the message is one or two sentences for the visitor."""

    def __init__(self, name: str, reason: str, patience: float = 0.0) -> None:
        super().__init__(f"{name} {REASONS.get(reason, REASONS['unreadable']).format(patience=patience)}")
        self.reason = reason


class Decoder:
    def __init__(self, name: str, limits: DecoderLimits, request: dict[str, Any]) -> None:
        self._name = name
        self._patience, self._max_pixels = limits.patience, limits.max_pixels
        self._silent = False
        environment = {name: os.environ[name] for name in ENVIRONMENT if name in os.environ}
        folders = [Path(__file__).resolve().parents[2], *package_folders()]
        environment |= {"PYTHONPATH": os.pathsep.join(map(str, folders)), "OMP_NUM_THREADS": "1"}
        environment |= {"OPENBLAS_NUM_THREADS": "1", "OPENCV_FFMPEG_LOGLEVEL": "-8"}
        words = json.dumps({"limits": asdict(limits), **request})
        # In a session of its own: Ctrl-C in a terminal is for the page, which then ends this.
        # What libraries print is dropped: a log may be a file, and the decoder may write none.
        self.process = subprocess.Popen(
            [sys.executable, "-P", "-B", "-m", "video_depth_anything.web.decoder", words],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env=environment,
            start_new_session=True,
        )
        assert self.process.stdin is not None and self.process.stdout is not None
        self._questions: IO[bytes] = self.process.stdin
        self._answers: IO[bytes] = self.process.stdout

    def ask(self, data: bytes) -> None:
        """Send bytes to decode, their number in front."""
        with self._awaited(), contextlib.suppress(BrokenPipeError):  # its answer will be missing
            self._questions.write(len(data).to_bytes(4, "big") + data)
            self._questions.flush()

    def answer(self) -> tuple[dict[str, Any], Image]:
        """The next line, and the (H, W, 3) pixels of a frame.

        UploadError if the decoder refuses, crashes, or sends nothing for too long.
        """
        with self._awaited():
            try:
                content = json.loads(self._answers.readline(LONGEST_LINE))
                height, width = map(int, content["size"]) if content["kind"] == "frame" else (0, 0)
            except (ValueError, TypeError, KeyError):
                raise self._failure() from None
            if content["kind"] == "refused":
                if content.get("detail"):
                    logger.info("an upload was refused: %r", content["detail"])
                raise UploadError(self._name, str(content.get("reason")))
            if min(height, width) < 0 or height * width > self._max_pixels:
                raise UploadError(self._name, "too large")
            pixels = self._answers.read(height * width * 3)
            if len(pixels) < height * width * 3:
                raise self._failure()
        return content, np.frombuffer(pixels, np.uint8).reshape(height, width, 3)

    def close(self) -> None:
        self.process.kill()
        self.process.wait()
        self._answers.close()
        with contextlib.suppress(OSError):
            self._questions.close()

    @contextmanager
    def _awaited(self) -> Iterator[None]:
        """End the process if the block takes too long, so that its reading or writing ends as well."""

        def give_up() -> None:
            self._silent = True
            self.process.kill()

        timer = threading.Timer(self._patience, give_up)
        timer.daemon = True
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
            return UploadError(self._name, "silent", self._patience)
        logger.warning("the decoder of an upload exited with code %d", code)
        # SIGXCPU ends a process that has used up its computing time; Windows has no such limit.
        out_of_time = hasattr(signal, "SIGXCPU") and code == -signal.SIGXCPU
        return UploadError(self._name, "time" if out_of_time else "crashed")


class UploadSource(Source):
    """An upload as a stream of frames, iterated once. Its sound comes from its decoder too."""

    def __init__(self, video: Path, selection: Selection, limits: DecoderLimits) -> None:
        # Outputs carry it: the visitor's name for the file, not this machine's.
        self.location = self.address = video.name
        self.name = video.stem
        rate = selection.target_fps
        wanted = {"max_res": selection.max_res, "target_fps": None if rate is None else str(rate)}
        request = {"video": str(video), "selection": {**wanted, "max_len": selection.max_len}}
        self._decoder = Decoder(video.name, limits, request)
        self.process = self._decoder.process
        try:
            self._take(self._decoder.answer()[0], limits.max_pixels)
        except BaseException:
            self._decoder.close()
            raise

    def _take(self, facts: dict[str, Any], max_pixels: int) -> None:
        """Believe what the decoder states as far as it makes sense."""
        try:
            self.source_size = self._size(facts["source_size"], max_pixels)
            self.size = self._size(facts["size"], max_pixels)
            self.source_fps, self.fps = _rate(facts["source_fps"]), _rate(facts["fps"])
            self.expected = None if facts["expected"] is None else max(int(facts["expected"]), 1)
            self.reader = str(facts["reader"])
        except (KeyError, TypeError, ValueError, ZeroDivisionError) as error:
            raise UploadError(self.location, "unreadable") from error

    def _size(self, value: Any, max_pixels: int) -> tuple[int, int]:
        height, width = (int(side) for side in value)
        if min(height, width) < 1 or height * width > max_pixels:
            raise ValueError(f"frames of {width}x{height} pixels")
        if max(height, width) > MOST_RATIO * min(height, width):
            raise UploadError(self.location, "too narrow")
        return height, width

    def timed(self) -> Iterator[Frame]:
        """Frames with their times in seconds from the first one."""
        last = -math.inf
        while (answer := self._decoder.answer())[0]["kind"] == "frame":
            facts, image = answer
            time, duration, own = float(facts["time"]), float(facts["duration"]), facts.get("source_time")
            if image.shape[:2] != self.size or not (math.isfinite(time) and math.isfinite(duration) and time > last):
                raise UploadError(self.location, "unreadable")
            if last == -math.inf and own is not None:
                self.first_time = float(own)
            last = time
            yield Frame(image, time, duration)

    def close(self) -> None:
        self._decoder.close()


def add_sound(video: Path, pictures: Sequence[Path], begins: float | None) -> bool:
    """Give videos that were made of an upload's frames the upload's sound; whether there is any.

    Whatever is wrong with the sound, the videos stay as they were.
    """
    made = {path: path.with_name(f".sound_{path.name}") for path in pictures}
    files = [(str(path), str(output)) for path, output in made.items()]
    decoder = Decoder(video.name, SOUND_LIMITS, {"video": str(video), "sound": files, "begins": begins})
    try:
        if not decoder.answer()[0].get("sound") or not all(output.is_file() for output in made.values()):
            return False
        for path, output in made.items():
            output.replace(path)
        return True
    except UploadError as error:
        logger.warning("the sound of an upload was omitted: %s", error.reason)
        return False
    finally:
        decoder.close()
        for output in made.values():
            output.unlink(missing_ok=True)


def _rate(value: Any) -> Fraction:
    rate = Fraction(str(value))
    if not 0 < rate < 100_000:
        raise ValueError(f"{rate} frames a second")
    return rate
