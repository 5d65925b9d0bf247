"""Visitors of the web page: their files, sessions and disk, and how many jobs wait."""

from __future__ import annotations

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
        until(lambda n=name: (n == "a" and order == ["a"]) or bool(waits[n]))
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
    waits: list[int] = []
    refused = pytest.raises(Refusal, match="1 of your videos are in work")
    with turns.turn(A, Stop(), waits.append), refused, turns.turn(A, Stop(), waits.append):
        pass
    with turns.turn(A, Stop(), waits.append):
        assert waits == []


def until(condition: Any) -> None:
    """Wait for what another thread does."""
    end = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.01)
