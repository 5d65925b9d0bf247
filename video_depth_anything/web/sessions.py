"""Who is looking at the web page: each open page's job, files and camera, all gone when it is closed."""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass, field
from pathlib import Path

from .camera import LiveDepth
from .jobs import Job
from .turns import Refusal
from .visitor_files import PageFiles

# Seconds that a page without a connection stays: one that is just opened has none yet.
UNCONNECTED_SECONDS = 180.0
# Pages of one browser, and of all.
MOST_PAGES, MOST_OF_ALL = 20, 1000


@dataclass
class Session:
    """One open page.

    Attributes:
        owner: its browser.
        job: the one that waits or runs.
        results: folder of the last one that finished.
        live: its camera's depth.
        live_settings: what that was made with.
        connections: by which the page says that it is there.
        since: when it was opened, or lost its last connection.
    """

    owner: str
    job: Job | None = None
    results: Path | None = None
    live: LiveDepth | None = None
    live_settings: tuple[object, ...] = ()
    connections: int = 0
    since: float = field(default_factory=time.monotonic)

    def cancel(self) -> None:
        """End the job, if there is one."""
        job = self.job
        if job is not None:
            job.stop.set("cancelled")


class Sessions:
    """Open pages by the name that Gradio gives them. Safe to use from several threads."""

    def __init__(self, files: PageFiles) -> None:
        self._files = files
        self._open: dict[str, Session] = {}
        self._lock = threading.Lock()

    def get(self, name: str, owner: str) -> Session:
        """The session of that name, begun if it is new.

        Raises:
            Refusal: if it is another browser's, or one too many.
        """
        with self._lock:
            session = self._open.get(name)
            if session is None:
                own = sum(other.owner == owner for other in self._open.values())
                if own >= MOST_PAGES or len(self._open) >= MOST_OF_ALL:
                    raise Refusal("Too many pages are open. Close some, then reload this one.")
                session = self._open[name] = Session(owner)
            if session.owner != owner:
                raise Refusal("This page belongs to another browser. Open the page anew.")
            return session

    def belongs(self, name: str, owner: str) -> bool:
        """Whether the session is this browser's, or new."""
        with self._lock:
            return name not in self._open or self._open[name].owner == owner

    def connect(self, name: str, owner: str) -> None:
        """The page says that it is there.

        Raises:
            Refusal: as `get` does.
        """
        self.get(name, owner).connections += 1

    def disconnect(self, name: str) -> None:
        """The page's connection has ended."""
        with self._lock:
            session = self._open.get(name)
            if session is not None:
                session.connections -= 1
                session.since = time.monotonic()

    def sweep(self, patience: float = UNCONNECTED_SECONDS) -> set[str]:
        """Close what has had no connection for so many seconds, and return the owners of what is open."""
        now = time.monotonic()
        with self._lock:
            lost = [n for n, s in self._open.items() if s.connections <= 0 and now - s.since > patience]
        for name in lost:
            self.close(name)
        with self._lock:
            return {session.owner for session in self._open.values()}

    def close(self, name: str) -> None:
        """End the session's job and remove its files, and the browser's uploads with its last session."""
        with self._lock:
            session = self._open.pop(name, None)
            if session is None:
                return
            last = all(other.owner != session.owner for other in self._open.values())
        session.cancel()
        if session.results is not None:
            self._files.remove(session.results)
        if last:
            self._files.forget(session.owner)

    def is_open(self, name: str) -> bool:
        """Whether the page is still there."""
        with self._lock:
            return name in self._open

    def cancel_all(self) -> None:
        """End all jobs: the server stops."""
        with self._lock:
            sessions = list(self._open.values())
        for session in sessions:
            session.cancel()
