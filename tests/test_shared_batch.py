"""Inputs of one command over several ranks, which are processes here: real videos, real outputs, a small network."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, closing, nullcontext
from pathlib import Path
from typing import cast

import numpy as np
import numpy.typing as npt
import pytest
import torch
from conftest import MakeVideo
from rank_processes import run_ranks
from test_distributed import MixingNetwork
from torch import Tensor

from video_depth_anything.cli import arguments
from video_depth_anything.device import Execution
from video_depth_anything.errors import OutputError, RankError
from video_depth_anything.frame_features import FrameFeatures
from video_depth_anything.network import Network
from video_depth_anything.offline import infer_depth
from video_depth_anything.outputs.plan import OutputPlan
from video_depth_anything.pipelines.batch import Batch
from video_depth_anything.pipelines.driver import Progress
from video_depth_anything.pipelines.multi_device import SharedBatch, check_space
from video_depth_anything.pipelines.options import RunOptions
from video_depth_anything.pipelines.ranks import Ranks
from video_depth_anything.pipelines.setup import LoadedNetwork
from video_depth_anything.pipelines.stop import Stop
from video_depth_anything.video.inputs import expand_inputs
from video_depth_anything.video.source import open_video

EXECUTION = Execution(torch.device("cpu"), None, 1)


class FailingNetwork(MixingNetwork):
    """The network of one rank whose device fails after so many windows."""

    def __init__(self, ranks: Ranks, windows: int) -> None:
        super().__init__()
        self._ranks = ranks
        self._left = windows

    def decode(self, window: Sequence[FrameFeatures], slots: Sequence[int], frames_at_once: int) -> Iterator[Tensor]:
        self._ranks.set("begun", "")
        if self._left == 0:
            raise OutputError("device lost")
        self._left -= 1
        return super().decode(window, slots, frames_at_once)


class LateNetwork(MixingNetwork):
    """The network of a rank that is never the first to begin."""

    def __init__(self, ranks: Ranks) -> None:
        super().__init__()
        self._ranks = ranks

    def decode(self, window: Sequence[FrameFeatures], slots: Sequence[int], frames_at_once: int) -> Iterator[Tensor]:
        self._ranks.wait("begun")
        return super().decode(window, slots, frames_at_once)


def no_progress(*_: object) -> AbstractContextManager[Progress]:
    return nullcontext(lambda *_: None)


def run_command(ranks: Ranks, given: Sequence[str], broken_after: int | None) -> tuple[int, list[str]]:
    """Exit code of a rank and what it says; the inference of all ranks but the first may break."""
    args = arguments.run_parser("run.py", None).parse_args(given)
    options, said = arguments.options_in(RunOptions, args), list[str]()
    plan = OutputPlan(options.outputs, options.camera, options.model.metric, settings=options.settings())
    broken: MixingNetwork | None = None
    if broken_after is not None:
        broken = FailingNetwork(ranks, broken_after) if ranks.rank > 0 else LateNetwork(ranks)
    network = LoadedNetwork(cast(Network, broken or MixingNetwork()), EXECUTION, "vits", False, None, 14)
    batch = Batch(options, plan, network, Stop(), no_progress, said.append)
    return SharedBatch(batch, ranks).run(expand_inputs(arguments.inputs_of(args))), said


class Team:
    """Runs the same command on all ranks, as torchrun does, and keeps what all of them say."""

    def __init__(self, out: Path) -> None:
        self.said: list[str] = []
        self.messages = ""
        self._out = out

    def run(self, ranks: int, videos: Sequence[Path], *flags: str, broken_after: int | None = None) -> list[int]:
        """Exit codes of the ranks."""
        names = ["--input_video", *map(str, videos), "--output_dir", str(self._out)]
        endings = run_ranks(ranks, run_command, [*names, *flags], broken_after)
        self.messages += "".join(ending.stderr for ending in endings)
        errors = [ending.error for ending in endings if ending.error is not None]
        for error in sorted(errors, key=lambda error: isinstance(error, SystemExit)):
            raise error
        for ending in endings:
            self.said += ending.value[1]
        return [ending.value[0] for ending in endings]


@pytest.fixture
def shared(tmp_path: Path) -> Team:
    return Team(tmp_path / "out")


def expected(video: Path) -> npt.NDArray[np.float32]:
    with closing(open_video(video)) as source:
        return np.stack(list(infer_depth(MixingNetwork(), source, 14, EXECUTION)))


def check_depth(folder: Path, videos: Sequence[Path]) -> None:
    for video in videos:
        with np.load(folder / f"{video.stem}_depths.npz") as archive:
            np.testing.assert_array_equal(archive["depths"], expected(video))


def test_as_many_inputs_as_ranks_are_shared_out_whole(make_video: MakeVideo, tmp_path: Path, shared: Team) -> None:
    videos = [make_video(f"{count}.mp4", count=count, height=14, width=28) for count in (1, 22, 23, 45)]
    missing = tmp_path / "missing.mp4"
    assert shared.run(2, [*videos, missing], "--save", "npz", "src") == [1, 0]
    assert f"input video {missing} not found" in shared.messages
    assert "1 of 5 inputs failed" in shared.messages
    assert len(shared.said) == 4
    check_depth(tmp_path / "out", videos)
    assert shared.run(3, videos, "--save", "npz", "src", "--resume") == [0, 0, 0]
    assert len(shared.said) == 4


@pytest.mark.parametrize("ranks", [2, 3])
def test_windows_of_fewer_inputs_are_shared_out(
    make_video: MakeVideo, tmp_path: Path, shared: Team, ranks: int
) -> None:
    videos = [make_video(f"{count}.mp4", count=count, height=14, width=28) for count in (200, 23)][: ranks - 1]
    flags = ("--save", "src", "vis", "npz", "exr", "png16", "mkv16", "--vis", "side-by-side")
    assert shared.run(ranks, videos, *flags) == [0] * ranks
    check_depth(tmp_path / "out", videos)
    endings = ["_src.mp4", "_vis.mp4", "_depths.npz", "_depths_exr", "_depths_png16", "_depths16.mkv", "_depths16.json"]
    names = {path.name for path in (tmp_path / "out").iterdir() if not path.name.endswith("_run.json")}
    assert names == {video.stem + ending for video in videos for ending in endings}
    assert shared.run(ranks, videos, *flags, "--resume") == [0] * ranks
    assert shared.messages.count("already finished, skipped") == len(videos)


def test_a_part_of_an_input_is_that_of_the_whole(make_video: MakeVideo, tmp_path: Path, shared: Team) -> None:
    video = make_video("long.mp4", count=150, height=14, width=28)
    assert shared.run(2, [video], "--save", "npz", "--frames", "70-99") == [0, 0]
    with np.load(tmp_path / "out" / "long_depths.npz") as archive:
        np.testing.assert_array_equal(archive["depths"], expected(video)[70:100])
    assert not list((tmp_path / "out").glob(".*_windows"))


def test_nothing_is_left_where_nothing_is_saved(make_video: MakeVideo, tmp_path: Path, shared: Team) -> None:
    video = make_video("long.mp4", count=60, height=14, width=28)
    assert shared.run(2, [video], "--save", "none") == [0, 0]
    assert list((tmp_path / "out").iterdir()) == []


def test_a_failing_rank_ends_the_run_with_its_reason(make_video: MakeVideo, tmp_path: Path, shared: Team) -> None:
    video = make_video("long.mp4", count=200, height=14, width=28)
    with pytest.raises(RankError, match=r"^rank 1 \(\S+\): device lost$"):
        shared.run(2, [video], "--save", "npz", broken_after=2)
    (spool,) = (tmp_path / "out").iterdir()
    assert spool.match(".long-*_windows")
    assert len(list(spool.glob("[0-9]*.npz"))) >= 2


def test_resume_begins_anew_where_a_setting_or_the_input_changed(
    make_video: MakeVideo, tmp_path: Path, shared: Team
) -> None:
    video = make_video("long.mp4", count=200, height=14, width=28)
    for flags in ((), ("--input_size", "28")):
        with pytest.raises(RankError, match="device lost"):
            shared.run(2, [video], "--save", "npz", "--resume", *flags, broken_after=0)
    assert "already computed" not in shared.messages
    video = make_video("long.mp4", count=201, height=14, width=28)
    assert shared.run(2, [video], "--save", "npz", "--resume", "--input_size", "28") == [0, 0]
    assert "already computed" not in shared.messages
    check_depth(tmp_path / "out", [video])


def test_disk_that_is_too_small(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match=r"several ranks need 1e\+06 TB on disk for windows and 1 MB"):
        check_space(tmp_path, 1e18, 1e6)
