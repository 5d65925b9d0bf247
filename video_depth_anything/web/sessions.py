"""Who is looking at the web page: each open page's job, files and camera, all gone when it is closed."""

from __future__ import annotations

import threading
from dataclasses import dataclass
from pathlib import Path

from .camera import LiveDepth
from .jobs import Job
from .visitor_files import PageFiles


@dataclass
class Session:
    """One open page.

    owner: its browser. job: the one that waits or runs. results: folder of the last one that finished. live: its
    camera's depth, made with live_settings.
    """

    owner: str
    job: Job | None = None
    results: Path | None = None
    live: LiveDepth | None = None
    live_settings: tuple[object, ...] = ()

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
        """The session of that name, begun if it is new."""
        with self._lock:
            return self._open.setdefault(name, Session(owner))

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
