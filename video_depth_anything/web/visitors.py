"""Visitors: browsers, known by a random cookie, each with a private folder, a job, and a disk quota."""

from __future__ import annotations

import contextlib
import hashlib
import os
import secrets
import shutil
import tempfile
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path

from filelock import FileLock

from .jobs import Job
from .messages import Refusal

PREFIX, LOCK, PUBLIC, INCOMING = "depth_page_", ".lock", "public", "incoming"
# Seconds for which files stay after the visitor's last request: a reload or a sleeping phone loses nothing.
KEPT_SECONDS = 600.0
# Seconds without a request after which a job is ended if others wait.
ABSENT_SECONDS = 120.0
# Bytes that stay free on the disk.
FLOOR = 1_000_000_000
# Maximum number of visitors: in total, and per address, where one with the least to lose gives way to a new one.
MOST_VISITORS, MOST_OF_ADDRESS = 1000, 200


@dataclass(eq=False)
class Visitor:
    """One browser: its folder, its latest job, the latest job with a result, and the bytes of uploads in progress."""

    folder: Path
    address: str = ""
    job: Job | None = None
    result: Job | None = None
    uploading: float = 0
    seen: float = field(default_factory=time.monotonic)

    def new_folder(self, kind: str) -> Path:
        made = self.folder / f"{kind}_{secrets.token_hex(8)}"
        made.mkdir(parents=True)
        return made

    def active_job(self) -> Job | None:
        return self.job if self.job is not None and self.job.active() else None

    def busy(self) -> bool:
        return self.active_job() is not None or self.uploading > 0

    def keep(self, job: Job) -> None:
        """Keep a job's result and remove the previous one."""
        old, self.result = self.result, job
        if old is not None:
            old.discard()

    def reserved(self) -> float:
        """Bytes that uploads and the active job may still write."""
        return self.uploading + (job.disk if (job := self.active_job()) else 0)

    def used(self) -> int:
        """Bytes on disk, without the active job's files: they are part of `reserved`."""
        writing = str(job.folder) if (job := self.active_job()) else ""
        total = 0
        for folder, inner, names in os.walk(self.folder):
            if folder == writing:
                inner.clear()
                continue
            for name in names:
                with contextlib.suppress(OSError):  # removed meanwhile
                    total += Path(folder, name).stat().st_size
        return total


class Visitors:
    """All visitors by cookie, and the folder of their files. Thread-safe."""

    def __init__(self, quota: int = 2_000_000_000) -> None:
        remove_dead_pages(Path(tempfile.gettempdir()))
        self.root = Path(tempfile.mkdtemp(prefix=PREFIX)).resolve()
        self._held = FileLock(self.root / LOCK, timeout=0, thread_local=False)
        self._held.acquire()
        for name in (PUBLIC, INCOMING):
            (self.root / name).mkdir()
        self._quota = quota
        self._known: dict[str, Visitor] = {}
        self._lock = threading.RLock()

    def find(self, cookie: str) -> Visitor | None:
        """The visitor with that cookie, if known; counts as a request of theirs."""
        with self._lock:
            visitor = self._known.get(cookie)
            if visitor is not None:
                visitor.seen = time.monotonic()
            return visitor

    def get(self, cookie: str, address: str = "") -> Visitor:
        """The visitor with that cookie, new or known."""
        with self._lock:
            visitor = self.find(cookie)
            if visitor is None:
                same = [(one.job is not None, one.seen, name) for name, one in self._known.items()
                        if one.address == address and not one.busy()]  # fmt: skip
                if len(same) >= MOST_OF_ADDRESS:
                    self._forget(min(same)[2])
                if len(self._known) >= MOST_VISITORS:
                    raise Refusal("Too many people use this page now. Try again in a few minutes.")
                # Paths are shown to the visitor; the cookie is a secret.
                name = hashlib.sha256(cookie.encode()).hexdigest()[:24]
                visitor = self._known[cookie] = Visitor(self.root / name, address)
                visitor.folder.mkdir(exist_ok=True)
            return visitor

    def may_read(self, cookie: str, path: str) -> bool:
        """Whether `path`, with links and dots resolved, lies in this visitor's folder or the public one."""
        try:
            real = Path(path).resolve()
        except (ValueError, OSError):
            return False
        visitor = self.find(cookie)
        allowed = [self.root / PUBLIC, *([visitor.folder] if visitor is not None else [])]
        return any(folder in real.parents for folder in allowed)

    def left(self, visitor: Visitor) -> float:
        with self._lock:
            promised = sum(other.reserved() for other in self._known.values())
            free = shutil.disk_usage(self.root).free - FLOOR - promised
            return max(min(self._quota - visitor.used() - visitor.reserved(), free), 0)

    def reserve(self, visitor: Visitor, size: float, job: Job | None = None) -> bool:
        """Reserve disk space for a job, which becomes the visitor's, or for an upload until `release`.

        False if it does not fit. The visitor's oldest uploads go first if there is too little.
        """
        with self._lock:
            if job is not None and visitor.active_job():
                raise Refusal("Another video of yours is being computed. Wait until it is done, or cancel it.")
            kept = {one.video.parent for one in (visitor.job, visitor.result, job) if one is not None}
            uploads = [path for path in visitor.folder.glob("upload*") if path not in kept]
            uploads.sort(key=lambda path: path.stat().st_mtime)
            while self.left(visitor) < size and uploads:
                shutil.rmtree(uploads.pop(0), ignore_errors=True)
            if self.left(visitor) < size or visitor not in self._known.values():  # forgotten meanwhile
                return False
            if job is None:
                visitor.uploading += size
            else:
                visitor.job = job
            return True

    def release(self, visitor: Visitor, size: float) -> None:
        """End the reservation of an upload: it is on disk, or has failed."""
        with self._lock:
            visitor.uploading -= size

    def sweep(self, others_wait: bool = False) -> None:
        """Stop the jobs and remove the files of visitors who have left."""
        now = time.monotonic()
        with self._lock:
            for cookie, visitor in list(self._known.items()):
                gone = now - visitor.seen
                if visitor.job is not None and gone > (ABSENT_SECONDS if others_wait else KEPT_SECONDS):
                    visitor.job.stop.set("the visitor left")
                if gone > KEPT_SECONDS and not visitor.busy():
                    self._forget(cookie)

    def _forget(self, cookie: str) -> None:
        shutil.rmtree(self._known.pop(cookie).folder, ignore_errors=True)

    def close(self) -> None:
        self._held.release()
        shutil.rmtree(self.root, ignore_errors=True)


def remove_dead_pages(parent: Path) -> list[Path]:
    """Remove the folders of pages that no longer run, and return them. A running page holds its folder's lock."""
    removed = []
    for root in parent.glob(f"{PREFIX}*"):
        with contextlib.suppress(OSError):
            state = root.lstat()
            if not root.is_dir() or root.is_symlink() or (hasattr(os, "getuid") and state.st_uid != os.getuid()):
                continue
            if not (root / LOCK).exists() and time.time() - state.st_mtime < KEPT_SECONDS:
                continue  # being created
            with FileLock(root / LOCK, timeout=0):
                shutil.rmtree(root, ignore_errors=True)
            removed.append(root)
    return removed
