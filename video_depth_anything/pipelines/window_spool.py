"""Raw windows of one input on disk, each a file of its own: what ranks exchange, and what `--resume` goes on from."""

from __future__ import annotations

import json
import math
import shutil
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from ..errors import OutputError
from ..files import whole_file
from ..outputs.record import source_of
from ..video.frame import DepthMap
from ..video.inputs import Input

# Slots of a window; every one of them is kept, since the overlap is needed to align and to fade.
WINDOW_SLOTS = 32
NEW_SLOTS = 22
CHECKSUM_BYTES = 4


def spooled_bytes(frames: int, size: tuple[int, int]) -> int:
    """Disk space for the raw windows of a video of so many frames (H, W)."""
    return math.ceil(frames / NEW_SLOTS) * (WINDOW_SLOTS * size[0] * size[1] * 4 + CHECKSUM_BYTES)


class WindowSpool:
    """A hidden folder beside the outputs: `settings.json`, and `000000.f32` and so on.

    Each of these is raw float32 (n, H, W), then its CRC-32. It has its name only when it is whole, so several processes
    may write, one file each. The outputs of that source, which one run at a time can open, guard the folder. It is
    shared by all machines.
    """

    def __init__(self, folder: Path, one: Input, size: tuple[int, int]) -> None:
        # Sources of one name may have outputs side by side.
        source = zlib.crc32(source_of(one.location, one.images).encode("utf-8", "surrogateescape"))
        self.folder = folder / f".{one.name}-{source:08x}_windows"
        self._size = size

    def begin(self, settings: Mapping[str, Any], keep: bool) -> list[int]:
        """Make the folder ready and return the windows that are there already and unharmed, rising.

        `settings` are all that changes a raw window, the input included: windows made with others are removed, and all
        where they are not to be kept.
        """
        path = self.folder / "settings.json"
        settings = json.loads(json.dumps(settings))
        try:
            same = keep and json.loads(path.read_text()) == settings
        except (OSError, ValueError):
            same = False
        if same:
            there = sorted(int(found.stem) for found in self.folder.glob("[0-9]*.f32"))
            return [index for index in there if self._is_whole(index)]
        self.remove()
        self.folder.mkdir()
        with whole_file(path) as partial:
            partial.write_text(json.dumps(settings, indent=1) + "\n")
        return []

    def write(self, index: int, window: DepthMap) -> None:
        """Keep a window (n, H, W)."""
        self._check_shared()
        values = np.ascontiguousarray(window, dtype="<f4")
        with whole_file(self._path(index)) as partial, partial.open("wb") as file:
            values.tofile(file)
            file.write(_checksum(values))

    def read(self, index: int) -> DepthMap:
        """A window that a rank has written; OutputError if it was damaged on its way."""
        self._check_shared()
        content = np.fromfile(self._path(index), dtype=np.uint8)
        values, checksum = content[:-CHECKSUM_BYTES], content[-CHECKSUM_BYTES:]
        slot = self._size[0] * self._size[1] * 4
        if not values.size or values.size % slot or _checksum(values) != checksum.tobytes():
            raise OutputError(f"{self._path(index)} is damaged; run again with --resume to recompute it")
        return values.view("<f4").reshape(-1, *self._size)

    def remove(self) -> None:
        """Give the disk space back."""
        if self.folder.exists():
            shutil.rmtree(self.folder)

    def _check_shared(self) -> None:
        if not self.folder.is_dir():
            raise OutputError(f"{self.folder} is missing; --output_dir must be a folder that all machines share")

    def _path(self, index: int) -> Path:
        return self.folder / f"{index:06d}.f32"

    def _is_whole(self, index: int) -> bool:
        """A crash of the machine may leave a file that was renamed before its content reached the disk."""
        try:
            self.read(index)
        except OutputError:
            return False
        return True


def _checksum(values: npt.NDArray[Any]) -> bytes:
    return zlib.crc32(values.data).to_bytes(CHECKSUM_BYTES, "little")
