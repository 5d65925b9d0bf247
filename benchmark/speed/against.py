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
OFFLINE_FILE = Path("video_depth_anything", "video_depth.py")
STREAM_FILE = Path("video_depth_anything", "video_depth_stream.py")


def check_tree(path: Path | None, file: Path) -> None:
    """See that a tree has the file whose class is to be measured.

    Args:
        path: root of the tree; None, if none is to be measured, is right.
        file: in it.

    Raises:
        InputError: if it has not.
    """
    if path is not None and not (path / file).is_file():
        raise InputError(f"--against {path}: there is no {file}; name the root of a checkout of the original")


class Against:
    """The process that runs another tree; it sleeps while nothing is asked of it.

    Args:
        path: root of the tree.
        file: the module wanted of it, checked first.
        settings: encoder, checkpoint, device, input_size, threads.

    Raises:
        InputError: if the tree lacks the file or fails.
    """

    def __init__(self, path: Path, file: Path, **settings: Any) -> None:
        check_tree(path, file)
        self.path = path
        command = [sys.executable, str(CHILD), str(path)]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        settings["checkpoint"] = str(Path(settings["checkpoint"]).resolve())
        self._ask("setup", **settings)

    def offline(self, frames: npt.NDArray[np.uint8], fp32: bool) -> tuple[float, npt.NDArray[np.float32]]:
        """Seconds for a clip (N, H, W, 3), and its depth (N, H, W)."""
        seconds, depths = self._ask("offline", frames=frames, fp32=fp32)
        return seconds, np.asarray(depths, dtype=np.float32)

    def stream(self, frame: npt.NDArray[np.uint8], fp32: bool) -> tuple[float, npt.NDArray[np.float32]]:
        """Seconds for the next frame (H, W, 3) of a stream, and its depth (H, W); a stream for each precision."""
        seconds, depth = self._ask("stream", frame=frame, fp32=fp32)
        return seconds, np.asarray(depth, dtype=np.float32)

    def half(self, streaming: bool) -> str:
        """The precision that the tree takes for `fp32=False`: `bf16`, `fp16`, or `fp32` where it knows better."""
        return str(self._ask("half", streaming=streaming))

    def peak_mib(self) -> float:
        """Peak resident memory of the process."""
        return self._ask("peak") / (2**20 if sys.platform == "darwin" else 2**10)

    def close(self) -> None:
        """End the process."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait()

    def _ask(self, method: str, **arguments: Any) -> Any:
        assert self._process.stdin is not None and self._process.stdout is not None
        try:
            pickle.dump((method, arguments), self._process.stdin)
            self._process.stdin.flush()
            kind, result = pickle.load(self._process.stdout)
        except (EOFError, BrokenPipeError) as error:
            code = self._process.wait()
            raise InputError(f"--against {self.path}: its process ended with exit code {code}") from error
        if kind == "error":
            raise InputError(f"--against {self.path}: {result}")
        return result
