"""Visitors' files, decoded in sandboxed processes; the page's own process never opens them."""

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

# Message for each reason that a decoder gives, after the file's name.
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
# Maximum aspect ratio: the network's input grows with it.
MOST_RATIO = 8
# For adding sound: the decoder writes a video file.
SOUND_LIMITS = DecoderLimits(file_mb=2000, patience=300.0)
# Environment variables that the decoder inherits: none that might be secret.
ENVIRONMENT = ("PATH", "LD_LIBRARY_PATH", "LANG", "SYSTEMROOT")


class UploadError(InputError):
    """An upload is refused; the message is for the visitor."""

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
        # In a session of its own: Ctrl-C in a terminal goes to the page, which then ends the decoder.
        # Output of libraries is dropped: the log may be a file, which the decoder may not write.
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
        """Send an image, preceded by its length."""
        with self._awaited(), contextlib.suppress(BrokenPipeError):  # then the answer is missing
            self._questions.write(len(data).to_bytes(4, "big") + data)
            self._questions.flush()

    def answer(self) -> tuple[dict[str, Any], Image]:
        """The next line, and a frame's (H, W, 3) pixels.

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
        """Kill the process if the block takes too long; that also ends its reading or writing."""

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
        """Why the process ended early."""
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.process.wait(1.0)
        self.process.kill()
        code = self.process.wait()
        if self._silent:
            return UploadError(self._name, "silent", self._patience)
        logger.warning("the decoder of an upload exited with code %d", code)
        # SIGXCPU: the CPU time limit was reached. Windows has no such limit.
        out_of_time = hasattr(signal, "SIGXCPU") and code == -signal.SIGXCPU
        return UploadError(self._name, "time" if out_of_time else "crashed")


class UploadSource(Source):
    """An upload as a stream of frames, iterated once. Its sound comes from its decoder too."""

    def __init__(self, video: Path, selection: Selection, limits: DecoderLimits) -> None:
        # Written into outputs: the visitor's file name, not the path on this machine.
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
        """Take the properties of the video that the decoder sent, if they are plausible."""
        try:
            self.source_size = self._size(facts["source_size"], max_pixels)
            self.size = self._size(facts["size"], max_pixels)
            self.source_fps, self.fps = _rate(facts["source_fps"]), _rate(facts["fps"])
            self.expected = None if facts["expected"] is None else max(int(facts["expected"]), 1)
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
        """Frames, with times in seconds from the first one."""
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
    """Add the upload's sound to videos made from its frames; whether there is any.

    If the sound cannot be used, the videos stay unchanged.
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
