"""Raw windows of one input on disk, each a file of its own: what ranks exchange, and what `--resume` goes on from."""

from __future__ import annotations

import json
import math
import shutil
import zlib
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import OutputError
from ..files import whole_file
from ..outputs.record import source_of
from ..video.frame import DepthMap
from ..video.inputs import Input
from ..windows import INFER_LEN, STEP


def spooled_bytes(frames: int, size: tuple[int, int]) -> int:
    """Disk space for the raw windows of a video of so many frames (H, W).

    All slots of a window are kept, since the overlap is needed to align and to fade.
    """
    return math.ceil(frames / STEP) * INFER_LEN * size[0] * size[1] * 4


class WindowSpool:
    """A hidden folder beside the outputs: `settings.json`, and `000000.npz` and so on, float32 (n, H, W) with a CRC-32.

    A file has its name only when it is whole, so several processes may write, one file each. The outputs of that
    source, which one run at a time can open, guard the folder. It is shared by all machines.
    """

    def __init__(self, folder: Path, one: Input) -> None:
        # Sources of one name may have outputs side by side.
        source = zlib.crc32(source_of(one.location, one.images).encode("utf-8", "surrogateescape"))
        self.folder = folder / f".{one.name}-{source:08x}_windows"

    def begin(self, settings: Mapping[str, Any], keep: bool) -> list[int]:
        """Make the folder ready and return the windows that are there already and unharmed, rising.

        `settings` are all that changes a raw window, the input included: windows made with others are removed, and all
        where they are not to be kept.
        """
        path = self.folder / "settings.json"
        content = f"{json.dumps(settings, indent=1)}\n".encode()
        if keep and path.is_file() and path.read_bytes() == content:
            there = []
            for index in sorted(int(file.stem) for file in self.folder.glob("[0-9]*.npz")):
                # A crash of the machine may leave a file that was renamed before its content reached the disk.
                with suppress(OutputError):
                    self.read(index)
                    there.append(index)
            return there
        self.remove()
        self.folder.mkdir()
        with whole_file(path) as partial:
            partial.write_bytes(content)
        return []

    def write(self, index: int, window: DepthMap) -> None:
        """Keep a window (n, H, W)."""
        self._check_shared()
        with whole_file(self._path(index)) as partial, partial.open("wb") as file:
            np.savez(file, window=window)

    def read(self, index: int) -> DepthMap:
        """A window that a rank has written; OutputError if it was damaged on its way."""
        self._check_shared()
        path = self._path(index)
        try:
            with np.load(path) as archive:
                window: DepthMap = archive["window"]
        except OSError:
            raise
        except Exception as error:  # whatever a damaged zip makes of NumPy's reader
            raise OutputError(f"{path} is damaged; run again with --resume to recompute it") from error
        return window

    def remove(self) -> None:
        """Give the disk space back."""
        if self.folder.exists():
            shutil.rmtree(self.folder)

    def _check_shared(self) -> None:
        if not self.folder.is_dir():
            raise OutputError(f"{self.folder} is missing; --output_dir must be a folder that all machines share")

    def _path(self, index: int) -> Path:
        return self.folder / f"{index:06d}.npz"
