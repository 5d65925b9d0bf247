"""Signals that end a run wait where they would leave outputs of different lengths."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
from conftest import MakeVideo
from test_run import ROOT, SMALL, frame_count, shown

from video_depth_anything.outputs.base import DepthFrame, DepthMap, Finished
from video_depth_anything.pipelines.offline import RunSummary, run_video
from video_depth_anything.pipelines.stop import held_interrupts
from video_depth_anything.pipelines.stream_runner import run_stream
from video_depth_anything.video.timing import TimedFrame


@pytest.fixture(autouse=True)
def _handlers() -> Iterator[None]:
    """What `video_depth_anything.cli.console.run_script` sets."""
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)
    yield
    signal.signal(signal.SIGTERM, before)


class Recorder:
    """Counts frames; raises a signal, or what it is told to, at one of them or when it is closed."""

    def __init__(self, at: int | None = None, act: Callable[[], None] = lambda: None) -> None:
        self.count = 0
        self.state = "open"
        self._at = at
        self._act = act

    def write(self, frame: DepthFrame) -> None:
        self.count += 1
        if self.count == self._at:
            self._act()

    def close(self) -> None:
        if self._at == 0:
            self._act()
        self.state = "closed"

    def abort(self) -> None:
        self.state = "aborted"

    def written(self) -> list[str]:
        return []


class Flat:
    def step(self, frame: npt.NDArray[np.uint8]) -> DepthMap:
        return np.zeros(frame.shape[:2], np.float32)

    def reset(self) -> None:
        pass


def frames(count: int = 9) -> list[TimedFrame]:
    return [TimedFrame(np.zeros((2, 2, 3), np.uint8), i / 24, 1 / 24) for i in range(count)]


def run(mode: str, writers: list[Recorder]) -> RunSummary:
    if mode == "stream":
        return run_stream(frames(), Flat(), writers, lambda: None)
    return run_video(frames(), lambda images: map(Flat().step, images), writers, lambda: None)


def interrupt() -> None:
    signal.raise_signal(signal.SIGINT)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_waits_for_the_end_of_the_block(number: signal.Signals) -> None:
    done = []

    @held_interrupts()
    def block() -> None:
        signal.raise_signal(number)
        done.append(1)

    with pytest.raises(KeyboardInterrupt):
        block()
    assert done == [1]
    with pytest.raises(KeyboardInterrupt):
        signal.raise_signal(number)


def test_a_second_signal_strikes_at_once() -> None:
    @held_interrupts()
    def block() -> None:
        interrupt()
        interrupt()
        pytest.fail("unreachable")

    with pytest.raises(KeyboardInterrupt):
        block()
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_ignored_signals_stay_ignored() -> None:
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        with held_interrupts():
            interrupt()
    finally:
        signal.signal(signal.SIGINT, before)


def test_another_thread_holds_nothing() -> None:
    seen = []

    def work() -> None:
        with held_interrupts():
            seen.append(signal.getsignal(signal.SIGINT))

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert seen == [signal.default_int_handler]


def test_a_signal_between_two_outputs_leaves_them_alike() -> None:
    writers = [Recorder(4, interrupt), Recorder()]
    summary = run("stream", writers)
    assert (summary.frames, summary.interrupted) == (4, True)
    assert [(writer.count, writer.state) for writer in writers] == [(4, "closed")] * 2


def test_a_signal_while_a_frame_is_handed_over_counts_it(monkeypatch: pytest.MonkeyPatch) -> None:
    from video_depth_anything.pipelines.threads import BackgroundConsumer

    put = BackgroundConsumer.put
    handed: list[DepthFrame] = []

    def put_then_signal(self: BackgroundConsumer[DepthFrame], item: DepthFrame) -> None:
        put(self, item)
        handed.append(item)
        if len(handed) == 3:
            interrupt()

    monkeypatch.setattr(BackgroundConsumer, "put", put_then_signal)
    writers = [Recorder(), Recorder()]
    summary = run("video", writers)
    assert (summary.frames, summary.interrupted) == (3, True)
    assert [(writer.count, writer.state) for writer in writers] == [(3, "closed")] * 2


@pytest.mark.parametrize("mode", ["video", "stream"])
def test_a_signal_while_closing_loses_nothing(mode: str) -> None:
    writers = [Recorder(0, interrupt), Recorder()]
    summary = run(mode, writers)
    assert (summary.frames, summary.interrupted) == (9, True)
    assert [(writer.count, writer.state) for writer in writers] == [(9, "closed")] * 2


def test_an_output_that_asks_for_the_end_leaves_the_others_the_frame() -> None:
    def finish() -> None:
        raise Finished

    writers = [Recorder(4, finish), Recorder()]
    summary = run("stream", writers)
    assert (summary.frames, summary.interrupted) == (4, False)
    assert [writer.count for writer in writers] == [4, 4]


@pytest.mark.parametrize(
    ("script", "how"),
    [("run.py", signal.SIGINT), ("run.py", signal.SIGTERM), ("run_streaming.py", signal.SIGINT)],
)
def test_ctrl_c_keeps_the_frames_that_are_done(
    make_video: MakeVideo, checkpoint: Path, tmp_path: Path, script: str, how: signal.Signals
) -> None:
    path = make_video("long.mp4", count=400)
    command = [sys.executable, str(ROOT / script), "--input_video", str(path), "--output_dir", str(tmp_path / "out")]
    command += ["--checkpoint", str(checkpoint), "--save_npz", *SMALL]
    pipe = subprocess.PIPE
    process = subprocess.Popen(command, cwd=ROOT, stdout=pipe, stderr=pipe, text=True, start_new_session=True)
    assert process.stderr is not None
    seen = ""
    while not re.search(r"\b(2[4-9]|[3-9]\d|\d{3})/400", seen):
        character = process.stderr.read(1)
        assert character, seen
        seen += character
    # As a terminal does it: to the script and to every process it started.
    os.killpg(process.pid, how)
    stdout, stderr = process.communicate(timeout=60)
    assert process.returncode == 130
    # run_streaming.py keeps standard output free for video, so its line follows the progress bar.
    said = stdout if script == "run.py" else stderr[stderr.index("interrupted: wrote ") :]
    assert said.startswith("interrupted: wrote ")
    done = int(said.split(" frames in ")[0].split()[-1])
    assert 24 <= done < 400
    assert frame_count(tmp_path / "out" / "long_src.mp4") == (done, 48, 64)
    assert frame_count(tmp_path / "out" / "long_vis.mp4") == (done, 48, 64)
    assert len(np.load(tmp_path / "out" / "long_depths.npz")["depths"]) == done
    assert shown(tmp_path / "out") == {"long_src.mp4", "long_vis.mp4", "long_depths.npz"}
