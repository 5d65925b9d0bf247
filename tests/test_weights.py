"""Fetching weights from a local stand-in for the model hub: continued, verified, one process at a time."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from weights_server import Hub, Served, describing, noise, packed

from video_depth_anything.errors import CheckpointError, OutputError
from video_depth_anything.weights import CATALOGUE, Weights, bundled, fetch, file_kind

ROOT = Path(__file__).resolve().parents[1]
CONTENT = packed(200_000)
VITS = describing(CONTENT)


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    with Hub() as server:
        monkeypatch.setenv("HF_ENDPOINT", server.address + "/")
        yield server
        server.shutdown()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "checkpoints"


def part(folder: Path, weights: Weights = VITS) -> Path:
    return folder / f"{weights.file}.part"


def left(folder: Path) -> list[str]:
    """What users see in the folder."""
    return sorted(entry.name for entry in folder.iterdir() if not entry.name.startswith("."))


def refused(folder: Path, weights: Weights = VITS, timeout: float = 5) -> str:
    """The line that a failing download ends in; nothing lies under the final name."""
    with pytest.raises(CheckpointError) as caught:
        fetch(weights, folder, timeout=timeout, pause=0)
    assert not (folder / weights.file).exists()
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_the_catalogue_is_complete() -> None:
    assert [entry.name for entry in CATALOGUE] == ["vits", "metric_vits", "vitb", "metric_vitb", "vitl", "metric_vitl"]
    assert len({entry.sha256 for entry in CATALOGUE}) == 6
    for entry in CATALOGUE:
        assert len(entry.sha256) == 64 and int(entry.sha256, 16)
        # Float32 weights and the zip around them: 29.04, 114.44 and 384.39 million parameters.
        million = {"vits": 29.04, "vitb": 114.44, "vitl": 384.39}[entry.encoder]
        assert entry.size == pytest.approx(million * 4e6, rel=5e-3)
        assert entry.licence.startswith("Apache-2.0" if entry.encoder == "vits" else "CC-BY-NC-4.0")


def test_fetched_with_progress_then_skipped(hub: Hub, folder: Path, caplog: pytest.LogCaptureFixture) -> None:
    hub.put(VITS, Served(CONTENT))
    done: list[int] = []
    with caplog.at_level("INFO"):
        path = fetch(VITS, folder, done.append)
    assert path == folder / "video_depth_anything_vits.pth" and path.read_bytes() == CONTENT
    assert done == sorted(done) and done[-1] == len(CONTENT)
    assert "licence: Apache-2.0" in caplog.text and left(folder) == [VITS.file]
    assert fetch(VITS, folder) == path
    assert len(hub.fetched(VITS)) == 1


def test_resumes_within_a_call_and_in_the_next(hub: Hub, folder: Path) -> None:
    hub.put(VITS, Served(CONTENT, cut_at=[100_000]))
    fetch(VITS, folder, pause=0)
    assert (folder / VITS.file).read_bytes() == CONTENT
    assert [request.range for request in hub.fetched(VITS)] == [None, "bytes=100000-"]
    other = describing(CONTENT, metric=True)
    # As long as something new comes it goes on; after four attempts in a row without anything it ends.
    served = hub.put(other, Served(CONTENT, cut_at=[10_000] * 6 + [0] * 9))
    assert "broke off at 60000 of 200" in refused(folder, other)
    assert len(hub.fetched(other)) == 9  # the last one that brought something counts as the first
    served.cut_at.clear()
    fetch(other, folder)
    assert hub.fetched(other)[-1].range == "bytes=60000-"


def test_server_without_ranges_starts_over(hub: Hub, folder: Path) -> None:
    hub.put(VITS, Served(CONTENT, ranges=False, cut_at=[60_000]))
    assert fetch(VITS, folder, pause=0).read_bytes() == CONTENT


@pytest.mark.parametrize("there", [CONTENT, CONTENT + b"x", noise(50_000)])
def test_part_that_is_whole_or_belongs_to_another_file(hub: Hub, folder: Path, there: bytes) -> None:
    hub.put(VITS, Served(CONTENT))
    folder.mkdir()
    part(folder).write_bytes(there)
    assert fetch(VITS, folder, pause=0).read_bytes() == CONTENT
    assert left(folder) == [VITS.file]


def test_wrong_content_is_removed(hub: Hub, folder: Path) -> None:
    hub.put(VITS, Served(packed(200_000, seed=1)))
    line = refused(folder)
    assert f"expected SHA-256 {VITS.sha256}" in line and left(folder) == []


def test_wrong_size_is_refused_before_the_transfer(hub: Hub, folder: Path) -> None:
    hub.put(VITS, Served(CONTENT[:-1]))
    assert f"expected {len(CONTENT)} bytes, found {len(CONTENT) - 1}" in refused(folder)
    assert left(folder) == []


def test_what_is_no_weights_file_is_refused_even_if_it_was_expected(hub: Hub, folder: Path) -> None:
    page = b"<html>log in</html>"
    hub.put(describing(page), Served(page))
    assert "neither a PyTorch zip nor a safetensors file" in refused(folder, describing(page))


@pytest.mark.parametrize("before", [b"", CONTENT[:400]])
def test_web_page_in_place_of_the_file(hub: Hub, folder: Path, before: bytes) -> None:
    hub.put(VITS, Served(b"<p>log in</p>" * 100, ranges=False, content_type="text/html; charset=utf-8"))
    folder.mkdir()
    part(folder).write_bytes(before)
    assert "a web page instead of the file" in refused(folder)
    assert part(folder).read_bytes() == before


@pytest.mark.parametrize(("status", "requests"), [(404, 1), (403, 1), (503, 4), (429, 4)])
def test_error_status(hub: Hub, folder: Path, status: int, requests: int) -> None:
    hub.put(VITS, Served(CONTENT, status=status))
    assert f"answered HTTP {status}" in refused(folder)
    assert len(hub.fetched(VITS)) == requests


@pytest.mark.parametrize("silent_at", [0, 30_000])
def test_silent_server_is_given_up(hub: Hub, folder: Path, silent_at: int) -> None:
    hub.put(VITS, Served(CONTENT, silent_at=silent_at))
    begin = time.monotonic()
    assert "broke off" in refused(folder, timeout=0.2)
    assert time.monotonic() - begin < 5
    assert part(folder).stat().st_size == silent_at


def test_no_server_and_no_address(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    assert "no answer from http://127.0.0.1:9/" in refused(folder)
    for address in ("http://[::1", "hub.example", "file:///etc"):
        monkeypatch.setenv("HF_ENDPOINT", address)
        assert "HF_ENDPOINT" in refused(folder)


def test_proxy_is_used(hub: Hub, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    hub.put(VITS, Served(CONTENT))
    monkeypatch.setenv("http_proxy", hub.address)
    for name in ("no_proxy", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HF_ENDPOINT", "http://hub.invalid")
    assert fetch(VITS, folder).read_bytes() == CONTENT
    assert {request.host for request in hub.requests} == {"hub.invalid"}


@pytest.mark.parametrize("own", [CONTENT[:-1], packed(200_000, seed=1), b"notes"])
def test_another_file_of_that_name_is_kept(hub: Hub, folder: Path, own: bytes) -> None:
    hub.put(VITS, Served(CONTENT))
    folder.mkdir()
    (folder / VITS.file).write_bytes(own)
    with pytest.raises(
        OutputError, match=r"is kept: to use it, name it \(--checkpoint .*, or move it away to download vits"
    ):
        fetch(VITS, folder)
    assert (folder / VITS.file).read_bytes() == own and left(folder) == [VITS.file]
    assert not hub.fetched(VITS)


def test_more_than_the_expected_size_is_not_taken(hub: Hub, folder: Path) -> None:
    """A server that does not say how much it sends."""
    hub.put(VITS, Served(CONTENT + bytes(50_000_000), no_length=True))
    assert f"sent more than {len(CONTENT)} bytes; stopped" in refused(folder)
    assert part(folder).stat().st_size == len(CONTENT)


def test_a_server_that_trickles_is_given_up(hub: Hub, folder: Path) -> None:
    hub.put(VITS, Served(CONTENT, trickle=0.05))
    begin = time.monotonic()
    with pytest.raises(CheckpointError, match="sends less than 5 kB a second; run the command again to continue"):
        fetch(VITS, folder, pause=0, patience=0.4)
    assert time.monotonic() - begin < 10


def test_what_a_server_says_stays_in_one_line(hub: Hub, folder: Path) -> None:
    hub.put(VITS, Served(CONTENT, status=404, reason="Not\x1b[31m Found\x07"))
    line = refused(folder)
    assert line.isprintable() and "answered HTTP 404 Not [31m Found" in line


def test_folder_that_cannot_be_written(hub: Hub, tmp_path: Path) -> None:
    hub.put(VITS, Served(CONTENT))
    (tmp_path / "taken").write_bytes(b"")
    with pytest.raises(OutputError, match="taken"):
        fetch(VITS, tmp_path / "taken")


def start(folder: Path) -> subprocess.Popen[str]:
    """`fetch` in a process of its own."""
    code = (
        "import logging, sys; from pathlib import Path; from video_depth_anything.weights import Weights, fetch;"
        "logging.basicConfig(level=20, stream=sys.stdout);"
        f"fetch({VITS!r}, Path(sys.argv[1]))"
    )
    return subprocess.Popen([sys.executable, "-c", code, str(folder)], cwd=ROOT, stdout=subprocess.PIPE, text=True)


def test_second_process_waits_for_the_first(hub: Hub, folder: Path) -> None:
    hub.put(VITS, Served(CONTENT, pause=0.1))
    processes = [start(folder), start(folder)]
    outputs = [process.communicate(timeout=30)[0] for process in processes]
    assert [process.returncode for process in processes] == [0, 0], outputs
    assert len(hub.fetched(VITS)) == 1 and left(folder) == [VITS.file]
    assert sum("waiting for it" in output for output in outputs) == 1
    assert sum("already there" in output for output in outputs) == 1


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_killed_process_frees_the_lock_and_is_continued(hub: Hub, folder: Path, number: signal.Signals) -> None:
    served = hub.put(VITS, Served(CONTENT, pause=0.3))
    process = start(folder)
    deadline = time.monotonic() + 10
    while not (part(folder).exists() and part(folder).stat().st_size) and time.monotonic() < deadline:
        time.sleep(0.02)
    process.send_signal(number)
    process.communicate(timeout=10)
    assert left(folder) == [part(folder).name]
    served.pause = 0.0
    assert fetch(VITS, folder).read_bytes() == CONTENT
    assert hub.fetched(VITS)[-1].range is not None


def test_kinds_of_files() -> None:
    header = b'{"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}'
    for content, kind in (
        (CONTENT, "zip"),
        (len(header).to_bytes(8, "little") + header + bytes(4), "safetensors"),
        ((1 << 40).to_bytes(8, "little") + header, None),
        (b"<html>", None),
        (b"", None),
    ):
        assert file_kind(content[:9], len(content)) == kind


def test_bundled_files_are_found() -> None:
    assert bundled("example_videos/box.mp4").is_file()
    assert bundled("checkpoints/starter_vits.pth").is_file()
    assert replace(VITS, metric=True).name == "metric_vits"
