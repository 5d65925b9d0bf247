"""Visitors of the web page: their files, their room on disk, what goes when they have gone, and whose job waits."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from video_depth_anything.outputs.options import OutputOptions
from video_depth_anything.pipelines.options import RunOptions
from video_depth_anything.web.jobs import Job, JobQueue
from video_depth_anything.web.messages import Refusal
from video_depth_anything.web.upload_form import file_name
from video_depth_anything.web.visitors import INCOMING, PUBLIC, Visitor, Visitors, remove_dead_pages

ROOT = Path(__file__).resolve().parents[1]
A, B = "a" * 64, "b" * 64


@pytest.fixture
def visitors(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Visitors]:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    made = Visitors(quota=10_000)
    yield made
    made.close()
    assert list(tmp_path.glob("depth_page_*")) == []


def upload(visitor: Visitor, size: int, age: float = 0.0) -> Path:
    """A file as if it had been uploaded so many seconds ago."""
    folder = visitor.new_folder("upload")
    (folder / "clip.mp4").write_bytes(bytes(size))
    os.utime(folder, (time.time() - age,) * 2)
    return folder / "clip.mp4"


def job_of(visitor: Visitor, video: Path, address: str = "", disk: float = 0.0) -> Job:
    return Job(video, RunOptions(outputs=OutputOptions(visitor.new_folder("job"))), address, disk)


def test_files_belong_to_their_visitors(visitors: Visitors) -> None:
    mine, theirs = upload(visitors.get(A), 10), upload(visitors.get(B), 10)
    example = visitors.root / PUBLIC / "box.mp4"
    example.write_bytes(b"video")
    assert (
        visitors.may_read(A, str(mine))
        and visitors.may_read(A, str(example))
        and visitors.may_read("new", str(example))
    )
    (mine.parent / "link").symlink_to(theirs)
    for outside in (
        theirs,
        mine.parent / "link",
        mine.parents[1] / ".." / theirs.relative_to(visitors.root),
        visitors.root,
        visitors.root / INCOMING / "x",
        "/etc/passwd",
        "https://example.org/x",
        "\0",
        "a" * 5000,
    ):
        assert not visitors.may_read(A, str(outside)), outside
    assert not visitors.may_read("new", str(mine))
    assert A not in str(mine)  # the cookie is a secret, the path is not


def test_a_visitor_has_so_much_room(visitors: Visitors) -> None:
    visitor, other = visitors.get(A), visitors.get(B)
    uploads = [upload(visitor, 3_000, age) for age in (30, 20, 10)]
    assert (visitors.left(visitor), visitors.left(other)) == (1_000, 10_000)
    visitor.job = job_of(visitor, uploads[0])  # its video stays, whatever room is wanted
    assert visitors.reserve(visitor, 4_000)
    assert [path.exists() for path in uploads] == [True, False, True]
    assert visitors.left(visitor) == 0
    assert not visitors.reserve(visitor, 5_000)
    assert [path.exists() for path in uploads] == [True, False, False]
    visitors.release(visitor, 4_000)
    assert visitors.left(visitor) == 7_000
    assert visitors.reserve(other, 10_000)


def test_room_is_reserved_once_however_many_ask_at_the_same_time(visitors: Visitors) -> None:
    visitor, taken = visitors.get(A), []
    threads = [threading.Thread(target=lambda: taken.append(visitors.reserve(visitor, 1_000))) for _ in range(40)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert taken.count(True) == 10


def test_what_an_active_job_writes_is_counted_once(visitors: Visitors) -> None:
    visitor = visitors.get(A)
    job = job_of(visitor, upload(visitor, 1_000), disk=5_000)
    assert visitors.reserve(visitor, job.disk, job)
    (job.folder / "x_vis.mp4").write_bytes(bytes(4_000))
    assert visitors.left(visitor) == 4_000
    with pytest.raises(Refusal, match="Another video of yours"):
        visitors.reserve(visitor, 1, job_of(visitor, job.video))
    job.state = "done"
    assert visitors.left(visitor) == 5_000


def test_files_stay_for_a_while_after_the_last_sign_of_life(
    visitors: Visitors, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = time.monotonic()
    visitor, present = visitors.get(A), visitors.get(B)
    kept = upload(visitor, 10)
    visitor.job = job_of(visitor, kept)

    def after(seconds: float, others_wait: bool = False) -> None:
        monkeypatch.setattr("time.monotonic", lambda: now + seconds)
        present.seen = now + seconds
        visitors.sweep(others_wait)

    after(590)
    assert kept.exists() and not visitor.job.stop.is_set()
    after(130, others_wait=True)
    assert visitor.job.stop.is_set()  # nobody waits for it, and somebody waits for its end
    after(610)
    assert kept.exists()  # the job has not ended yet
    visitor.job.state = "cancelled"
    after(611)
    assert not kept.exists()
    assert present.folder.exists()
    assert visitors.find(A) is None


def test_whoever_makes_up_cookies_displaces_their_own_visitors_only(visitors: Visitors) -> None:
    friend, neighbour = upload(visitors.get(A, "friend"), 10), upload(visitors.get(B, "flood"), 10)
    visitors.get(B).job = job_of(visitors.get(B), neighbour)
    visitors.get(B).job.state = "done"  # type: ignore[union-attr]
    first = visitors.get("0", "flood")
    kept = upload(first, 10)
    for number in range(1, 1100):
        visitors.get(str(number), "flood")
    assert friend.exists() and neighbour.exists() and not kept.exists()
    assert not visitors.reserve(first, 1)  # its folder would not be removed any more
    assert visitors.get("new", "elsewhere")


def test_a_dead_page_leaves_nothing_and_a_living_one_is_left_alone(tmp_path: Path) -> None:
    code = (
        "import time\nfrom video_depth_anything.web.visitors import Visitors\n"
        "made = Visitors(); print(made.root, flush=True); time.sleep(60)"
    )
    environment = {**os.environ, "TMPDIR": str(tmp_path)}
    command = [sys.executable, "-c", code]
    pages = [subprocess.Popen(command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, text=True) for _ in range(2)]
    try:
        roots = [Path(page.stdout.readline().strip()) for page in pages if page.stdout is not None]
        (tmp_path / "depth_page_link").symlink_to(ROOT)
        pages[0].send_signal(signal.SIGKILL)
        pages[0].wait(10)
        assert remove_dead_pages(tmp_path) == [roots[0]]
        assert [root.exists() for root in roots] == [False, True]
    finally:
        for page in pages:
            page.kill()
            page.communicate()


@pytest.mark.parametrize(
    ("sent", "kept"),
    [
        ("my clip [1].mp4", "my clip [1].mp4"),
        ("../../escape.mp4", "escape.mp4"),
        ("C:\\videos\\clip.mov", "clip.mov"),
        ("...", "video"),
        ("ü日本.mp4", "ü日本.mp4"),
        ("a\0b\n<script>.mp4", "abscript.mp4"),
        ("n" * 300 + ".mp4", "n" * 120 + ".mp4"),
    ],
)
def test_names_of_uploads_are_safe(sent: str, kept: str) -> None:
    assert file_name(sent) == kept


def test_jobs_run_one_after_another(visitors: Visitors) -> None:
    order: list[Job] = []
    release = threading.Event()

    def run(job: Job) -> None:
        order.append(job)
        if not job.stop.is_set():
            release.wait(20)
        job.state = "cancelled" if job.stop.is_set() else "done"

    queue = JobQueue(run, most=2, most_each=2)
    visitor = visitors.get(A)
    first, second, third, fourth = (job_of(visitor, Path("x"), address) for address in "aabb")
    queue.add(first)
    until(lambda: order == [first])
    queue.add(second)
    with pytest.raises(Refusal, match="2 videos from your network"):
        queue.add(job_of(visitor, Path("x"), "a"))
    queue.add(third)
    with pytest.raises(Refusal, match="2 videos are waiting"):
        queue.add(fourth)
    assert [queue.before(job) for job in (first, second, third)] == [0, 1, 2]
    queue.cancel(second)  # ends at once, and the next one moves up
    until(lambda: queue.before(third) == 1)
    assert (first.state, second.state, queue.others_wait()) == ("waiting", "cancelled", True)
    release.set()
    until(lambda: third.state == "done")
    assert order == [first, second, third]
    release.clear()
    queue.add(fourth)
    until(lambda: order[-1] is fourth)
    threading.Timer(0.2, release.set).start()
    queue.close(5)
    assert fourth.state == "cancelled"


def until(condition: Callable[[], object]) -> None:
    """Wait for what another thread does."""
    end = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.01)
