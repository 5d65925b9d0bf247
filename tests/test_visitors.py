"""Who may do what on the web page: files and their owners, sessions, the gate, and how many jobs wait."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from video_depth_anything.pipelines.options import RunOptions
from video_depth_anything.pipelines.stop import Stop, Stopped
from video_depth_anything.web.gate import COOKIE, MOST_BODY, OwnerGate
from video_depth_anything.web.jobs import Job
from video_depth_anything.web.sessions import MOST_PAGES, Sessions
from video_depth_anything.web.turns import Refusal, Turns
from video_depth_anything.web.visitor_files import PageFiles, remove_abandoned

ROOT = Path(__file__).resolve().parents[1]
A, B = "a" * 64, "b" * 64


def ignore(taken: int, done: int, expected: int | None, line: str) -> None:
    """No progress wanted."""


@pytest.fixture
def files() -> Iterator[PageFiles]:
    made = PageFiles()
    yield made
    made.close()


def test_files_belong_to_their_owners(files: PageFiles) -> None:
    (files.root / "example").mkdir()
    files.publish_present()
    a, b = "a" * 64, "b" * 64
    mine = files.new_folder(a)
    (mine / "x.npz").write_bytes(b"depth")
    assert files.may_read(a, str(mine / "x.npz"))
    assert not files.may_read(b, str(mine / "x.npz"))
    assert files.may_read(b, str(files.root / "example" / "box.mp4"))
    for outside in (
        "/etc/passwd",
        "https://example.org/x",
        str(files.root),
        str(files.root / "unknown" / "x"),
        str(files.root / "example" / ".." / mine.name / "x.npz"),
        str(files.root / "example" / ".." / ".." / "x"),
        "\0",
    ):
        assert not files.may_read(b, outside), outside
    (files.root / "hash").mkdir()
    for owner in (a, b):
        files.note_upload(owner, str(files.root / "hash" / "clip.mp4"))
    files.forget(a)
    assert not mine.exists()
    assert (files.root / "hash").exists()  # b uploaded the same
    files.forget(b)
    assert not (files.root / "hash").exists()
    assert (files.root / "example").exists()


def test_the_last_page_of_a_browser_takes_its_files_along(files: PageFiles, tmp_path: Path) -> None:
    sessions = Sessions(files)
    owner = "c" * 64
    one, other = sessions.get("one", owner), sessions.get("other", owner)
    assert sessions.get("one", owner) is one
    one.results, upload = files.new_folder(owner), files.new_folder(owner)
    other.job = Job(tmp_path, RunOptions(), ignore)
    sessions.close("one")
    assert not one.results.exists()
    assert upload.exists()
    assert not other.job.stop.is_set()
    sessions.close("other")
    assert not upload.exists()
    assert other.job.stop.is_set()
    sessions.close("other")  # said twice


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


def test_a_visitor_has_so_much_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    files = PageFiles(quota=10_000)
    uploads = [files.root / name / "clip.mp4" for name in ("one", "two", "three")]
    for path in uploads:
        path.parent.mkdir()
        path.write_bytes(bytes(3_000))
        files.note_upload(A, str(path))
    assert files.left(A) == 1_000
    assert files.left(B) == 10_000
    with files.use(uploads[0]):  # a job reads it
        assert files.make_room(A, 4_000)
        assert [path.exists() for path in uploads] == [True, False, True]
        assert not files.make_room(A, 8_000)
    assert uploads[0].exists()
    assert not files.make_room(A, 11_000)
    files.close()


def test_what_nobody_owns_is_removed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    files = PageFiles()
    (files.root / "example").mkdir()
    files.publish_present()
    mine, theirs = files.new_folder(A), files.new_folder(B)
    (files.root / "broken_off.part").write_bytes(b"half")
    files.sweep([A], patience=60)
    assert mine.exists() and theirs.exists()
    assert (files.root / "broken_off.part").exists()
    time.sleep(0.02)
    files.sweep([A], patience=0.01)
    assert sorted(path.name for path in files.root.iterdir()) == sorted([".lock", "example", mine.name])
    sessions = Sessions(files)
    sessions.get("lost", A)  # never had a connection
    sessions.get("there", B).connections += 1
    assert sessions.sweep(60) == {A, B}
    time.sleep(0.02)
    assert sessions.sweep(0.01) == {B}
    assert not mine.exists()
    files.close()


def test_pages_are_counted(files: PageFiles) -> None:
    sessions = Sessions(files)
    for number in range(MOST_PAGES):
        sessions.get(str(number), A)
    with pytest.raises(Refusal, match="Close some"):
        sessions.get("more", A)
    sessions.get("more", B)


def test_a_dead_page_leaves_nothing_and_a_living_one_is_left_alone(tmp_path: Path) -> None:
    code = (
        "import time\nfrom video_depth_anything.web.visitor_files import PageFiles\n"
        "files = PageFiles(); (files.root / 'upload').mkdir(); print(files.root, flush=True); time.sleep(60)"
    )
    environment = {**os.environ, "TMPDIR": str(tmp_path)}
    command = [sys.executable, "-c", code]
    pages = [subprocess.Popen(command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, text=True) for _ in range(2)]
    try:
        roots = [Path(page.stdout.readline().strip()) for page in pages if page.stdout is not None]
        (tmp_path / "depth_page_link").symlink_to(ROOT)
        pages[0].send_signal(signal.SIGKILL)
        pages[0].wait(10)
        assert remove_abandoned(tmp_path) == [roots[0]]
        assert [root.exists() for root in roots] == [False, True]
    finally:
        for page in pages:
            page.kill()
            page.communicate()


def test_so_many_wait_and_no_more() -> None:
    turns = Turns(most=2, most_each=2)
    order: list[str] = []
    waits: dict[str, list[int]] = {name: [] for name in "abcd"}
    stops = {name: Stop() for name in "abcd"}
    release = threading.Event()

    def work(name: str, owner: str) -> None:
        try:
            with turns.turn(owner, stops[name], waits[name].append):
                order.append(name)
                release.wait(20)
        except Stopped:
            order.append(f"{name} cancelled")

    threads = []
    for name, owner in (("a", A), ("b", A), ("c", B)):
        threads.append(threading.Thread(target=work, args=(name, owner)))
        threads[-1].start()
        until(lambda n=name: n == "a" and order == ["a"] or bool(waits[n]))
    with pytest.raises(Refusal, match="2 videos are waiting already"), turns.turn(B, Stop(), waits["d"].append):
        pass
    assert waits == {"a": [], "b": [1], "c": [2], "d": []}
    stops["b"].set()  # leaves the queue at once, and the next one moves up
    until(lambda: waits["c"] == [2, 1])
    assert order == ["a", "b cancelled"]
    release.set()
    for thread in threads:
        thread.join(20)
    assert order == ["a", "b cancelled", "c"]


def test_a_visitor_has_so_many_jobs() -> None:
    turns = Turns(most=5, most_each=1)
    with turns.turn(A, Stop(), list().append):
        with pytest.raises(Refusal, match="1 of your videos are in work"), turns.turn(A, Stop(), list().append):
            pass
    with turns.turn(A, Stop(), list().append):
        pass


def until(condition: Any) -> None:
    """Wait for what another thread does."""
    end = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.01)
