"""Inputs of one command over several ranks, which are threads here: real videos, real outputs, a small network."""

from __future__ import annotations

import sys
import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
import torch
from conftest import MakeVideo
from test_distributed import MixingNetwork, team

from video_depth_anything.cli import arguments
from video_depth_anything.device import Execution
from video_depth_anything.distributed import RawWindows, join_windows, windows_read
from video_depth_anything.errors import OutputError, RankError
from video_depth_anything.offline import infer_depth
from video_depth_anything.outputs.base import OutputWriter
from video_depth_anything.outputs.plan import OutputPlan
from video_depth_anything.pipelines.batch import Batch, settings_of
from video_depth_anything.pipelines.multi_device import SharedBatch, SplitInference, WindowSource, check_space
from video_depth_anything.pipelines.offline import Frame, RunSummary, run_video
from video_depth_anything.pipelines.ranks import Ranks
from video_depth_anything.video.inputs import expand_inputs
from video_depth_anything.video.source import Selection, VideoSource, open_video

EXECUTION = Execution(torch.device("cpu"), None, 1)


def raw_windows(frames: Iterator[Frame]) -> RawWindows:
    return RawWindows(MixingNetwork(), frames, 14, EXECUTION)


def process(source: VideoSource, writers: list[OutputWriter]) -> RunSummary:
    network = MixingNetwork()
    return run_video(source.timed(), lambda frames: infer_depth(network, frames, 14, EXECUTION), writers, lambda: None)


class BrokenAfter:
    """Windows of one rank whose device fails."""

    def __init__(self, windows: int) -> None:
        self.begun = threading.Event()
        self._left = windows

    def window(self, index: int) -> npt.NDArray[np.float32] | None:
        self.begun.set()
        if self._left == 0:
            raise OutputError("device lost")
        self._left -= 1
        return np.zeros((32, 14, 28), np.float32)


class WaitsFor(RawWindows):
    """Windows of a rank that is never the first to begin."""

    def __init__(self, frames: Iterator[Frame], begun: threading.Event) -> None:
        super().__init__(MixingNetwork(), frames, 14, EXECUTION)
        self._begun = begun

    def window(self, index: int) -> npt.NDArray[np.float32] | None:
        assert self._begun.wait(60)
        return super().window(index)


class Team:
    """Runs the same command on all ranks, as torchrun does, and keeps what each says."""

    def __init__(self, out: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.said: list[str] = []
        self._out = out
        self._patch = monkeypatch

    def run(self, ranks: int, videos: Sequence[Path], *flags: str, broken: BrokenAfter | None = None) -> list[int]:
        """Exit codes of the ranks; `broken` replaces the inference of all ranks but the first."""
        names = ["--input_video", *map(str, videos), "--output_dir", str(self._out)]
        self._patch.setattr(sys, "argv", ["run.py", *names, *flags])
        args = arguments.parse(None)
        plan, selection = OutputPlan.from_arguments(args), Selection(args.max_res)
        batch = Batch(plan, selection, 24.0, args.resume, settings_of(args), self.said.append)

        def work(rank: Ranks) -> int:
            def windows(frames: Iterator[Frame]) -> WindowSource:
                if broken is None:
                    return raw_windows(frames)
                return broken if rank.rank > 0 else WaitsFor(frames, broken.begun)

            split = SplitInference(
                windows,
                windows_read,
                lambda found: join_windows(found, False, EXECUTION.device),
                "test",
            )
            try:
                return SharedBatch(batch, rank, process, split).run(expand_inputs(args.input_video))
            except Exception as error:
                rank.fail(f"rank {rank.rank}: {error}")
                raise
            finally:
                rank.close()

        with ThreadPoolExecutor(ranks) as threads:
            futures = [threads.submit(work, rank) for rank in team(ranks)]
        return [future.result() for future in futures]


@pytest.fixture
def shared(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Team:
    return Team(tmp_path / "out", monkeypatch)


def expected(video: Path) -> npt.NDArray[np.float32]:
    with closing(open_video(video)) as source:
        return np.stack(list(infer_depth(MixingNetwork(), source, 14, EXECUTION)))


def check_depth(folder: Path, videos: Sequence[Path]) -> None:
    for video in videos:
        with np.load(folder / f"{video.stem}_depths.npz") as archive:
            np.testing.assert_array_equal(archive["depths"], expected(video))


def test_as_many_inputs_as_ranks_are_shared_out_whole(
    make_video: MakeVideo, tmp_path: Path, shared: Team, caplog: pytest.LogCaptureFixture
) -> None:
    videos = [make_video(f"{count}.mp4", count=count, height=14, width=28) for count in (1, 22, 23, 45)]
    missing = tmp_path / "missing.mp4"
    assert shared.run(2, [*videos, missing], "--save", "npz", "src") == [1, 0]
    assert f"input video {missing} not found" in caplog.text
    assert "1 of 5 inputs failed" in caplog.text
    assert len(shared.said) == 4
    check_depth(tmp_path / "out", videos)
    assert shared.run(3, videos, "--save", "npz", "src", "--resume") == [0, 0, 0]
    assert len(shared.said) == 4


@pytest.mark.parametrize("ranks", [2, 3])
def test_windows_of_fewer_inputs_are_shared_out(
    make_video: MakeVideo, tmp_path: Path, shared: Team, caplog: pytest.LogCaptureFixture, ranks: int
) -> None:
    caplog.set_level("INFO")
    videos = [make_video(f"{count}.mp4", count=count, height=14, width=28) for count in (200, 23)][: ranks - 1]
    flags = ("--save", "src", "vis", "npz", "exr", "png16", "mkv16", "--vis", "side-by-side")
    assert shared.run(ranks, videos, *flags) == [0] * ranks
    check_depth(tmp_path / "out", videos)
    endings = ["_src.mp4", "_vis.mp4", "_depths.npz", "_depths_exr", "_depths_png16", "_depths16.mkv", "_depths16.json"]
    names = {path.name for path in (tmp_path / "out").iterdir() if not path.name.endswith("_run.json")}
    assert names == {video.stem + ending for video in videos for ending in endings}
    assert shared.run(ranks, videos, *flags, "--resume") == [0] * ranks
    assert caplog.text.count("finished before, skipped") == len(videos)


def test_a_failing_rank_ends_the_run_with_its_reason(make_video: MakeVideo, tmp_path: Path, shared: Team) -> None:
    video = make_video("long.mp4", count=200, height=14, width=28)
    with pytest.raises(RankError, match=r"^rank 1: device lost$"):
        shared.run(2, [video], "--save", "npz", broken=BrokenAfter(2))
    (spool,) = (tmp_path / "out").iterdir()
    assert spool.name == ".long_windows"
    assert len(list(spool.glob("[0-9]*.f32"))) >= 2


def test_resume_begins_anew_where_a_setting_or_the_input_changed(
    make_video: MakeVideo, tmp_path: Path, shared: Team, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    video = make_video("long.mp4", count=200, height=14, width=28)
    for flags in ((), ("--input_size", "28")):
        with pytest.raises(RankError, match="device lost"):
            shared.run(2, [video], "--save", "npz", "--resume", *flags, broken=BrokenAfter(0))
    assert "computed before" not in caplog.text
    video = make_video("long.mp4", count=201, height=14, width=28)
    assert shared.run(2, [video], "--save", "npz", "--resume", "--input_size", "28") == [0, 0]
    assert "computed before" not in caplog.text
    check_depth(tmp_path / "out", [video])


def test_disk_that_is_too_small(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match=r"several ranks need 1e\+06 TB on disk for windows, beside 1 MB"):
        check_space(tmp_path, 1e18, 1e6)
