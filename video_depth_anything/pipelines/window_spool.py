"""Raw windows of one input on disk, each a file of its own: what ranks exchange, and what `--resume` goes on from."""

from __future__ import annotations

import json
import logging
import math
import shutil
import sys
import zlib
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import IO, Any

import numpy as np
import numpy.typing as npt

from ..errors import OutputError
from ..files import whole_file
from ..video.frame import DepthMap

logger = logging.getLogger(__name__)

# Slots of a window; every one of them is kept, since the overlap is needed to align and to fade.
WINDOW_SLOTS = 32
NEW_SLOTS = 22
CHECKSUM_BYTES = 4
LOCK_FILE = "lock"


def spooled_bytes(frames: int, size: tuple[int, int]) -> int:
    """Disk space for the raw windows of a video of so many frames (H, W)."""
    return math.ceil(frames / NEW_SLOTS) * (WINDOW_SLOTS * size[0] * size[1] * 4 + CHECKSUM_BYTES)


class WindowSpool:
    """A hidden folder beside the outputs: `settings.json`, and `000000.f32` and so on.

    Each of these is raw float32 (n, H, W), then its CRC-32. It has its name only when it is whole, so several processes
    may write, one file each. The process that began the folder holds a lock in it for as long as it lives.

    Args:
        folder: of the outputs; shared by all machines.
        name: of the input.
        size: (H, W) of its depth.
    """

    def __init__(self, folder: Path, name: str, size: tuple[int, int]) -> None:
        self.folder = folder / f".{name}_windows"
        self._size = size
        self._lock: IO[bytes] | None = None

    def begin(self, settings: Mapping[str, Any], keep: bool) -> list[int]:
        """Make the folder ready, take it, and return the windows that are there already and unharmed, rising.

        Args:
            settings: all that changes a raw window, the input included. Windows made with others are removed.
            keep: whether to go on from windows that are there.

        Raises:
            OutputError: if another run is writing there.
            OSError: if the folder cannot be made.
        """
        path = self.folder / "settings.json"
        settings = json.loads(json.dumps(settings))
        try:
            same = keep and json.loads(path.read_text()) == settings
        except (OSError, ValueError):
            same = False
        if self.folder.exists():
            self._take()
            if same:
                return [index for index in self._numbers() if self._is_whole(index)]
            self.remove()
        self.folder.mkdir()
        self._take()
        with whole_file(path) as partial:
            partial.write_text(json.dumps(settings, indent=1) + "\n")
        return []

    def write(self, index: int, window: DepthMap) -> None:
        """Keep a window (n, H, W).

        Raises:
            OutputError: if the folder is not there: the machines do not share it.
        """
        self._check_shared()
        values = np.ascontiguousarray(window, dtype="<f4")
        with whole_file(self._path(index)) as partial, partial.open("wb") as file:
            values.tofile(file)
            file.write(_checksum(values))

    def read(self, index: int) -> DepthMap:
        """A window that a rank has written.

        Raises:
            OutputError: if the folder is not there, or the window was damaged on its way.
            OSError: if the file is not there.
        """
        self._check_shared()
        content = np.fromfile(self._path(index), dtype=np.uint8)
        values, checksum = content[:-CHECKSUM_BYTES], content[-CHECKSUM_BYTES:]
        slot = self._size[0] * self._size[1] * 4
        if not values.size or values.size % slot or _checksum(values) != checksum.tobytes():
            raise OutputError(f"{self._path(index)} is damaged; run again with --resume to compute it anew")
        return values.view("<f4").reshape(-1, *self._size)

    def remove(self) -> None:
        """Give the disk space back, and let go of the folder."""
        self._let_go()
        if self.folder.exists():
            shutil.rmtree(self.folder)

    def _take(self) -> None:
        self._let_go()
        try:
            self._lock = _locked(self.folder)
        except BlockingIOError as error:
            line = f"another run is writing to {self.folder}; wait for it, or choose another --output_dir"
            raise OutputError(line) from error
        except OSError as error:
            # Some network disks have no locks. Nothing there is taken for abandoned either.
            logger.debug("%s cannot be locked: %s", self.folder, error)

    def _let_go(self) -> None:
        if self._lock is not None:
            self._lock.close()
            self._lock = None

    def _check_shared(self) -> None:
        if not self.folder.is_dir():
            raise OutputError(f"{self.folder} is missing; --output_dir must be a folder that all machines share")

    def _path(self, index: int) -> Path:
        return self.folder / f"{index:06d}.f32"

    def _numbers(self) -> list[int]:
        return sorted(int(found.stem) for found in self.folder.glob("[0-9]*.f32"))

    def _is_whole(self, index: int) -> bool:
        """A crash of the machine may leave a file that was renamed before its content reached the disk."""
        try:
            self.read(index)
        except OutputError:
            return False
        return True


def remove_abandoned(folder: Path) -> None:
    """Remove the spools in an output folder that no living process has taken: their runs were killed.

    Args:
        folder: of the outputs; it need not exist.
    """
    for found in sorted(folder.glob(".*_windows")):
        # Without this file it is somebody else's folder.
        if not (found / LOCK_FILE).is_file():
            continue
        # Held by a living process, or on a disk without locks.
        with suppress(OSError):
            _locked(found).close()
            shutil.rmtree(found)
            logger.info("removed %s, which a run that was cut off has left", found)


def _checksum(values: npt.NDArray[Any]) -> bytes:
    return zlib.crc32(values.data).to_bytes(CHECKSUM_BYTES, "little")


def _locked(folder: Path) -> IO[bytes]:
    """A file in the folder, locked until it is closed or this process ends.

    Raises:
        BlockingIOError: if another process holds it.
        OSError: if it cannot be made or locked.
    """
    file = (folder / LOCK_FILE).open("ab")
    try:
        if sys.platform == "win32":
            import msvcrt

            msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)
        else:
            import fcntl

            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        file.close()
        # Windows says that access is denied.
        if sys.platform == "win32" and isinstance(error, PermissionError):
            raise BlockingIOError(*error.args) from error
        raise
    return file
