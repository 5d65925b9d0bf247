"""Addresses that stall or break off, and pipes that nobody writes: a line, and nothing that is called finished."""

from __future__ import annotations

import os
import socketserver
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
from conftest import MakeVideo
from ffmpeg import run_ffmpeg
from runs import SMALL, Result, left, run, shown


class Hub(socketserver.ThreadingTCPServer):
    """Serves one file in one of several bad ways."""

    allow_reuse_address = daemon_threads = True

    def __init__(self, content: bytes, sent: int, way: str, port: int) -> None:
        super().__init__(("127.0.0.1", port), Handler)
        self.content, self.sent, self.way = content, sent, way
        self.over = threading.Event()

    def address(self, name: str) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}/{name}"


class Handler(socketserver.StreamRequestHandler):
    server: Hub

    def handle(self) -> None:
        while self.rfile.readline().strip():
            pass
        hub = self.server
        if hub.way == "silent":
            hub.over.wait(60)
            return
        if hub.way == "endless":
            self.wfile.write(b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n")
        else:
            length = f"Content-Length: {len(hub.content)}\r\n"
            self.wfile.write(f"HTTP/1.1 200 OK\r\n{length}Connection: close\r\n\r\n".encode())
        self.wfile.write(hub.content[: hub.sent])
        self.wfile.flush()
        if hub.way in ("stalls", "endless"):
            hub.over.wait(60)


@contextmanager
def served(content: bytes, sent: int, way: str, port: int = 0) -> Iterator[Hub]:
    with Hub(content, sent, way, port) as hub:
        thread = threading.Thread(target=hub.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        try:
            yield hub
        finally:
            hub.over.set()
            hub.shutdown()
            thread.join()


@pytest.fixture
def stream(make_video: MakeVideo, tmp_path: Path) -> bytes:
    """Four seconds of MPEG-TS, a key frame every half second."""
    path = tmp_path / "stream.ts"
    run_ffmpeg("-i", make_video(count=96), "-g", "12", "-bf", "0", path)
    return path.read_bytes()


def watched(command: str, hub: Hub, checkpoint: Path, home: Path, flags: tuple[str, ...] = ()) -> tuple[Result, float]:
    begun = time.monotonic()
    words = (command, hub.address("live.ts"), "--timeout", "1", "--save", "npz", "--checkpoint", checkpoint)
    return run(*words, *flags, *SMALL, folder=home), time.monotonic() - begun


@pytest.mark.parametrize("command", ["run", "stream"])
def test_an_address_that_says_nothing(command: str, checkpoint: Path, home: Path) -> None:
    with served(b"", 0, "silent") as hub:
        result, seconds = watched(command, hub, checkpoint, home)
    assert result.code == 2
    assert "nothing came for 1 seconds" in result.lines[-1]
    assert seconds < 30
    assert not (home / "outputs").exists()


@pytest.mark.parametrize(
    ("command", "way", "said"),
    [
        ("run", "stalls", "nothing came for 1 seconds"),
        ("stream", "endless", "nothing came for 1 seconds"),
        ("run", "closes", "Input/output error"),
        ("stream", "closes", "Input/output error"),
    ],
)
def test_a_stream_that_breaks_off_is_not_finished(
    command: str, way: str, said: str, stream: bytes, checkpoint: Path, home: Path
) -> None:
    out = home / "outputs"
    with served(stream, len(stream) * 3 // 4, way) as hub:
        result, seconds = watched(command, hub, checkpoint, home)
    assert result.code == 1
    assert seconds < 60
    assert said in result.lines[-1] and result.lines[-1].endswith("frames before are kept")
    assert "broken off: wrote outputs/live_depths.npz" in result.out + result.err
    with np.load(out / "live_depths.npz") as archive:
        assert 48 <= len(archive["depths"]) < 96
    if way == "endless":
        return  # without a length it is live, and the next recording of a live source is another one
    # It is replaced by a whole one, and not the other way round.
    port = int(hub.server_address[1])
    with served(stream, len(stream), "closes", port) as hub:
        whole, _ = watched(command, hub, checkpoint, home, flags=("--resume",))
    assert whole.code == 0, whole.err
    with np.load(out / "live_depths.npz") as archive:
        assert len(archive["depths"]) == 96
    with served(stream, len(stream) // 2, "closes", port) as hub:
        again, _ = watched(command, hub, checkpoint, home)
    assert again.code == 1
    assert shown(out) == {"live_depths.npz", "live_interrupted_depths.npz"}
    with np.load(out / "live_depths.npz") as archive:
        assert len(archive["depths"]) == 96


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="there are no such files here")
def test_pipes_and_devices_that_say_nothing(make_video: MakeVideo, checkpoint: Path, home: Path) -> None:
    os.mkfifo(home / "silent")
    begun = time.monotonic()
    devices = [path for path in (Path("/dev/ptmx"), Path("/dev/null"), Path("/proc/kmsg")) if path.exists()]
    words: tuple[str | Path, ...] = (
        "run",
        home / "silent",
        *devices,
        make_video("well.mp4"),
        "--timeout",
        "1",
        "--save",
        "npz",
    )
    result = run(*words, "--checkpoint", checkpoint, *SMALL, folder=home)
    assert result.code == 1
    assert "silent: nothing came for 1 seconds" in result.lines[0]
    assert f"error: {1 + len(devices)} of {2 + len(devices)} inputs failed:" in result.err
    assert time.monotonic() - begun < 60
    assert shown(home / "outputs") == {"well_depths.npz"}
    assert left(home / "outputs") == set()
