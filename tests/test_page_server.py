"""The page's server without a browser: its address at once, its end, and what it does with hostile requests."""

from __future__ import annotations

import http.client
import json
import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from page_server import Server, serving

from video_depth_anything.web.options import PageOptions
from video_depth_anything.web.server import open_browser

ROOT = Path(__file__).resolve().parents[1]
pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def server(checkpoint: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    folder = tmp_path_factory.mktemp("page")
    words = ("--checkpoint", str(checkpoint), "--encoder", "vits", "--device", "cpu", "--max_upload_mb", "1")
    with serving(folder, *words) as started:
        yield started


class Visitor:
    """Asks the server, with a cookie of its own."""

    def __init__(self, server: Server) -> None:
        host, port = server.address.removeprefix("http://").rstrip("/").split(":")
        self.connection = http.client.HTTPConnection(host, int(port), timeout=60)
        self.headers: dict[str, str] = {}
        _, headers, _ = self.ask("GET", "/")
        self.headers["Cookie"] = headers["set-cookie"].split(";")[0]

    def ask(self, method: str, path: str, body: Any = None, **headers: str) -> tuple[int, dict[str, str], bytes]:
        """Status, headers and content of the answer."""
        chunked = body is not None and not isinstance(body, (bytes, str))
        self.connection.request(method, path, body, {**self.headers, **headers}, encode_chunked=chunked)
        answer = self.connection.getresponse()
        content = answer.read()
        return answer.status, {name.lower(): value for name, value in answer.getheaders()}, content


def form(data: bytes, name: str = "clip.mp4") -> tuple[bytes, dict[str, str]]:
    """An upload's body and headers."""
    head = f'--x\r\nContent-Disposition: form-data; name="files"; filename="{name}"\r\n\r\n'.encode()
    return head + data + b"\r\n--x--\r\n", {"Content-Type": "multipart/form-data; boundary=x"}


def test_uploads_are_bounded_whatever_they_say(server: Server) -> None:
    visitor = Visitor(server)
    body, headers = form(bytes(500_000))
    status, _, answer = visitor.ask("POST", "/gradio_api/upload", body, **headers)
    assert status == 200
    path = json.loads(answer)[0]
    assert visitor.ask("GET", f"/gradio_api/file={path}")[2] == bytes(500_000)
    assert Visitor(server).ask("GET", f"/gradio_api/file={path}")[0] == 404
    body, headers = form(bytes(3_000_000))
    assert visitor.ask("POST", "/gradio_api/upload", body, **headers)[0] == 413
    # In pieces, without a length: refused or broken off, and nothing of it stays.
    visitor = Visitor(server)
    pieces = (body[start : start + 65536] for start in range(0, len(body), 65536))
    try:
        status = visitor.ask("POST", "/gradio_api/upload", pieces, **headers, **{"Transfer-Encoding": "chunked"})[0]
        assert status >= 400
    except OSError:
        pass
    assert all(file.stat().st_size <= 1_200_000 for file in server.temporary.rglob("*") if file.is_file())
    assert server.process.poll() is None


def test_other_addresses_and_other_sessions_are_refused(server: Server) -> None:
    mine, theirs = Visitor(server), Visitor(server)
    join = json.dumps({"data": [], "fn_index": 0, "session_hash": "mine"})
    kind = {"Content-Type": "application/json"}
    assert mine.ask("POST", "/gradio_api/queue/join", join, **kind)[0] == 200
    host, port = mine.connection.host, mine.connection.port
    with socket.create_connection((host, port)) as heartbeat:
        request = f"GET /gradio_api/heartbeat/mine HTTP/1.1\r\nHost: {host}\r\nCookie: {mine.headers['Cookie']}\r\n\r\n"
        heartbeat.sendall(request.encode())
        assert heartbeat.recv(100).startswith(b"HTTP/1.1 200")
        assert theirs.ask("POST", "/gradio_api/queue/join", join, **kind)[0] == 404
        assert theirs.ask("GET", "/gradio_api/queue/data?session_hash=mine")[0] == 404
    for method, path in (("POST", "/gradio_api/call/run"), ("GET", "/gradio_api/openapi.json"), ("GET", "/docs")):
        assert mine.ask(method, path, "{}" if method == "POST" else None)[0] == 404
    assert mine.ask("POST", "/gradio_api/queue/join", b" " * 9_000_000, **kind)[0] == 413
    assert mine.ask("GET", "/")[0] == 200


def test_a_checkpoint_that_cannot_be_used_ends_the_command(tmp_path: Path) -> None:
    bad = tmp_path / "bad.pth"
    bad.write_bytes(b"no checkpoint")
    command = [sys.executable, str(ROOT / "app.py"), "--checkpoint", str(bad), "--encoder", "vits", "--no_browser"]
    environment = {**os.environ, "TMPDIR": str(tmp_path)}
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = str(free.getsockname()[1])
    result = subprocess.run(
        [*command, "--server_port", port], cwd=tmp_path, env=environment, capture_output=True, text=True, check=False
    )
    assert result.returncode == 2, result.stderr
    assert "bad.pth cannot be read" in result.stderr
    assert "Traceback" not in result.stderr
    assert list(tmp_path.glob("depth_page_*")) == []


def test_an_address_that_is_taken_is_said(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        command = [sys.executable, str(ROOT / "app.py"), "--server_port", port, "--no_browser"]
        result = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert (result.returncode, result.stdout, result.stderr.count("\n")) == (2, "", 1)
    assert "choose another --server_port" in result.stderr


def test_no_browser_where_there_is_no_display(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("DISPLAY", raising=False)
    monkeypatch.delenv("WAYLAND_DISPLAY", raising=False)
    monkeypatch.setattr(sys, "platform", "linux")
    assert not open_browser("http://127.0.0.1:7860/")


def test_the_limits_are_said_in_one_line() -> None:
    line = PageOptions(max_waiting=3, max_upload_mb=50).limits_line()
    assert "up to 3 wait, 2 for each visitor" in line
    assert "50 MB" in line
    assert "\n" not in line
