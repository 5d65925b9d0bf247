"""Runs that end before their time, or meet each other: nothing whole is lost, nothing else is left."""

from __future__ import annotations

import shutil
import signal
from pathlib import Path

import numpy as np
import pytest
from conftest import MakeVideo
from runs import SMALL, Run, contents, left, run, shown

SIGNALS = [signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT]


@pytest.fixture(scope="session")
def finished(tmp_path_factory: pytest.TempPathFactory, checkpoint: Path) -> Path:
    """A long video, and the results of a run over the first three frames of it."""
    from fractions import Fraction

    from recipes import synthetic_frames

    from video_depth_anything.video.writer import VideoWriter

    folder = tmp_path_factory.mktemp("finished") / "home"
    folder.mkdir()
    writer = VideoWriter(folder / "clip.mp4", (48, 64), Fraction(24))
    for frame in synthetic_frames(400, 48, 64, seed=1):
        writer.write(frame)
    writer.close()
    result = run("run", "clip.mp4", "--max_len", "3", *flags(checkpoint), folder=folder)
    assert result.code == 0, result.err
    return folder


@pytest.fixture
def again(finished: Path, tmp_path: Path) -> Path:
    """A copy of that folder, whose record names its own clip."""
    home = Path(shutil.copytree(finished, tmp_path / "home"))
    record = home / "outputs" / ".clip_run.json"
    record.write_text(record.read_text().replace(str(finished), str(home)))
    return home


def flags(checkpoint: Path) -> tuple[str | Path, ...]:
    return ("--checkpoint", checkpoint, "--save", "vis", "npz", "exr", "--vis_range", "0", "9", *SMALL)


def frames_done(folder: Path) -> int:
    return sum(1 for _ in folder.glob("outputs/.clip.partial-*/clip_depths_exr/*.exr"))


@pytest.mark.parametrize("number", SIGNALS)
def test_an_interruption_over_finished_results(again: Path, checkpoint: Path, number: signal.Signals) -> None:
    out, before = again / "outputs", contents(again / "outputs")
    # One frame after another, in both kinds of runs.
    command = "stream" if number in (signal.SIGHUP, signal.SIGINT) else "run"
    running = Run(command, "clip.mp4", *flags(checkpoint), folder=again)
    running.until(lambda: frames_done(again) >= 2)
    running.send(number)
    result = running.ended()
    assert result.code == 130, result.err
    assert "Traceback" not in result.err
    after = contents(out)
    assert {name: after.pop(name) for name in before} == before
    assert {name.split("/")[0] for name in after} == {
        f"clip_interrupted_{ending}" for ending in ("vis.mp4", "depths.npz", "depths_exr")
    }
    with np.load(out / "clip_interrupted_depths.npz") as archive:
        count = len(archive["depths"])
    assert 2 <= count < 400
    assert len(list((out / "clip_interrupted_depths_exr").iterdir())) == count
    assert "is complete and is kept; this run's outputs are named clip_interrupted" in result.err
    said = result.out + result.err
    assert "interrupted: wrote " in said and str(Path("outputs") / "clip_interrupted_vis.mp4") in said
    assert left(out) == set()


@pytest.mark.parametrize("number", SIGNALS)
def test_an_interruption_before_the_first_window(again: Path, checkpoint: Path, number: signal.Signals) -> None:
    out, before = again / "outputs", contents(again / "outputs")
    running = Run("run", "clip.mp4", *flags(checkpoint), folder=again)
    running.until(lambda: any(out.glob(".clip.partial-*")))
    running.send(number)
    result = running.ended()
    assert result.code == 130, result.err
    assert "interrupted before any depth was finished; nothing was written" in result.out
    assert contents(out) == before
    assert left(out) == set()


def test_kill_9_loses_nothing_and_the_next_run_cleans(again: Path, checkpoint: Path) -> None:
    out, before = again / "outputs", contents(again / "outputs")
    running = Run("run", "clip.mp4", *flags(checkpoint), folder=again)
    running.until(lambda: frames_done(again) >= 2)
    running.send(signal.SIGKILL)
    assert running.ended().code == -signal.SIGKILL
    assert contents(out) == before
    assert left(out) != set()
    # What is nobody's leftover stays: it merely has a similar name.
    (out / ".clip.partial-notes").write_text("mine")
    shutil.copy(again / "clip.mp4", again / "other.mp4")
    result = run("run", "other.mp4", "--max_len", "1", *flags(checkpoint), folder=again)
    assert result.code == 0, result.err
    assert "removed unfinished files of an earlier run" in result.err
    assert left(out) == {".clip.partial-notes"}
    assert {name: contents(out)[name] for name in before} == before


def test_two_runs_of_one_name(make_video: MakeVideo, home: Path, checkpoint: Path) -> None:
    clip = make_video("twice.mp4", count=60)
    words = ("run", clip, *flags(checkpoint))
    first = Run(*words, folder=home)
    first.until(lambda: any(home.glob("outputs/.twice.partial-*")))
    first.send(signal.SIGSTOP)
    second = run(*words, folder=home)
    first.send(signal.SIGCONT)
    assert second.code == 2
    assert second.lines == [
        "error: another run is writing twice into outputs; wait until it ends, or choose another --output_dir"
    ]
    result = first.ended()
    assert result.code == 0, result.err
    out = home / "outputs"
    assert shown(out) == {"twice_vis.mp4", "twice_depths.npz", "twice_depths_exr"}
    with np.load(out / "twice_depths.npz") as archive:
        assert archive["depths"].shape == (60, 48, 64)
    assert len(list((out / "twice_depths_exr").iterdir())) == 60
    assert left(out) == set()
    assert "already finished, skipped" in run(*words, "--resume", folder=home).err


def test_two_runs_of_different_names_do_not_hinder_each_other(
    make_video: MakeVideo, home: Path, checkpoint: Path
) -> None:
    runs = [
        Run("run", make_video(f"{name}.mp4", count=9), *flags(checkpoint), folder=home) for name in ("one", "clip_one")
    ]
    assert [running.ended().code for running in runs] == [0, 0]
    assert len(shown(home / "outputs")) == 6
    assert left(home / "outputs") == set()
