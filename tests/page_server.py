"""A real app.py for tests and pictures of the web page."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parents[1]


class Server(NamedTuple):
    """A running app.py: its address, and the folder that its temporary files are in."""

    process: subprocess.Popen[str]
    address: str
    temporary: Path
    log: Path

    def jobs(self) -> list[Path]:
        """Folders of jobs' files."""
        return list(self.temporary.glob("depth_page_*/*/job_*"))


@contextmanager
def serving(folder: Path, *flags: str) -> Iterator[Server]:
    """app.py with `folder` as the current one and for its temporary files, ended as a user ends it."""
    temporary = folder / "temporary"
    temporary.mkdir()
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, str(ROOT / "app.py"), *flags, "--no_browser", "--server_port", str(port)]
    environment = {**os.environ, "TMPDIR": str(temporary)}
    log = folder / "log.txt"
    with log.open("w") as said:
        process = subprocess.Popen(command, cwd=folder, env=environment, stdout=subprocess.PIPE, stderr=said, text=True)
    assert process.stdout is not None
    assert process.stdout.readline().strip() == f"open http://127.0.0.1:{port}/"
    try:
        yield Server(process, f"http://127.0.0.1:{port}/", temporary, log)
    finally:
        process.send_signal(signal.SIGTERM)
        assert process.wait(60) == 0
    assert list(temporary.glob("depth_page_*")) == []
