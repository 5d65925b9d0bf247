"""A flag ends a run between two frames: every output has the same frames, and a second signal ends at once."""

from __future__ import annotations

import fcntl
import os
import pty
import re
import signal
import struct
import subprocess
import sys
import termios
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from conftest import MakeVideo
from test_run import ROOT, SMALL, frame_count, shown

from video_depth_anything.errors import BrokenOffError
from video_depth_anything.outputs.base import Finished, RunInfo
from video_depth_anything.outputs.run_outputs import RunOutputs
from video_depth_anything.pipelines.batch import closing_line
from video_depth_anything.pipelines.driver import Progress, RunSummary, run_video
from video_depth_anything.pipelines.stop import SIGNALS, Stop, Stopped, stop_on_signals
from video_depth_anything.video.frame import DepthMap, Frame
from video_depth_anything.video.realtime import Newest


class Recorder(RunOutputs):
    """Counts frames; acts at one of them, or when it is closed."""

    def __init__(self, at: int | None = None, act: Callable[[], None] = lambda: None) -> None:
        super().__init__(RunInfo(Path(), "v", "v.mp4", "disparity", (12, 18), (12, 18), Fraction(24)))
        self.count = 0
        self.state = "open"
        self._at = at
        self._act = act

    def write(self, frame: Frame) -> None:
        self.count += 1
        if self.count == self._at:
            self._act()

    def close(self, interrupted: bool = False) -> None:
        if self._at == 0:
            self._act()
        self.state = "interrupted" if interrupted else "closed"

    def abort(self) -> None:
        self.state = "aborted"


def flat(images: Iterator[Frame]) -> Iterator[DepthMap]:
    return (np.zeros(frame.image.shape[:2], np.float32) for frame in images)


def frames(count: int = 9) -> list[Frame]:
    return [Frame(np.zeros((2, 2, 3), np.uint8), i / 24, 1 / 24) for i in range(count)]


def run(
    mode: str,
    outputs: Recorder,
    stop: Stop,
    on_progress: Progress = lambda *_: None,
    given: Iterable[Frame] | None = None,
) -> RunSummary:
    return run_video(given or frames(), flat, outputs, on_progress, stop, live=mode == "stream")


@pytest.mark.parametrize("number", SIGNALS)
def test_the_first_signal_sets_the_flag_and_the_second_strikes(number: signal.Signals) -> None:
    before = signal.getsignal(number)
    with stop_on_signals() as stop:
        assert not stop.is_set()
        signal.raise_signal(number)
        assert stop.is_set()
        with pytest.raises(Stopped, match=number.name):
            stop.check()
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(number)
    assert signal.getsignal(number) is before


def test_ignored_signals_stay_ignored() -> None:
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with stop_on_signals() as stop:
            signal.raise_signal(signal.SIGHUP)
            assert not stop.is_set()
    finally:
        signal.signal(signal.SIGHUP, before)


def test_waiting_ends_with_the_flag() -> None:
    stop = Stop()
    threading.Timer(0.1, stop.set).start()
    start = time.monotonic()
    assert stop.wait(30)
    assert time.monotonic() - start < 10


@pytest.mark.parametrize("mode", ["video", "stream"])
def test_a_run_ends_after_the_frame_that_is_counted(mode: str) -> None:
    stop, outputs = Stop(), Recorder()

    def on_progress(_: int, done: int) -> None:
        if done == 4:
            stop.set()

    summary = run(mode, outputs, stop, on_progress)
    assert (summary.frames, summary.interrupted) == (4, True)
    assert (outputs.count, outputs.state) == (4, "interrupted")


def test_a_pause_that_is_broken_off_is_an_interruption() -> None:
    """What was done until then is not a whole result."""
    stop, outputs = Stop(), Recorder()
    slides = [Frame(np.zeros((2, 2, 3), np.uint8), at, 60.0) for at in (0.0, 60.0)]
    begun = time.monotonic()
    threading.Timer(0.2, stop.set).start()
    summary = run("stream", outputs, stop, given=Newest(slides, paced=True, wait=stop.wait))
    assert (summary.frames, summary.interrupted, outputs.state) == (1, True, "interrupted")
    assert time.monotonic() - begun < 2


