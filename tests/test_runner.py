"""Reading ahead, writing behind, and how a run ends."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest

from video_depth_anything.errors import OutputError
from video_depth_anything.outputs.base import RunInfo
from video_depth_anything.outputs.late import LateOutputs
from video_depth_anything.outputs.npz import NpzArchive
from video_depth_anything.outputs.registry import FORMATS
from video_depth_anything.outputs.run_outputs import RunOutputs
from video_depth_anything.outputs.videos import SourceVideo
from video_depth_anything.pipelines.driver import by_windows, run_video
from video_depth_anything.pipelines.stop import Stop
from video_depth_anything.pipelines.threads import BackgroundConsumer, prefetch
from video_depth_anything.video.frame import DepthMap, Frame

DEPTHS = np.random.default_rng(0).random((5, 12, 18)).astype(np.float32)


def test_prefetch_stays_a_bounded_number_ahead() -> None:
    made: list[int] = []

    def items() -> Iterator[int]:
        for i in range(100):
            made.append(i)
            yield i

    ahead = prefetch(items(), 3)
    assert [next(ahead) for _ in range(10)] == list(range(10))
    assert len(made) <= 10 + 3 + 1
    ahead.close()  # type: ignore[attr-defined]
    assert all(thread.name != "reader" for thread in threading.enumerate())


def test_errors_come_out_of_the_threads() -> None:
    def items() -> Iterator[int]:
        yield 1
        raise ValueError("in the reader")

    with pytest.raises(ValueError, match="in the reader"):
        list(prefetch(items(), 2))

    def consume(item: int) -> None:
        raise OutputError(f"in the writer at {item}")

    consumer = BackgroundConsumer(consume, 2)
    consumer.put(0)
    with pytest.raises(OutputError, match="in the writer at 0"):
        consumer.finish()
    consumer.cancel()


@pytest.mark.parametrize("how", [None, "stop", "error"])
def test_a_run_finishes_or_leaves_nothing(tmp_path: Path, how: str | None) -> None:
    stop = Stop()

    def infer(frames: Iterator[npt.NDArray[np.uint8]]) -> Iterator[DepthMap]:
        for index, _ in enumerate(frames):
            if index == 3 and how == "error":
                raise ValueError
            yield DEPTHS[index]

    def on_progress(taken: int, done: int) -> None:
        seen.append((taken, done))
        if done == 3 and how == "stop":
            stop.set()

    info = RunInfo(tmp_path, "v", "v.mp4", "disparity", (12, 18), (12, 18), Fraction(24))
    late = LateOutputs(info, [FORMATS["vis"]])
    outputs = RunOutputs(info, None, [NpzArchive(info), SourceVideo(info), late])
    image = np.zeros((12, 18, 3), np.uint8)
    frames = [Frame(image, i / 24, 1 / 24) for i in range(5)]
    seen: list[tuple[int, int]] = []
    if how == "error":
        with pytest.raises(ValueError, match=r"^$"):
            run_video(frames, by_windows(infer), outputs, on_progress, stop)
        assert list(tmp_path.iterdir()) == []
        return
    summary = run_video(frames, by_windows(infer), outputs, on_progress, stop)
    done = 5 if how is None else 3
    assert (summary.frames, summary.interrupted, seen[-1][1]) == (done, how is not None, done)
    np.testing.assert_array_equal(np.load(tmp_path / "v_depths.npz")["depths"], DEPTHS[:done])
    assert sorted(path.name for path in tmp_path.iterdir()) == ["v_depths.npz", "v_src.mp4", "v_vis.mp4"]


def test_frames_are_counted_as_the_network_takes_them(tmp_path: Path) -> None:
    """Depth comes 22 or so frames behind: a short clip would stand at 0 until its end."""
    seen: list[tuple[int, int]] = []
    frames = [Frame(np.zeros((12, 18, 3), np.uint8), i / 24, 1 / 24) for i in range(4)]

    def infer(images: Iterator[npt.NDArray[np.uint8]]) -> Iterator[DepthMap]:
        return iter([DEPTHS[0] for _ in list(images)])

    info = RunInfo(tmp_path, "v", "v.mp4", "disparity", (12, 18), (12, 18), Fraction(24))
    outputs = RunOutputs(info)
    run_video(frames, by_windows(infer), outputs, lambda *counts: seen.append(counts), Stop())
    assert seen == [(1, 0), (2, 0), (3, 0), (4, 0), (4, 1), (4, 2), (4, 3), (4, 4)]
