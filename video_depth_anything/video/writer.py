"""Video files through an ffmpeg process: exact frame rates, odd sizes, colours tagged as what they are, sound."""

from __future__ import annotations

import contextlib
import logging
import subprocess
import tempfile
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import IO, Any, Literal

import numpy as np
import numpy.typing as npt

from ..errors import OutputError
from ..files import discard, partial_path
from .readers import ReaderError, ffmpeg_header, ffmpeg_program
from .timing import as_rate

logger = logging.getLogger(__name__)

PixelFormat = Literal["rgb24", "gray16le"]

# Visually lossless for most material, and what the original writes. Untagged video is read with one matrix by some
# programs and another by others; BT.601 is what decoders that ignore tags assume, so this is read alike by all.
H264 = ["-vf", "scale=out_color_matrix=bt601:out_range=tv", "-c:v", "libx264", "-crf", "18", "-pix_fmt", "yuv420p"]
H264 += ["-colorspace", "smpte170m", "-color_primaries", "bt709", "-color_trc", "iec61966-2-1", "-color_range", "tv"]
H264 += ["-movflags", "+faststart", "-f", "mp4"]
# Lossless, every frame on its own, with checksums.
FFV1 = ["-c:v", "ffv1", "-level", "3", "-g", "1", "-slices", "4", "-slicecrc", "1", "-f", "matroska"]


@dataclass(frozen=True)
class AudioTrack:
    """Sound to go with a video: that of `location`, from `start` seconds on."""

    location: str
    start: float = 0.0

    def exists(self) -> bool:
        """Whether there is sound."""
        return " Audio: " in ffmpeg_header(self.location)


class VideoWriter:
    """Writes one video file, which has its name only after `close`.

    Args:
        path: where to; .mp4 for colour.
        size: (H, W) of the frames. H.264 in its common form has even sizes, so an odd side is padded by one pixel that
            repeats its neighbour; a note says so.
        fps: exact frame rate.
        pixels: "rgb24" for H.264, "gray16le" for lossless FFV1.
        audio: sound to add, cut to the video's length.
        codec: of colour videos, as ffmpeg calls it.

    Raises:
        OutputError: if there is no ffmpeg program, here, or from `write` and `close` if ffmpeg fails.
    """

    def __init__(
        self,
        path: Path,
        size: tuple[int, int],
        fps: Fraction,
        pixels: PixelFormat = "rgb24",
        audio: AudioTrack | None = None,
        codec: str = "libx264",
    ) -> None:
        self.path = path
        self._size = size
        self._fps = fps
        self._audio = audio
        self._count = 0
        self._pad = (size[0] % 2, size[1] % 2) if pixels == "rgb24" else (0, 0)
        height, width = (side + pad for side, pad in zip(size, self._pad))
        if any(self._pad):
            logger.info("%s is padded to even sides: %dx%d", path.name, width, height)
        source = ["-f", "rawvideo", "-pix_fmt", pixels, "-s", f"{width}x{height}", "-r", f"{fps}", "-i", "pipe:0"]
        self._messages: IO[bytes] = tempfile.TemporaryFile()
        command = _command(
            path,
            *source,
            *([codec if word == "libx264" else word for word in H264] if pixels == "rgb24" else FFV1),
            str(partial_path(path)),
        )
        # In a session of its own: Ctrl-C in a terminal reaches all processes of the group, and this one has to finish.
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stderr=self._messages, start_new_session=True)

    def write(self, frame: npt.NDArray[Any], time: float | None = None, duration: float | None = None) -> None:
        """Append a frame: (H, W, 3) uint8 RGB or (H, W) uint8 gray for H.264, (H, W) uint16 for FFV1."""
        if frame.dtype == np.uint8 and frame.ndim == 2:
            frame = np.repeat(frame[..., None], 3, axis=2)
        if frame.shape[:2] != self._size:
            raise ValueError(f"frame is {frame.shape}, the video has {self._size}")
        if any(self._pad):
            frame = np.pad(frame, ((0, self._pad[0]), (0, self._pad[1]), (0, 0)), mode="edge")
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(np.ascontiguousarray(frame).data)
            self._process.stdin.flush()
        except (BrokenPipeError, OSError) as error:
            raise OutputError(f"cannot write {self.path}: {self._failure()}") from error
        self._count += 1

    def close(self, seconds: float | None = None) -> None:
        """Finish the file and give it its name.

        Args:
            seconds: how long it should play. If the frames at the nominal rate are off by more than half a frame, as
                with variable frame rates, they are spread over that time at the mean rate.
        """
        assert self._process.stdin is not None
        try:
            with contextlib.suppress(BrokenPipeError):  # the exit code tells
                self._process.stdin.close()
            if self._process.wait():
                raise OutputError(f"cannot write {self.path}: {self._failure()}")
            self._finish(seconds)
        except BaseException:
            self.abort()
            raise
        self._messages.close()

    def _finish(self, seconds: float | None) -> None:
        rate = self._fps
        if seconds is not None and self._count and abs(self._count / self._fps - seconds) * self._fps > 0.5:
            rate = as_rate(self._count / seconds)
        audio = self._audio if self._audio is not None and self._audio.exists() else None
        if rate == self._fps and audio is None:
            partial_path(self.path).replace(self.path)
            return
        arguments = ["-i", str(partial_path(self.path))]
        if audio is not None:
            arguments += ["-ss", f"{audio.start}", "-t", f"{float(self._count / rate)}", "-i", audio.location]
            arguments += ["-map", "0:v", "-map", "1:a:0", "-c:a", "aac", "-b:a", "192k"]
        factor = self._fps / rate
        stretch = ":".join(f"{key}={key.upper()}*{factor}" for key in ("pts", "dts", "duration"))
        arguments += ["-c:v", "copy", "-bsf:v", f"setts={stretch}", "-movflags", "+faststart"]
        finished = self.path.with_name(f".finished_{self.path.name}")
        result = subprocess.run(
            _command(self.path, *arguments, str(finished)), capture_output=True, check=False, start_new_session=True
        )
        if result.returncode:
            finished.unlink(missing_ok=True)
            raise OutputError(f"cannot write {self.path}: {_first_line(result.stderr)}")
        finished.replace(self.path)
        discard(self.path)

    def abort(self) -> None:
        """Stop and remove what was written."""
        if self._process.poll() is None:
            self._process.kill()
        self._process.wait()
        assert self._process.stdin is not None
        with contextlib.suppress(BrokenPipeError):
            self._process.stdin.close()
        self._messages.close()
        discard(self.path)

    def _failure(self) -> str:
        code = self._process.wait()
        self._messages.seek(0)
        return _first_line(self._messages.read()) or f"ffmpeg ended with code {code}"


def _command(path: Path, *arguments: str) -> list[str]:
    try:
        return [ffmpeg_program(), "-hide_banner", "-nostdin", "-loglevel", "error", "-y", *arguments]
    except ReaderError as error:
        raise OutputError(f"cannot write {path}: {error}; pip install imageio-ffmpeg") from error


def _first_line(messages: bytes) -> str:
    """The first line of ffmpeg's complaint, which names the cause."""
    lines = messages.decode(errors="replace").strip().splitlines()
    return lines[0] if lines else ""
