"""Reading ahead, writing behind, and how a run ends."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest

from video_depth_anything.errors import OutputError
from video_depth_anything.outputs.arrays import NpzArchive
from video_depth_anything.outputs.base import DepthMap, OutputWriter, RunInfo
from video_depth_anything.outputs.spool import LateOutputs
from video_depth_anything.outputs.videos import DepthVideo, SourceVideo
from video_depth_anything.outputs.visualiser import VisStyle
from video_depth_anything.pipelines.offline import run_video
from video_depth_anything.pipelines.threads import BackgroundConsumer, prefetch
from video_depth_anything.video.timing import TimedFrame

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


def test_a_lost_wake_up_loses_nothing() -> None:
    """As a signal may leave it that interrupts `put`: the item is there, and nobody was told."""
    seen: list[int] = []
    told = threading.Event()

    def consume(item: int) -> None:
        seen.append(item)
        told.set()

    consumer = BackgroundConsumer(consume, behind=2)
    time.sleep(0.05)  # the thread waits by now
    consumer._queue.queue.append(7)
    assert told.wait(10)
    consumer.finish()
    assert seen == [7]


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


@pytest.mark.parametrize("stop", [None, KeyboardInterrupt, ValueError])
def test_a_run_finishes_or_leaves_nothing(tmp_path: Path, stop: type[BaseException] | None) -> None:
    def infer(frames: Iterator[npt.NDArray[np.uint8]]) -> Iterator[DepthMap]:
        for index, _ in enumerate(frames):
            if stop is not None and index == 3:
                raise stop
            yield DEPTHS[index]

    info = RunInfo(tmp_path, "v", "v.mp4", "disparity", (12, 18), (12, 18), Fraction(24))
    writers: list[OutputWriter] = [NpzArchive(info, 5), SourceVideo(info, None)]
    writers += [LateOutputs(info, [lambda info, ends: DepthVideo(info, VisStyle(None), ends=ends)], False)]
    image = np.zeros((12, 18, 3), np.uint8)
    frames = [TimedFrame(image, i / 24, 1 / 24) for i in range(5)]
    advanced: list[None] = []
    if stop is ValueError:
        with pytest.raises(ValueError, match=r"^$"):
            run_video(frames, infer, writers, lambda: advanced.append(None))
        assert list(tmp_path.iterdir()) == []
        return
    summary = run_video(frames, infer, writers, lambda: advanced.append(None))
    done = 5 if stop is None else 3
    assert (summary.frames, summary.interrupted, len(advanced)) == (done, stop is not None, done)
    np.testing.assert_array_equal(np.load(tmp_path / "v_depths.npz")["depths"], DEPTHS[:done])
    assert sorted(path.name for path in tmp_path.iterdir()) == ["v_depths.npz", "v_src.mp4", "v_vis.mp4"]