@pytest.mark.parametrize("mode", ["video", "stream"])
def test_a_flag_while_closing_loses_nothing(mode: str) -> None:
    stop = Stop()
    outputs = Recorder(0, stop.set)
    summary = run(mode, outputs, stop)
    assert (summary.frames, summary.interrupted) == (9, False)
    assert (outputs.count, outputs.state) == (9, "closed")


@pytest.mark.parametrize("mode", ["video", "stream"])
def test_a_source_that_says_nothing_does_not_hold_the_end_up(mode: str) -> None:
    stop, outputs = Stop(), Recorder()
    gone = threading.Event()

    def stuck() -> Iterator[Frame]:
        yield from frames(2)
        gone.wait(60)

    threading.Timer(0.2, stop.set).start()
    start = time.monotonic()
    summary = run(mode, outputs, stop, given=stuck())
    assert time.monotonic() - start < 10
    assert (summary.frames, summary.interrupted, outputs.count) == (2, True, 2)
    gone.set()


@pytest.mark.parametrize("mode", ["video", "stream"])
def test_a_source_that_breaks_off_is_not_finished(mode: str) -> None:
    def broken() -> Iterator[Frame]:
        yield from frames(5)
        raise BrokenOffError("gone")

    outputs = Recorder()
    summary = run(mode, outputs, Stop(), given=broken())
    assert (summary.frames, summary.interrupted, str(summary.broken)) == (5, False, "gone")
    assert (outputs.count, outputs.state) == (5, "interrupted")
    assert closing_line(summary, ["a.npz"], "x.pth").startswith("broken off: wrote a.npz: 5 frames in ")


def test_an_output_that_asks_for_the_end_has_it() -> None:
    def finish() -> None:
        raise Finished

    outputs = Recorder(4, finish)
    summary = run("stream", outputs, Stop())
    assert (summary.frames, summary.interrupted, outputs.count) == (4, False, 4)


def start_script(script: str, *words: str | Path) -> tuple[subprocess.Popen[str], int]:
    """A script in a session of its own, with a terminal for standard error, whose other end is returned."""
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 100, 0, 0))
    command = [sys.executable, str(ROOT / script), *map(str, words)]
    process = subprocess.Popen(
        command, cwd=ROOT, stdout=subprocess.PIPE, stderr=theirs, text=True, start_new_session=True
    )
    os.close(theirs)
    return process, ours


def read_terminal(end: int, until: str | None = None) -> str:
    """What is written to the terminal, until a pattern is seen or nobody is left to write."""
    seen = ""
    while until is None or not re.search(until, seen):
        try:
            data = os.read(end, 1 << 16)
        except OSError:  # how Linux says that the other end is closed
            data = b""
        if not data:
            assert until is None, seen
            break
        seen += data.decode(errors="replace")
    return seen


@pytest.mark.parametrize(
    ("script", "how"),
    [("run.py", signal.SIGINT), ("run.py", signal.SIGHUP), ("run_streaming.py", signal.SIGTERM)],
)
def test_ctrl_c_keeps_the_frames_that_are_done(
    make_video: MakeVideo, checkpoint: Path, tmp_path: Path, script: str, how: signal.Signals
) -> None:
    path, out = make_video("long.mp4", count=400), tmp_path / "out"
    process, terminal = start_script(
        script, "--input_video", path, "-o", out, "--checkpoint", checkpoint, "--save_npz", *SMALL
    )
    # Taken, of which 24 are written.
    read_terminal(terminal, r"\b([6-9]\d|\d{3})/400")
    # As a terminal does it: to the script and to every process it started.
    os.killpg(process.pid, how)
    said_on_terminal = read_terminal(terminal)
    os.close(terminal)
    stdout, _ = process.communicate(timeout=60)
    assert process.returncode == 130
    # run_streaming.py keeps standard output free for video, so its line follows the progress bar.
    said = stdout if script == "run.py" else said_on_terminal[said_on_terminal.index("interrupted: wrote ") :]
    assert said.startswith("interrupted: wrote ")
    done = int(said.split(" frames in ")[0].split()[-1])
    assert 24 <= done < 400
    assert frame_count(out / "long_src.mp4") == (done, 48, 64)
    assert frame_count(out / "long_vis.mp4") == (done, 48, 64)
    assert len(np.load(out / "long_depths.npz")["depths"]) == done
    assert shown(out) == {"long_src.mp4", "long_vis.mp4", "long_depths.npz"}
