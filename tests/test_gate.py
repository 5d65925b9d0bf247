"""The gate before Gradio: who is answered for what, and how much may be sent."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from typing import Any

import pytest

from video_depth_anything.web.gate import COOKIE, MOST_BODY, OwnerGate
from video_depth_anything.web.sessions import Sessions
from video_depth_anything.web.turns import Refusal
from video_depth_anything.web.visitor_files import PageFiles

A, B = "a" * 64, "b" * 64


@pytest.fixture
def files() -> Iterator[PageFiles]:
    made = PageFiles()
    yield made
    made.close()


def ask(
    gate: OwnerGate,
    path: str,
    cookie: str = "",
    method: str = "GET",
    body: bytes = b"",
    query: str = "",
    said: int | None = None,
) -> tuple[int, dict[str, str]]:
    """Status and headers of a request; `said`: what it claims to send."""
    sent: list[Any] = []

    async def receive() -> Any:
        return {"type": "http.request", "body": body}

    async def send(message: Any) -> None:
        sent.append(message)

    headers = [(b"cookie", f"{COOKIE}={cookie}".encode())] if cookie else []
    if said is not None:
        headers.append((b"content-length", str(said).encode()))
    scope = {"type": "http", "method": method, "path": path, "headers": headers, "query_string": query.encode()}
    asyncio.run(gate(scope, receive, send))
    return sent[0]["status"], {key.decode(): value.decode() for key, value in sent[0]["headers"]}


def test_the_gate(files: PageFiles) -> None:
    upload = files.root / "hash" / "clip.mp4"
    upload.parent.mkdir()

    async def app(_scope: Any, _receive: Any, send: Any) -> None:
        body = f'["{upload}"]'.encode()
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": body[:5], "more_body": True})
        await send({"type": "http.response.body", "body": body[5:]})

    gate = OwnerGate(app, files)
    status, headers = ask(gate, "/")
    assert status == 200
    assert "default-src 'self'" in headers["content-security-policy"]
    assert "HttpOnly" in headers["set-cookie"]
    mine = headers["set-cookie"].split(";")[0].split("=")[1]
    theirs = ask(gate, "/")[1]["set-cookie"].split(";")[0].split("=")[1]
    assert mine != theirs
    assert "set-cookie" not in ask(gate, "/", mine)[1]
    assert "set-cookie" in ask(gate, "/", "chosen by somebody")[1]
    for form in ("/gradio_api/file=", "/gradio_api/file/"):
        assert ask(gate, f"{form}{upload}", mine)[0] == 404
        ask(gate, "/gradio_api/upload", mine, "POST")
        assert ask(gate, f"{form}{upload}", mine)[0] == 200
        assert ask(gate, f"{form}{upload}", theirs)[0] == 404
        assert ask(gate, f"{form}{upload}")[0] == 404
        assert ask(gate, f"{form}https://example.org/", mine)[0] == 404
        files.forget(mine)
        upload.parent.mkdir()
    assert ask(gate, "/gradio_api/proxy=https://example.org/", mine)[0] == 404
    for path, expected in ((str(upload), 200), ("https://example.org/x.mp4", 404), ("HTTP://10.0.0.1/", 404)):
        body = json.dumps({"data": [{"video": {"path": path, "meta": {"_type": "gradio.FileData"}}}]}).encode()
        assert ask(gate, "/gradio_api/queue/join", mine, "POST", body)[0] == expected
    assert ask(gate, "/gradio_api/queue/join", mine, "POST", b"no JSON")[0] == 200


def test_the_gate_knows_no_other_addresses(files: PageFiles) -> None:
    async def app(_scope: Any, _receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b""})

    gate = OwnerGate(app, files)
    for method, path in (
        ("POST", "/gradio_api/vibe-edit/"),
        ("POST", "/gradio_api/process_recording"),
        ("POST", "/gradio_api/component_server"),
        ("POST", "/gradio_api/call/run"),
        ("GET", "/monitoring"),
        ("GET", "/gradio_api/openapi.json"),
        ("PUT", "/"),
        ("DELETE", "/gradio_api/file=/etc/passwd"),
    ):
        assert ask(gate, path, A, method, b"{}")[0] == 404, path
    for path in ("/config", "/theme.css", "/assets/index.js", "/gradio_api/queue/data"):
        assert ask(gate, path, A)[0] == 200, path


def test_a_session_is_answered_to_its_owner_alone(files: PageFiles) -> None:
    reached: list[str] = []

    async def app(scope: Any, _receive: Any, send: Any) -> None:
        reached.append(scope["path"])
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b""})

    sessions = Sessions(files)
    gate = OwnerGate(app, files, sessions)
    sessions.get("mine", A)
    for path, body in (
        ("/gradio_api/queue/join", b'{"session_hash": "mine", "data": []}'),
        ("/gradio_api/cancel", b'{"session_hash": "mine", "fn_index": 3, "event_id": "x"}'),
    ):
        assert ask(gate, path, B, "POST", body)[0] == 404
        assert ask(gate, path, A, "POST", body)[0] == 200
    for path, query in (("/gradio_api/heartbeat/mine", ""), ("/gradio_api/queue/data", "session_hash=mine")):
        reached.clear()
        assert ask(gate, path, B, query=query)[0] == 404
        assert reached == []
        assert ask(gate, path, A, query=query)[0] == 200
    with pytest.raises(Refusal, match="another browser"):
        sessions.get("mine", B)


def test_large_and_absurd_bodies_are_refused(files: PageFiles) -> None:
    taken: list[int] = []

    async def app(_scope: Any, receive: Any, send: Any) -> None:
        more = True
        while more:
            message = await receive()
            taken.append(len(message["body"]))
            more = message.get("more_body", False)
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"[]"})

    gate = OwnerGate(app, files, max_upload=1_000_000)
    join, upload = "/gradio_api/queue/join", "/gradio_api/upload"
    assert ask(gate, join, A, "POST", b" " * (MOST_BODY + 1))[0] == 413
    assert ask(gate, join, A, "POST", b"[" * 100_000)[0] in (400, 404)
    assert taken == []
    assert ask(gate, upload, A, "POST", bytes(900_000))[0] == 200
    assert ask(gate, upload, A, "POST", bytes(100), said=2_000_000)[0] == 413
    assert ask(gate, upload, A, "POST", bytes(2_000_000))[0] == 413  # says nothing, or less than it sends
    assert ask(gate, upload, A, "POST", bytes(2_000), said=1_000)[0] == 413
    assert sum(taken) == 900_000
