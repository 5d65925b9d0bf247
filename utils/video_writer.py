"""H.264 files through an ffmpeg process: exact frame rates, odd sizes, colours tagged as what they are."""

from __future__ import annotations

import contextlib
import logging
import subprocess
import tempfile
from fractions import Fraction
from pathlib import Path
from typing import IO

import numpy as np
import numpy.typing as npt

from .files import OutputError, commit, discard, partial_path
from .video_readers import ReaderError, ffmpeg_program

logger = logging.getLogger(__name__)

# Visually lossless for most material, and what the original writes.
CRF = 18


class VideoWriter:
    """Writes one .mp4; the file has its name only after `close`.

    Args:
        path: where to.
        size: (H, W) of the frames. H.264 in its common form has even sizes, so an odd side is padded by one pixel that
            repeats its neighbour; a note says so.
        fps: exact frame rate.

    Raises:
        OutputError: if there is no ffmpeg program, here, or from `write` and `close` if ffmpeg fails.
    """

    def __init__(self, path: Path, size: tuple[int, int], fps: Fraction) -> None:
        self.path = path
        self._size = size
        self._pad = (size[0] % 2, size[1] % 2)
        if any(self._pad):
            logger.info("%s is padded to even sides: %dx%d", path.name, size[1] + self._pad[1], size[0] + self._pad[0])
        try:
            command = [ffmpeg_program(), *self._arguments(fps), str(partial_path(path))]
        except ReaderError as error:
            raise OutputError(f"cannot write {path}: {error}; pip install imageio-ffmpeg") from error
        self._messages: IO[bytes] = tempfile.TemporaryFile()
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stderr=self._messages)

    def _arguments(self, fps: Fraction) -> list[str]:
        height, width = (side + pad for side, pad in zip(self._size, self._pad))
        source = ["-f", "rawvideo", "-pix_fmt", "rgb24", "-s", f"{width}x{height}", "-r", f"{fps}", "-i", "pipe:0"]
        codec = ["-c:v", "libx264", "-crf", str(CRF), "-pix_fmt", "yuv420p", "-movflags", "+faststart"]
        # Untagged video is read with one matrix by some programs and another by others. BT.601 is what decoders
        # that ignore tags assume, so this is read alike by all.
        color = ["-vf", "scale=out_color_matrix=bt601:out_range=tv", "-colorspace", "smpte170m"]
        color += ["-color_primaries", "bt709", "-color_trc", "iec61966-2-1", "-color_range", "tv"]
        return ["-hide_banner", "-loglevel", "error", "-y", *source, *color, *codec, "-f", "mp4"]

    def write(self, frame: npt.NDArray[np.uint8]) -> None:
        """Append a frame, (H, W, 3) or (H, W) uint8, RGB or gray."""
        if frame.ndim == 2:
            frame = np.repeat(frame[..., None], 3, axis=2)
        if frame.shape != (*self._size, 3) or frame.dtype != np.uint8:
            raise ValueError(f"frame is {frame.shape} {frame.dtype}, the video has {self._size} uint8")
        if any(self._pad):
            frame = np.pad(frame, ((0, self._pad[0]), (0, self._pad[1]), (0, 0)), mode="edge")
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(np.ascontiguousarray(frame).data)
        except (BrokenPipeError, OSError) as error:
            raise OutputError(f"cannot write {self.path}: {self._failure()}") from error

    def close(self) -> None:
        """Finish the file and give it its name."""
        assert self._process.stdin is not None
        with contextlib.suppress(BrokenPipeError):  # the exit code tells
            self._process.stdin.close()
        code = self._process.wait()
        failure = self._failure()
        self._messages.close()
        if code:
            discard(self.path)
            raise OutputError(f"cannot write {self.path}: {failure}")
        commit(self.path)

    def abort(self) -> None:
        """Stop and remove what was written."""
        self._process.kill()
        self._process.wait()
        assert self._process.stdin is not None
        with contextlib.suppress(BrokenPipeError):
            self._process.stdin.close()
        self._messages.close()
        discard(self.path)

    def _failure(self) -> str:
        """The first line of ffmpeg's complaint, which names the cause."""
        self._process.wait()
        self._messages.seek(0)
        lines = self._messages.read().decode(errors="replace").strip().splitlines()
        return lines[0] if lines else f"ffmpeg ended with code {self._process.returncode}"
