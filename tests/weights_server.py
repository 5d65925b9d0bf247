"""A small stand-in for the model hub, and a way to run get_weights.sh against it."""

from __future__ import annotations

import hashlib
import os
import random
import shutil
import subprocess
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

SCRIPT = Path(__file__).resolve().parent.parent / "get_weights.sh"
FILES = {
    f"{prefix}vit{letter}": (
        f"{'Metric-' if prefix else ''}Video-Depth-Anything-{size}",
        f"{prefix}video_depth_anything_vit{letter}.pth",
    )
    for prefix in ("", "metric_")
    for letter, size in (("s", "Small"), ("b", "Base"), ("l", "Large"))
}
# All that the script may call besides curl and wget: whatever else it used would fail the tests.
TOOLS = ["awk", "bash", "cat", "cp", "dirname", "find", "mkdir", "mktemp", "mv"]
TOOLS += ["ps", "rm", "rmdir", "sha256sum", "sleep", "tr", "uname", "wc"]


@dataclass
class Served:
    """One file on the server and the faults that its transfer shows."""

    content: bytes
    ranges: bool = True
    linked: bool = True  # answer with a redirect that carries X-Linked-Size and X-Linked-ETag
    linked_sha: str | None = None  # a checksum other than that of the content
    cut_at: list[int] = field(default_factory=list)  # body bytes sent before each of the first answers breaks off
    always_cut: bool = False  # keep using the last entry of cut_at
    status: int = 200
    content_type: str = "application/octet-stream"
    pause: float = 0.0  # seconds slept per 16 KiB


@dataclass(frozen=True)
class Request:
    method: str
    path: str
    range: str | None


class Handler(BaseHTTPRequestHandler):
    server: Hub

    def log_message(self, format: str, *args: object) -> None:
        """Keep the test output clean."""

    def end_headers(self) -> None:
        # Without this wget may send its next request into the connection that is about to close.
        self.send_header("Connection", "close")
        super().end_headers()

    def do_HEAD(self) -> None:
        self.answer(body=False)

    def do_GET(self) -> None:
        self.answer(body=True)

    def answer(self, body: bool) -> None:
        path = self.path
        self.server.requests.append(Request(self.command, path, self.headers.get("Range")))
        stored = path.removeprefix("/storage")
        served = self.server.served.get(stored)
        if served is None:
            self.send_page(404, body)
        elif served.linked and stored == path:
            self.send_redirect(served)
        elif served.status != 200:
            self.send_page(served.status, body)
        else:
            self.send_file(served, body)

    def send_page(self, status: int, body: bool) -> None:
        page = b"<html><body>Something went wrong here.</body></html>"
        self.send_response(status)
        self.send_header("Content-Type", "text/html; charset=utf-8")
        self.send_header("Content-Length", str(len(page)))
        self.end_headers()
        if body:
            self.wfile.write(page)

    def send_redirect(self, served: Served) -> None:
        sha = served.linked_sha or hashlib.sha256(served.content).hexdigest()
        self.send_response(302)
        self.send_header("Location", f"{self.server.address}/storage{self.path}")
        self.send_header("X-Linked-Size", str(len(served.content)))
        self.send_header("X-Linked-ETag", f'"{sha}"')
        self.send_header("Content-Length", "0")
        self.end_headers()

    def send_file(self, served: Served, body: bool) -> None:
        content, start = served.content, 0
        asked = self.headers.get("Range")
        if asked and served.ranges:
            start = int(asked.removeprefix("bytes=").split("-")[0])
            if start >= len(content):
                self.send_response(416)
                self.send_header("Content-Range", f"bytes */{len(content)}")
                self.send_header("Content-Length", "0")
                self.end_headers()
                return
            self.send_response(206)
            self.send_header("Content-Range", f"bytes {start}-{len(content) - 1}/{len(content)}")
        else:
            self.send_response(200)
        self.send_header("Content-Type", served.content_type)
        self.send_header("Content-Length", str(len(content) - start))
        self.end_headers()
        if body:
            self.send_body(served, start)

    def send_body(self, served: Served, start: int) -> None:
        end = len(served.content)
        if served.cut_at:
            cut = served.cut_at[0] if served.always_cut else served.cut_at.pop(0)
            end = min(end, start + cut)
        try:
            for at in range(start, end, 16384):
                self.wfile.write(served.content[at : min(at + 16384, end)])
                time.sleep(served.pause)
        except OSError:
            pass  # the client left; some tests kill it
        self.close_connection = True


