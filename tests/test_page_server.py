"""The page's server without a browser: its address at once, its end, and what it does with hostile requests."""

from __future__ import annotations

import asyncio
import contextlib
import http.client
import json
import os
import random
import select
import socket
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from urllib.parse import quote

import cv2
import numpy as np
import pytest
from page_server import Server, serving
from starlette.exceptions import HTTPException

from video_depth_anything.cli.main import main
from video_depth_anything.web.bounds import MOST, Body, Rates
from video_depth_anything.web.gate import PRESS
from video_depth_anything.web.server import open_browser

ROOT = Path(__file__).resolve().parents[1]
JSON = {"Content-Type": "application/json"}


@pytest.fixture(scope="module")
def server(checkpoint: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    folder = tmp_path_factory.mktemp("page")
    words = ["--checkpoint", str(checkpoint), "--encoder", "vits", "--device", "cpu", "--max_upload_mb", "1"]
    words += ["--max_visitor_mb", "3", "--allowed_hosts", "depth.example", "--auth", "me:secret"]
    with serving(folder, *words) as started:
        yield started


def until(condition: Callable[[], object], message: str, seconds: float = 60.0) -> None:
    """Wait for what the server does."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, message
        time.sleep(0.1)


@cache
def login(server: Server) -> str:
    """The cookie of who has logged in, asked for once: logins are counted."""
    return Visitor(server, known=False).login("secret")[1]["set-cookie"].split(";")[0]


class Visitor:
    """Asks the server, with a cookie of its own; known: logged in."""

    def __init__(self, server: Server, known: bool = True) -> None:
        self.host, _, port = server.address.removeprefix("http://").rstrip("/").partition(":")
        self.port = int(port)
        self.headers: dict[str, str] = {}
        self.headers["Cookie"] = self.ask("GET", "/")[1]["set-cookie"].split(";")[0]
        if known:
            self.headers["Cookie"] += f"; {login(server)}"

    def ask(self, method: str, path: str, body: Any = None, **headers: str) -> tuple[int, dict[str, str], bytes]:
        """Status, headers and content of the answer."""
        connection = http.client.HTTPConnection(self.host, self.port, timeout=60)
        chunked = body is not None and not isinstance(body, (bytes, str))
        try:
            connection.request(method, path, body, {**self.headers, **headers}, encode_chunked=chunked)
            answer = connection.getresponse()
            return answer.status, {name.lower(): value for name, value in answer.getheaders()}, answer.read()
        finally:
            connection.close()

    def login(self, password: str) -> tuple[int, dict[str, str], bytes]:
        """Try to log in."""
        kind = {"Content-Type": "application/x-www-form-urlencoded"}
        return self.ask("POST", "/login", f"username=me&password={password}", **kind)

    def upload(self, data: bytes, name: str = "clip.mp4", **headers: str) -> tuple[int, dict[str, str], bytes]:
        """Send a file as a browser does."""
        body, kind = form(data, name)
        return self.ask("POST", "/gradio_api/upload", body, **kind, **headers)

    def press(self, function: str, data: list[Any]) -> tuple[int, Any]:
        """Call what a button calls, by its name."""
        functions = {one["api_name"]: one["id"] for one in json.loads(self.ask("GET", "/config")[2])["dependencies"]}
        body = json.dumps({"data": data, "fn_index": functions[function], "session_hash": "any"})
        status, _, answer = self.ask("POST", PRESS, body, **JSON)
        return status, json.loads(answer)


def form(data: bytes, name: str = "clip.mp4") -> tuple[bytes, dict[str, str]]:
    """An upload's body and headers."""
    head = f'--x\r\nContent-Disposition: form-data; name="files"; filename="{name}"\r\n\r\n'.encode()
    return head + data + b"\r\n--x--\r\n", {"Content-Type": "multipart/form-data; boundary=x"}


def test_uploads_are_bounded_whatever_they_say(server: Server) -> None:
    visitor = Visitor(server)
    content = random.Random(0).randbytes(500_000)
    status, _, answer = visitor.upload(content, "../my [1] clip.mp4")
    assert status == 200
    path = json.loads(answer)[0]
    assert path.endswith("/my [1] clip.mp4")
    address = f"/gradio_api/file={quote(path)}"
    assert visitor.ask("GET", address)[2] == content
    assert Visitor(server).ask("GET", address)[0] == 404
    status, _, answer = visitor.upload(bytes(3_000_000))
    assert (status, answer) == (413, b"The file is larger than the maximum of 1 MB.")
    # In pieces, without a length: refused or broken off, and nothing of it stays.
    body, kind = form(bytes(3_000_000))
    pieces = (body[start : start + 65536] for start in range(0, len(body), 65536))
    with contextlib.suppress(OSError):
        assert visitor.ask("POST", "/gradio_api/upload", pieces, **kind, **{"Transfer-Encoding": "chunked"})[0] >= 400
    for bad in (b"", b"--x\r\n", b"--x\r\nContent-Disposition: form-data; name=files\r\n\r\nx", body[:1000]):
        assert visitor.ask("POST", "/gradio_api/upload", bad, **kind)[0] == 400
    assert visitor.ask("POST", "/gradio_api/upload", body[:1000], **{"Content-Type": "text/plain"})[0] == 400
    until(lambda: list(server.temporary.glob("depth_page_*/incoming/*")) == [], "parts of uploads stay")
    assert server.process.poll() is None


def test_uploads_at_the_same_time_share_the_visitors_room(server: Server) -> None:
    """Forty uploads of 0.9 MB, each one byte short of its end, where 3 MB are allowed."""
    visitor = Visitor(server)
    body, kind = form(bytes(900_000))
    lines = f"POST /gradio_api/upload HTTP/1.1\r\nHost: {visitor.host}\r\nCookie: {visitor.headers['Cookie']}\r\n"
    lines += f"Content-Type: {kind['Content-Type']}\r\nContent-Length: {len(body)}\r\n\r\n"
    waiting = []
    for _ in range(40):
        waiting.append(socket.create_connection((visitor.host, visitor.port), 30))
        with contextlib.suppress(OSError):
            waiting[-1].sendall(lines.encode() + body[:-1])

    def on_disk() -> int:
        return sum(path.stat().st_size for path in server.temporary.rglob("clip.mp4") if path.is_file())

    answers: Counter[bytes] = Counter()
    for connection in waiting:
        with contextlib.suppress(OSError):
            connection.sendall(body[-1:])
            answers[connection.recv(12)] += 1
        connection.close()
    assert answers[b"HTTP/1.1 200"] >= 3
    assert on_disk() <= 3_000_000 + 600_000  # what the test before left to another visitor
    assert visitor.upload(bytes(900_000))[0] == 200  # an old one makes room


def test_others_do_not_see_what_is_uploaded(server: Server) -> None:
    visitor, other = Visitor(server), Visitor(server)
    body, kind = form(bytes(500_000), "secret.mp4")
    address = "/gradio_api/upload_progress?upload_id=one"
    with socket.create_connection((visitor.host, visitor.port), 30) as connection:
        lines = f"POST /gradio_api/upload?upload_id=one HTTP/1.1\r\nHost: {visitor.host}\r\n"
        lines += f"Cookie: {visitor.headers['Cookie']}\r\nContent-Type: {kind['Content-Type']}\r\n"
        connection.sendall(f"{lines}Content-Length: {len(body)}\r\n\r\n".encode() + body[:-9])
        until(lambda: list(server.temporary.glob("depth_page_*/incoming/*")), "the upload does not begin")
        assert other.ask("GET", address)[2] == b'data: {"msg": "done"}\n\n'
        threading.Timer(1.0, connection.sendall, [body[-9:]]).start()
        assert b"secret.mp4" in visitor.ask("GET", address)[2]


def test_each_browser_has_a_cookie_of_its_own(server: Server) -> None:
    headers = [Visitor(server).ask("GET", "/", Cookie=cookie)[1] for cookie in ("", "depth_page=chosen by somebody")]
    cookies = {found["set-cookie"] for found in headers}
    assert len(cookies) == 2
    assert all("HttpOnly; SameSite=Lax" in cookie for cookie in cookies)
    assert "default-src 'self'" in headers[0]["content-security-policy"]
    assert "set-cookie" not in Visitor(server).ask("GET", "/")[1]


def test_other_addresses_are_closed(server: Server) -> None:
    visitor = Visitor(server)
    for method, path in (
        ("POST", "/gradio_api/queue/join"),
        ("POST", "/gradio_api/call/press"),
        ("POST", "/gradio_api/component_server"),
        ("GET", "/gradio_api/queue/data?session_hash=mine"),
        ("GET", "/gradio_api/heartbeat/mine"),
        ("GET", "/gradio_api/openapi.json"),
        ("GET", "/gradio_api/file=/etc/passwd"),
        ("GET", "/monitoring"),
        ("GET", "/docs"),
        ("PUT", "/"),
    ):
        assert visitor.ask(method, path, "{}" if method == "POST" else None)[0] == 404, path
    assert visitor.ask("GET", "/")[0] == 200


def test_only_this_page_may_use_it(server: Server) -> None:
    visitor = Visitor(server)
    own = f"http://{visitor.host}:{visitor.port}"
    for headers, status in (
        ({"Origin": own, "Sec-Fetch-Site": "same-origin"}, 200),
        ({}, 200),
        ({"Origin": "http://evil.example"}, 403),
        ({"Origin": "null"}, 403),
        ({"Sec-Fetch-Site": "cross-site"}, 403),
        ({"Sec-Fetch-Site": "same-site"}, 403),
        ({"Host": "evil.example:7860", "Origin": "http://evil.example:7860"}, 421),
    ):
        assert visitor.upload(b"video", **headers)[0] == status, headers
    for headers, status in (
        ({"Host": "localhost:1234"}, 200),
        ({"Host": "[::1]:1234"}, 200),
        ({"Host": "depth.example"}, 200),  # --allowed_hosts
        ({"Host": "evil.example"}, 421),
        ({"X-Forwarded-Host": "evil.example"}, 421),
        ({"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Dest": "document"}, 200),  # a link
        ({"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Dest": "iframe"}, 403),
    ):
        assert visitor.ask("GET", "/", **headers)[0] == status, headers


def test_malformed_requests_are_refused_in_a_line(server: Server) -> None:
    visitor = Visitor(server)
    for body in (
        "", "{", "null", "[]", "{}", '{"data": []}', '{"data": null, "fn_index": 1}', '{"data": [], "fn_index": -1}',
        '{"data": [], "fn_index": "0"}', '{"data": [], "fn_index": true}', '{"data": [NaN], "fn_index": 0}', "[" * 9999,
    ):  # fmt: skip
        status, _, answer = visitor.ask("POST", PRESS, body, **JSON)
        assert status == 400, body
        assert json.loads(answer)["error"].startswith("This is not a request of this page.")
    good: list[Any] = [None, "vits", False, 280, 0, 0, 0, "inferno", [], 60]
    assert visitor.press("press", good)[0] == 200
    for place, value in (
        (1, "vitx"),
        (1, [1]),
        (3, "x"),
        (3, 10**9),
        (4, {}),
        (5, -1),
        (6, "NaN"),
        (7, None),
        (8, ["x"]),
    ):
        status, answer = visitor.press("press", [*good[:place], value, *good[place + 1 :]])
        assert status == 400, (place, value)
        assert "cannot be" in answer["error"]
    for path in ("/etc/passwd", "http://127.0.0.1:1/x.mp4", "../../etc/passwd", "\0", 3):
        status, answer = visitor.press("press", [{"path": path}, *good[1:]])
        assert (status, answer["error"]) == (404, "This video is no longer on the server. Upload it again.")
    assert visitor.press("press", [*good[:5], 10**400, *good[6:]])[0] == 400
    for function in ("load_example", "js_fn"):  # the second one is the script's alone
        assert visitor.press(function, [None])[0] == 400
    assert visitor.ask("GET", "/", Origin="http://[::1")[0] == 403
    assert visitor.ask("GET", f"/assets/{'a' * 300}")[0] == 404
    path = quote(json.loads(visitor.upload(bytes(9000))[2])[0])
    assert visitor.ask("GET", f"/gradio_api/file={path}", Range="bytes=1-2")[2] == bytes(2)
    many = ",".join(f"{place}-{place}" for place in range(3000))
    assert visitor.ask("GET", f"/gradio_api/file={path}", Range=f"bytes={many}")[0] == 416
    assert visitor.ask("POST", PRESS, " " * 100_000, **JSON)[0] == 413
    visitor.headers["Cookie"] = login(server)  # and none of the page's own
    for function, data in (("press", good), ("cancel", []), ("show_relief", [0.5])):
        status, answer = visitor.press(function, data)
        assert status == 200
        assert "This page needs its cookie" in str(answer["data"])
    assert "Traceback" not in server.log.read_text()


def test_a_visitor_who_asks_too_much_waits_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    rates, now = Rates(), time.monotonic()
    refused = pytest.raises(HTTPException, match="Too many requests from you")
    monkeypatch.setattr("time.monotonic", lambda: now)
    for _ in range(3):
        with rates.counted({"greedy": (3, 2), "their address": (9, 9)}):
            pass
    other = {"other": (3, 2), "their address": (9, 9)}
    with refused, rates.counted({"greedy": (3, 2), "their address": (9, 9)}):
        pass
    # Of another visitor of that address two at the same time are answered, and not a third one.
    with rates.counted(other), rates.counted(other), refused, rates.counted(other):
        pass
    monkeypatch.setattr("time.monotonic", lambda: now + 11)
    with rates.counted({"greedy": (3, 2)}):
        pass


def test_silent_connections_give_way(server: Server) -> None:
    visitor = Visitor(server)
    silent = [socket.create_connection((visitor.host, visitor.port), 5) for _ in range(310)]
    for connection in silent[::2]:
        with contextlib.suppress(OSError):
            connection.sendall(b"GET / HTTP/1.1\r\nHost: x\r\nX-a: ")
    assert visitor.ask("GET", "/config")[0] == 200
    for connection in silent:
        connection.close()


@pytest.mark.skipif(sys.platform != "linux", reason="this system has one loopback address")
def test_addresses_with_many_busy_connections_give_way(server: Server) -> None:
    visitor, busy = Visitor(server), []
    lines = f"POST /gradio_api/upload HTTP/1.1\r\nHost: {visitor.host}\r\nContent-Length: 400000000\r\n\r\nx"
    for number in range(320):
        source = (f"127.0.0.{2 + number % 4}", 0)
        with contextlib.suppress(OSError):
            busy.append(socket.create_connection((visitor.host, visitor.port), 5, source))
            busy[-1].sendall(lines.encode())
    until(lambda: len(select.select(busy, [], [], 0)[0]) >= len(busy) - MOST, "the places are not all taken")
    assert visitor.ask("GET", "/config")[0] == 200
    for connection in busy:
        connection.close()


def test_a_slow_request_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    """A byte in each 50 ms, where 200 ms and 10 ms for each byte are allowed: the sixth one comes too late."""
    now = 0.0
    monkeypatch.setattr("video_depth_anything.web.bounds.time", SimpleNamespace(monotonic=lambda: now))
    monkeypatch.setattr("video_depth_anything.web.bounds.PATIENCE", 0.205)
    monkeypatch.setattr("video_depth_anything.web.bounds.LEAST_RATE", 100)
    taken = 0

    async def receive() -> dict[str, Any]:
        nonlocal now
        await asyncio.sleep(0)
        now += 0.05
        return {"type": "http.request", "body": b"x", "more_body": True}

    async def read() -> None:
        nonlocal taken
        body = Body(receive, 1000)
        while True:
            taken += len((await body.next())["body"])

    with pytest.raises(HTTPException, match="too slowly"):
        asyncio.run(read())
    assert taken == 6


def test_the_camera_takes_pictures_only(server: Server) -> None:
    visitor = Visitor(server)
    address = "/camera?page=one&encoder=vits&metric=0&detail=28&colormap=inferno"
    picture = bytes(cv2.imencode(".jpg", np.full((48, 64, 3), 99, np.uint8))[1])
    status, headers, depth = visitor.ask("POST", address, picture)
    assert (status, headers["content-type"]) == (200, "image/jpeg")
    assert np.asarray(cv2.imdecode(np.frombuffer(depth, np.uint8), cv2.IMREAD_COLOR)).shape == (48, 64, 3)
    for data in (b"", b"%!PS-Adobe-3.0 EPSF-3.0\n", b"GIF89a" + bytes(100), picture[:200]):
        status, _, answer = visitor.ask("POST", address, data)
        assert (status, answer[:12]) == (400, b"The picture "), data[:10]
    for right, wrong in (("vits", "vitb"), ("detail=28", "detail=x"), ("inferno", "nope"), ("page=", "tab=")):
        assert visitor.ask("POST", address.replace(right, wrong), picture)[0] in (400, 429), wrong
    assert visitor.ask("POST", address, bytes(4_000_000))[0] == 413


def test_a_login_is_asked_for(server: Server) -> None:
    visitor = Visitor(server, known=False)
    assert visitor.ask("GET", "/config")[0] == 401
    assert visitor.upload(b"video")[0] == 401
    assert visitor.ask("POST", "/camera?page=one", b"")[0] == 401
    assert visitor.login("wrong")[0] == 400
    assert any(visitor.login("wrong")[0] == 429 for _ in range(200))  # twenty in ten seconds
    assert Visitor(server).ask("GET", "/config")[0] == 200


def app(capsys: pytest.CaptureFixture[str], *words: str) -> tuple[Any, str, str]:
    """Exit code of the command in this process, and what it says."""
    try:
        code: Any = main(["app", "--no_browser", *words])
    except SystemExit as ended:
        code = ended.code
    return (code, *capsys.readouterr())


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--encoder", "vitb"], "vda weights vitb"),
        (["--checkpoint", "none.pth"], "checkpoint none.pth not found"),
        (["--auth", "nobody"], "USER:PASSWORD"),
        ([], "choose another --server_port"),
    ],
)
def test_what_cannot_be_served_is_said(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, words: list[str], said: str
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    for name in ("GRADIO_TEMP_DIR", "GRADIO_ANALYTICS_ENABLED"):
        monkeypatch.setenv(name, "")  # as it was, afterwards
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        if words:
            taken.close()
        code, _, error = app(capsys, *words, "--device", "cpu", "--server_port", port)
    assert code == 2
    assert said in error
    assert "Traceback" not in error
    assert list(tmp_path.glob("depth_page_*")) == []


@pytest.mark.slow
def test_a_checkpoint_that_cannot_be_used_ends_the_command(tmp_path: Path) -> None:
    """In a process of its own, since the page is built before its networks are."""
    bad = tmp_path / "bad.pth"
    bad.write_bytes(b"no checkpoint")
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = str(free.getsockname()[1])
    words = ["--checkpoint", str(bad), "--encoder", "vits", "--device", "cpu", "--no_browser", "--server_port", port]
    command = [sys.executable, str(ROOT / "app.py"), *words]
    environment = {**os.environ, "TMPDIR": str(tmp_path)}
    result = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    assert result.returncode == 2, result.stderr
    assert "bad.pth cannot be read" in result.stderr
    assert "Traceback" not in result.stderr
    assert list(tmp_path.glob("depth_page_*")) == []


def test_help_names_the_limits(capsys: pytest.CaptureFixture[str]) -> None:
    code, text, _ = app(capsys, "--help")
    assert code == 0
    for flag in ("--checkpoint", "--encoder", "--server_name", "--share", "--auth", "--allowed_hosts", "--max_frames"):
        assert flag in text
    assert "(default: 127.0.0.1)" in " ".join(text.split())


def test_no_browser_where_there_is_no_display(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("DISPLAY", raising=False)
    monkeypatch.delenv("WAYLAND_DISPLAY", raising=False)
    monkeypatch.setattr(sys, "platform", "linux")
    assert not open_browser("http://127.0.0.1:7860/")
