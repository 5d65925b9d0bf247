"""Raw windows of one input on disk, one file each: exchanged between ranks, and reused by `--resume`."""

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
    """Disk space in bytes for the raw windows of a video.

    All slots of a window are stored, because the overlap is needed for alignment and blending.
    """
    return math.ceil(frames / STEP) * INFER_LEN * size[0] * size[1] * 4


class WindowSpool:
    """A hidden folder beside the outputs: `settings.json`, and `000000.npz` and so on, float32 (n, H, W) with a CRC-32.

    A file gets its name only when it is complete, so several processes may write, one file each. The lock on the
    source's outputs guards the folder, which all machines share.
    """

    def __init__(self, folder: Path, one: Input) -> None:
        # Different sources may have the same name.
        source = zlib.crc32(source_of(one.location, one.images).encode("utf-8", "surrogateescape"))
        self.folder = folder / f".{one.stem or one.name}-{source:08x}_windows"

    def begin(self, settings: Mapping[str, Any], keep: bool) -> list[int]:
        """Prepare the folder and return the intact windows in it, in order.

        `settings` hold everything that changes a raw window, the input included: windows of other settings are removed,
        and all windows unless they should be kept.
        """
        path = self.folder / "settings.json"
        content = f"{json.dumps(settings, indent=1)}\n".encode()
        if keep and path.is_file() and path.read_bytes() == content:
            there = []
            for index in sorted(int(file.stem) for file in self.folder.glob("[0-9]*.npz")):
                # After a crash, a file may have its name although its content did not reach the disk.
                with suppress(OutputError):
                    self.read(index)
                    there.append(index)
            return there
        self.remove()
        self.folder.mkdir(parents=True)  # with --save none, there are no outputs yet
        with whole_file(path) as partial:
            partial.write_bytes(content)
        return []

    def write(self, index: int, window: DepthMap) -> None:
        """Store a window (n, H, W)."""
        self._check_shared()
        with whole_file(self._path(index)) as partial, partial.open("wb") as file:
            np.savez(file, window=window)

    def read(self, index: int) -> DepthMap:
        """Load a window that a rank has written; OutputError if it is damaged."""
        self._check_shared()
        path = self._path(index)
        try:
            with np.load(path) as archive:
                window: DepthMap = archive["window"]
        except OSError:
            raise
        except Exception as error:  # a damaged zip makes NumPy raise errors of many kinds
            raise OutputError(f"{path} is damaged; run again with --resume to recompute it") from error
        return window

    def remove(self) -> None:
        """Remove the folder."""
        if self.folder.exists():
            shutil.rmtree(self.folder)

    def _check_shared(self) -> None:
        if not self.folder.is_dir():
            raise OutputError(f"{self.folder} is missing; --output_dir must be a folder that all machines share")

    def _path(self, index: int) -> Path:
        return self.folder / f"{index:06d}.npz"