class Hub(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.address = f"http://127.0.0.1:{self.server_address[1]}"
        self.served: dict[str, Served] = {}
        self.requests: list[Request] = []
        threading.Thread(target=self.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()

    def put(self, name: str, served: Served) -> Served:
        repository, file = FILES[name]
        self.served[f"/depth-anything/{repository}/resolve/main/{file}"] = served
        return served

    def fetched(self, name: str) -> list[Request]:
        """The GET requests that reached the body of a file, or its error page."""
        return [
            request
            for request in self.requests
            if request.method == "GET"
            and request.path.endswith(f"/{FILES[name][1]}")
            and (request.path.startswith("/storage") or not self.is_linked(request.path))
        ]

    def is_linked(self, path: str) -> bool:
        return path in self.served and self.served[path].linked


def noise(size: int, seed: int = 0) -> bytes:
    return random.Random(seed).randbytes(size)


def sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def dead_process() -> int:
    """The number of a process that has ended."""
    with subprocess.Popen(["true"]) as gone:
        return gone.pid


def toolbox(folder: Path, tools: Sequence[str]) -> str:
    """A PATH of just these tools, as links in a folder."""
    folder.mkdir(parents=True, exist_ok=True)
    for tool in tools:
        found = shutil.which(tool)
        if found is not None:
            (folder / tool).symlink_to(found)
    return str(folder)


@dataclass
class Runner:
    """Runs the script with one downloader against one hub, into a folder of its own."""

    hub: Hub
    folder: Path
    tool: str
    script: Path = SCRIPT

    def __post_init__(self) -> None:
        self.checkpoints = self.folder / "checkpoints"
        self.path = toolbox(self.folder / "bin", [*TOOLS, self.tool])

    def environment(self, changes: dict[str, str]) -> dict[str, str]:
        values = {
            "PATH": self.path,
            "HOME": str(self.folder),
            "CHECKPOINT_DIR": str(self.checkpoints),
            "WEIGHTS_BASE_URL": self.hub.address,
            "WEIGHTS_SHA256_FILE": os.devnull,  # the built-in checksums are those of the real files
            "WEIGHTS_RETRIES": "3",
            "WEIGHTS_RETRY_WAIT": "0",
        }
        values.update(changes)
        return {key: value for key, value in values.items() if value}

    def start(self, *names: str, **changes: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            ["bash", str(self.script), *names],
            env=self.environment(changes),
            cwd=self.folder,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def __call__(self, *names: str, **changes: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            ["bash", str(self.script), *names],
            env=self.environment(changes),
            cwd=self.folder,
            capture_output=True,
            text=True,
            timeout=25,
            check=False,
        )

    def wait_for_part(self, name: str) -> None:
        deadline = time.monotonic() + 10
        while time.monotonic() < deadline:
            if self.part(name).exists() and self.part(name).stat().st_size:
                return
            time.sleep(0.02)
        raise AssertionError(f"no part of {name} within 10 s")

    def final(self, name: str) -> Path:
        return self.checkpoints / FILES[name][1]

    def part(self, name: str) -> Path:
        return self.checkpoints / f"{FILES[name][1]}.part"

    def make_lock(self, name: str) -> Path:
        lock = self.checkpoints / f"{FILES[name][1]}.lock"
        lock.mkdir(parents=True)
        return lock

    def left(self) -> list[str]:
        return sorted(entry.name for entry in self.checkpoints.iterdir())
