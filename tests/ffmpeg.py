"""The ffmpeg program of imageio-ffmpeg: an independent decoder to compare with, and a maker of files of every kind."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path
from typing import Any

import imageio_ffmpeg
import numpy as np
import numpy.typing as npt


def run_ffmpeg(*arguments: str | Path, data: bytes | None = None) -> bytes:
    """Run it, overwriting files, and return what it writes to standard output."""
    command = [imageio_ffmpeg.get_ffmpeg_exe(), "-v", "error", "-y", *map(str, arguments)]
    return subprocess.run(command, input=data, check=True, stdout=subprocess.PIPE).stdout


def ffmpeg_header(path: str | Path) -> str:
    """What it says of the streams of a file."""
    command = [imageio_ffmpeg.get_ffmpeg_exe(), "-hide_banner", "-nostdin", "-i", str(path)]
    return subprocess.run(command, capture_output=True, text=True, errors="replace", check=False).stderr


def decoded(path: str | Path, filters: str = "null") -> npt.NDArray[np.uint8]:
    """All frames of a file, (N, H, W, 3) uint8 RGB, as it decodes them, no frame twice or left out."""
    size = re.search(r"(\d+)x(\d+)", _last_info(path, filters))
    assert size is not None
    arguments = ["-i", path, "-map", "0:v:0", "-vf", filters, "-fps_mode", "passthrough"]
    data = run_ffmpeg(*arguments, "-f", "rawvideo", "-pix_fmt", "rgb24", "-")
    return np.frombuffer(data, np.uint8).reshape(-1, int(size[2]), int(size[1]), 3)


def frame_times(path: str | Path) -> list[float]:
    """When each frame is shown, in seconds."""
    info = _info(path, "null")
    return [float(time) for time in re.findall(r"pts_time:\s*(\S+)", info)]


def sound_of(path: str | Path, rate: int = 8000) -> npt.NDArray[np.float32]:
    """The sound of a file, (N,) float32, mono, from the file's start."""
    arguments = ["-i", path, "-map", "0:a:0", "-af", "aresample=async=1:first_pts=0", "-ac", "1", "-ar", str(rate)]
    return np.frombuffer(run_ffmpeg(*arguments, "-f", "f32le", "-"), np.float32)


def beeps(path: str | Path, level: float = 0.02, rate: int = 8000) -> list[float]:
    """When beeps begin, in seconds: loud after a tenth of a second of silence."""
    loud = np.abs(sound_of(path, rate)) > level
    starts: list[float] = []
    quiet_since = -rate
    for index in np.flatnonzero(loud).tolist():
        if index - quiet_since > rate // 10:
            starts.append(index / rate)
        quiet_since = index
    return starts


def flashes(path: str | Path, level: float = 128) -> list[float]:
    """When bright frames begin, in seconds."""
    bright = decoded(path).mean(axis=(1, 2, 3)) > level
    times = frame_times(path)
    return [times[i] for i in range(len(bright)) if bright[i] and (i == 0 or not bright[i - 1])]


def _info(path: str | Path, filters: str) -> str:
    command: list[Any] = [imageio_ffmpeg.get_ffmpeg_exe(), "-hide_banner", "-nostdin", "-i", path, "-map", "0:v:0"]
    command += ["-vf", f"{filters},showinfo=checksum=0", "-fps_mode", "passthrough", "-f", "null", "-"]
    return subprocess.run(list(map(str, command)), capture_output=True, text=True, errors="replace").stderr


def _last_info(path: str | Path, filters: str) -> str:
    return re.findall(r"pts_time:.* s:(\d+x\d+)", _info(path, filters))[0]
