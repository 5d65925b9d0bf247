"""Files that the web page keeps: one folder, removed at the end, and who may read what in it.

Gradio serves any file in its folder to whoever knows the address. Here each folder in it belongs to the browser that
uploaded it or whose job wrote it, told by a random cookie, and nobody else is answered.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import shutil
import tempfile
import threading
import time
from collections.abc import Collection, Iterator
from pathlib import Path

# Folders that are there before the first visitor hold the examples.
PUBLIC = "public"
PREFIX, LOCK = "depth_page_", ".lock"
# Seconds for which files stay whose browser has no page open, or that nobody is known to own.
UNOWNED_SECONDS = 180.0
# Left free on the disk, whoever asks, in bytes.
FLOOR = 1_000_000_000


class PageFiles:
    """Folders under one root, each with its owners. Safe to use from several threads.

    Args:
        quota: bytes that one visitor's uploads and results may take.

    Attributes:
        root: readable by this user only; Gradio's folder too (GRADIO_TEMP_DIR), so that it copies nothing.
    """

    def __init__(self, quota: int = 2_000_000_000) -> None:
        remove_abandoned(Path(tempfile.gettempdir()))
        self.root = Path(tempfile.mkdtemp(prefix=PREFIX)).resolve()
        self._lock_file = _locked(self.root / LOCK)
        self._quota = quota
        self._owners: dict[str, set[str]] = {}
        self._uploads: list[str] = []
        self._in_use: list[str] = []
        self._seen: dict[str, float] = {}
        self._lock = threading.Lock()

    def publish_present(self) -> None:
        """Let everybody read what is there now."""
        with self._lock:
            self._owners.update({path.name: {PUBLIC} for path in self.root.iterdir() if path.name != LOCK})

    def new_folder(self, owner: str) -> Path:
        """An empty folder that only `owner` may read."""
        folder = self.root / f"job_{secrets.token_hex(16)}"
        folder.mkdir()
        with self._lock:
            self._owners[folder.name] = {owner}
            self._seen[owner] = time.monotonic()
        return folder

    def note_upload(self, owner: str, path: str) -> None:
        """`owner` uploaded this file. Equal files have one folder, and then several owners."""
        name = self._top(path)
        if name is not None:
            with self._lock:
                self._owners.setdefault(name, set()).add(owner)
                self._uploads = [*(other for other in self._uploads if other != name), name]
                self._seen[owner] = time.monotonic()

    @contextlib.contextmanager
    def use(self, path: Path) -> Iterator[None]:
        """Keep an upload while the block runs, whatever room is wanted."""
        name = self._top(str(path)) or ""
        with self._lock:
            self._in_use.append(name)
        try:
            yield
        finally:
            with self._lock:
                self._in_use.remove(name)

    def left(self, owner: str) -> int:
        """Bytes that a visitor may still fill."""
        with self._lock:
            used = sum(_size(self.root / name) for name, owners in self._owners.items() if owner in owners)
        return max(min(self._quota - used, shutil.disk_usage(self.root).free - FLOOR), 0)

    def make_room(self, owner: str, size: int) -> bool:
        """Remove a visitor's oldest uploads until `size` more bytes fit; whether they do."""
        with self._lock:
            own = [n for n in self._uploads if self._owners.get(n) == {owner} and n not in self._in_use]
        while self.left(owner) < size and own:
            self.remove(self.root / own.pop(0))
        return self.left(owner) >= size

    def may_read(self, owner: str, path: str) -> bool:
        """Whether `path` lies in a folder of `owner`'s, or in a public one."""
        with self._lock:
            return bool(self._owners.get(self._top(path) or "", set()) & {owner, PUBLIC})

    def remove(self, folder: Path) -> None:
        """Remove a folder."""
        with self._lock:
            self._drop(folder.name)
        shutil.rmtree(folder, ignore_errors=True)

    def forget(self, owner: str) -> None:
        """Remove all that only `owner` may read."""
        with self._lock:
            for name in [name for name, owners in self._owners.items() if owner in owners]:
                self._owners[name].discard(owner)
                if not self._owners[name]:
                    self._drop(name)
                    shutil.rmtree(self.root / name, ignore_errors=True)

    def sweep(self, present: Collection[str], patience: float = UNOWNED_SECONDS) -> None:
        """Remove what nobody who has a page open owns, some minutes after it came.

        Args:
            present: owners with an open page.
            patience: seconds.
        """
        now = time.monotonic()
        with self._lock:
            self._seen.update(dict.fromkeys(present, now))
            gone = [owner for owner, seen in self._seen.items() if now - seen > patience]
            known = set(self._owners)
        for owner in gone:
            self.forget(owner)
            with self._lock:
                self._seen.pop(owner, None)
        # Of Gradio: parts of uploads that broke off, and pictures of cameras.
        for path in self.root.iterdir():
            with contextlib.suppress(OSError):
                if path.name not in known and path.name != LOCK and time.time() - path.stat().st_mtime > patience:
                    shutil.rmtree(path, ignore_errors=True) if path.is_dir() else path.unlink()

    def close(self) -> None:
        """Remove everything."""
        os.close(self._lock_file)
        shutil.rmtree(self.root, ignore_errors=True)

    def _drop(self, name: str) -> None:
        self._owners.pop(name, None)
        self._uploads = [other for other in self._uploads if other != name]

    def _top(self, path: str) -> str | None:
        """Name of the folder right under the root in which `path` lies, links and dots followed."""
        try:
            parts = Path(path).resolve().relative_to(self.root).parts
        except (ValueError, OSError):
            return None
        return parts[0] if parts else None


def remove_abandoned(parent: Path) -> list[Path]:
    """Remove the folders of pages that do not run any more, and return them: a living page holds its folder's lock.

    Args:
        parent: where pages keep their folders; what other users own stays.
    """
    removed = []
    for root in parent.glob(f"{PREFIX}*"):
        with contextlib.suppress(OSError):
            state = root.lstat()
            if not root.is_dir() or root.is_symlink() or (hasattr(os, "getuid") and state.st_uid != os.getuid()):
                continue
            if not (root / LOCK).exists() and time.time() - state.st_mtime < UNOWNED_SECONDS:
                continue  # just being made
            os.close(_locked(root / LOCK))
            shutil.rmtree(root, ignore_errors=True)
            removed.append(root)
    return removed


def _locked(path: Path) -> int:
    """An open file whose lock this process holds until it ends, however that happens.

    Raises:
        OSError: if another process holds it.
    """
    file = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        try:
            import fcntl
        except ImportError:
            import msvcrt

            msvcrt.locking(file, msvcrt.LK_NBLCK, 1)  # type: ignore[attr-defined]
        else:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BaseException:
        os.close(file)
        raise
    return file


def _size(path: Path) -> int:
    """Bytes in a folder."""
    total = 0
    for file in path.rglob("*"):
        with contextlib.suppress(OSError):  # it may go meanwhile
            total += file.stat().st_size if file.is_file() else 0
    return total
