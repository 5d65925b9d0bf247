"""A small stand-in for the model hub, over real HTTP, with the faults that transfers show."""

from __future__ import annotations

import hashlib
import io
import json
import random
import threading
import time
import zipfile
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import urlsplit

from video_depth_anything.weights import Weights

COMMIT = "0123456789abcdef0123456789abcdef01234567"


@dataclass
class Served:
    """One file on the server and the faults that its transfer shows."""

    content: bytes
    ranges: bool = True
    cut_at: list[int] = field(default_factory=list)  # body bytes sent before each of the first answers breaks off
    silent_at: int | None = None  # body bytes sent before the server says no more, without closing
    status: int = 200
    content_type: str = "application/octet-stream"
    pause: float = 0.0  # seconds slept per 16 KiB
    trickle: float = 0.0  # seconds slept per byte, of which each answer has a few hundred
    no_length: bool = False
    reason: str | None = None  # of the status


@dataclass(frozen=True)
class Request:
    method: str
    path: str
    host: str
    range: str | None


class Handler(BaseHTTPRequestHandler):
    server: Hub

    def log_message(self, format: str, *args: object) -> None:
        """Keep the test output clean."""

    def do_HEAD(self) -> None:
        self.answer(body=False)

    def do_GET(self) -> None:
        self.answer(body=True)

    def answer(self, body: bool) -> None:
        # A client that takes this server for a proxy asks for a whole address.
        path = urlsplit(self.path).path
        self.server.requests.append(Request(self.command, path, self.headers["Host"], self.headers.get("Range")))
        if path.startswith("/api/models/"):
            self.send_listing(path.removeprefix("/api/models/").split("/revision/")[0], body)
            return
        served = self.server.served.get(path.removeprefix("/storage"))
        if served is None:
            self.send_page(404, body)
        elif not path.startswith("/storage"):
            self.send_redirect(served, path)
        elif served.status != 200:
            self.send_page(served.status, body, served.reason)
        else:
            self.send_file(served, body)

    def send_whole(
        self, content: bytes, content_type: str, body: bool, status: int = 200, reason: str | None = None
    ) -> None:
        self.send_response(status, reason)
        self.send_header("Content-Type", content_type)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        if body:
            self.wfile.write(content)

    def send_page(self, status: int, body: bool, reason: str | None = None) -> None:
        page = b"<html><body>Something went wrong here.</body></html>"
        self.send_whole(page, "text/html; charset=utf-8", body, status, reason)

    def send_listing(self, repository: str, body: bool) -> None:
        start = f"/{repository}/resolve/main/"
        names = [path.removeprefix(start) for path in self.server.served if path.startswith(start)]
        listing = {"id": repository, "sha": COMMIT, "siblings": [{"rfilename": name} for name in names]}
        if names:
            self.send_whole(json.dumps(listing).encode(), "application/json", body)
        else:
            self.send_whole(b'{"error": "Repository not found"}', "application/json", body, 404)

    def send_redirect(self, served: Served, path: str) -> None:
        self.send_response(302)
        self.send_header("Location", f"http://{self.headers['Host']}/storage{path}")
        self.send_header("X-Repo-Commit", COMMIT)
        self.send_header("X-Linked-Size", str(len(served.content)))
        self.send_header("X-Linked-ETag", f'"{hashlib.sha256(served.content).hexdigest()}"')
        self.send_header("Content-Length", "0")
        self.end_headers()

    def send_file(self, served: Served, body: bool) -> None:
        content, start = served.content, 0
        asked = self.headers.get("Range")
        if asked and served.ranges:
            start = int(asked.removeprefix("bytes=").split("-")[0])
            if start >= len(content):
                self.send_page(416, body)
                return
            self.send_response(206)
            self.send_header("Content-Range", f"bytes {start}-{len(content) - 1}/{len(content)}")
        else:
            self.send_response(200)
        self.send_header("Content-Type", served.content_type)
        self.send_header("X-Repo-Commit", COMMIT)  # the hub's client looks here after a redirect to the same host
        self.send_header("ETag", f'"{hashlib.sha256(content).hexdigest()}"')
        if not served.no_length:
            self.send_header("Content-Length", str(len(content) - start))
        self.end_headers()
        if body:
            self.send_body(served, start)

    def send_body(self, served: Served, start: int) -> None:
        end = len(served.content)
        if served.cut_at:
            end = min(end, start + served.cut_at.pop(0))
        if served.silent_at is not None:
            end = min(end, served.silent_at)
        try:
            for at in range(start, start + 400) if served.trickle else ():
                self.wfile.write(served.content[at : at + 1])
                time.sleep(served.trickle)
            for at in range(start, 0 if served.trickle else end, 16384):
                self.wfile.write(served.content[at : min(at + 16384, end)])
                time.sleep(served.pause)
            if served.silent_at is not None:
                self.server.closing.wait(30)
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
        self.closing = threading.Event()
        threading.Thread(target=self.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()

    def shutdown(self) -> None:
        self.closing.set()
        super().shutdown()

    def put(self, weights: Weights, served: Served) -> Served:
        self.served[f"/{weights.repository}/resolve/main/{weights.file}"] = served
        return served

    def fetched(self, weights: Weights) -> list[Request]:
        """The requests that reached the body of a file."""
        path = f"/storage/{weights.repository}/resolve/main/{weights.file}"
        return [request for request in self.requests if (request.method, request.path) == ("GET", path)]


def noise(size: int, seed: int = 0) -> bytes:
    return random.Random(seed).randbytes(size)


def packed(size: int, seed: int = 0) -> bytes:
    """A zip as PyTorch lays it out, with noise for weights."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("archive/data.pkl", b"\x80\x02}.")
        archive.writestr("archive/data/0", noise(size, seed))
    return file.getvalue()


def describing(content: bytes, encoder: str = "vits", metric: bool = False) -> Weights:
    """The entry of the catalogue that expects this content."""
    from video_depth_anything.config import ENCODERS

    (name,) = (known for known in ENCODERS if known == encoder)
    return Weights(name, metric, len(content), hashlib.sha256(content).hexdigest())
