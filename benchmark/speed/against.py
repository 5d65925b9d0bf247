"""Another tree, the original's or any with its classes, measured by a process of its own that takes turns with us."""

from __future__ import annotations

import pickle
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from video_depth_anything.errors import InputError

CHILD = Path(__file__).with_name("against_child.py")
FILES = {
    False: Path("video_depth_anything", "video_depth.py"),
    True: Path("video_depth_anything/video_depth_stream.py"),
}


class Against:
    """The process that runs another tree; it sleeps while nothing is asked of it.

    `settings` are encoder, checkpoint, device, input_size, and threads, None for PyTorch's default. InputError is
    raised if the tree lacks the class or fails.
    """

    def __init__(self, path: Path, streaming: bool, **settings: Any) -> None:
        if not (path / FILES[streaming]).is_file():
            raise InputError(f"--against {path}: {FILES[streaming]} not found; name the root of a checkout")
        self._path = path
        command = [sys.executable, str(CHILD), str(path)]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        settings["checkpoint"] = str(Path(settings["checkpoint"]).resolve())
        self._ask("setup", streaming=streaming, **settings)

    def infer(self, frames: npt.NDArray[np.uint8], fp32: bool) -> tuple[float, npt.NDArray[np.float32]]:
        """Seconds for a clip (N, H, W, 3) or the next frame (H, W, 3) of a stream, and its depth without the 3."""
        seconds, depth = self._ask("infer", frames=frames, fp32=fp32)
        return seconds, np.asarray(depth, dtype=np.float32)

    def close(self) -> None:
        """End the process."""
        assert self._process.stdin is not None and self._process.stdout is not None
        self._process.stdin.close()
        self._process.stdout.close()
        self._process.wait()

    def _ask(self, method: str, **arguments: Any) -> Any:
        assert self._process.stdin is not None and self._process.stdout is not None
        try:
            pickle.dump((method, arguments), self._process.stdin)
            self._process.stdin.flush()
            kind, result = pickle.load(self._process.stdout)
        except (EOFError, BrokenPipeError) as error:
            code = self._process.wait()
            raise InputError(f"--against {self._path}: its process ended with exit code {code}") from error
        if kind == "error":
            raise InputError(f"--against {self._path}: {result}")
        return result
