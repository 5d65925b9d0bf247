"""Readers that go away, and disks that fill up."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import OpenEXR
import pytest
from conftest import MakeVideo
from runs import SMALL, Run, left, run, shown


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of a megabyte."""
    folder = tmp_path / "small"
    folder.mkdir()
    try:
        mount = ["mount", "-t", "tmpfs", "-o", "size=1m", "none", str(folder)]
        subprocess.run(mount, check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("needs the right to mount a file system")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


def closed_pipe() -> int:
    """The writing end of a pipe whose reader has gone."""
    reading, writing = os.pipe()
    os.close(reading)
    return writing


def test_raw_video_that_nobody_reads_any_more(make_video: MakeVideo, checkpoint: Path, home: Path) -> None:
    clip = make_video(count=6)
    flags = ("--stdout", "rgb24", "--checkpoint", checkpoint, *SMALL)
    end = closed_pipe()
    result = Run("stream", clip, *flags, "--save", "npz", folder=home, out=end).ended()
    assert result.code == 0, result.err
    assert "the other outputs continue" in result.err
    with np.load(home / "outputs" / "clip_depths.npz") as archive:
        assert len(archive["depths"]) == 6
    # Where it was the only output, the run is over, as `head` wants it.
    alone = Run("stream", clip, *flags, "--save", "none", folder=home, out=end).ended()
    os.close(end)
    assert alone.code == 0, alone.err
    assert "Traceback" not in result.err + alone.err


@pytest.mark.parametrize("command", ["run", "stream"])
def test_messages_that_nobody_reads(make_video: MakeVideo, checkpoint: Path, home: Path, command: str) -> None:
    end = closed_pipe()
    inputs = (make_video("one.mp4"), home / "missing.mp4", make_video("two.mp4"))
    words = (command, *inputs, "--save", "vis", "npz", "--checkpoint", checkpoint, *SMALL)
    result = Run(*words, folder=home, out=end, err=end).ended()
    os.close(end)
    assert result.code == 1
    assert shown(home / "outputs") == {f"{name}_{end}" for name in ("one", "two") for end in ("vis.mp4", "depths.npz")}
    assert left(home / "outputs") == set()


@pytest.mark.parametrize("name", ["/dev/full", "a file that may not grow"])
def test_messages_that_find_no_space(make_video: MakeVideo, checkpoint: Path, home: Path, name: str) -> None:
    if name != "/dev/full":
        (home / name).write_bytes(bytes(1 << 20))
    elif not Path(name).exists():
        pytest.skip("needs /dev/full")
    end = os.open(home / name, os.O_WRONLY | os.O_APPEND)
    limits = {"RLIMIT_FSIZE": 1 << 20}
    words = ("run", make_video(), "--save", "npz", "--checkpoint", checkpoint, *SMALL)
    result = Run(*words, folder=home, limits=limits, out=end, err=end).ended()
    os.close(end)
    assert result.code == 0
    assert shown(home / "outputs") == {"clip_depths.npz"}


@pytest.mark.parametrize("save", [("npz",), ("vis", "exr"), ("src", "mkv16", "npz")])
def test_a_file_that_may_not_grow_ends_one_input(
    make_video: MakeVideo, checkpoint: Path, home: Path, save: tuple[str, ...]
) -> None:
    """A limit on the size of files stands for a full disk: it strikes in mid-run, wherever the tests run."""
    long, short = make_video("long.mp4", count=40, height=96, width=128), make_video("short.mp4", count=1)
    words: tuple[str | Path, ...] = (
        "run",
        long,
        short,
        "--save",
        *save,
        "--vis_range",
        "0",
        "9",
        "--checkpoint",
        checkpoint,
        *SMALL,
    )
    result = run(*words, folder=home, limits={"RLIMIT_FSIZE": 20_000})
    assert result.code == 1, result.err
    lines = [line for line in result.lines if "kept" not in line]
    assert lines[0].startswith(("error: cannot write to outputs: ", "error: cannot write outputs/long_"))
    out = home / "outputs"
    assert any(name.startswith("short_") for name in shown(out))
    assert {name for name in shown(out) if name.startswith("long")} <= {"long_depths_exr"}
    assert left(out) == set()


def test_a_disk_that_somebody_else_fills(make_video: MakeVideo, checkpoint: Path, home: Path, small_disk: Path) -> None:
    clip = make_video("long.mp4", count=60, height=32, width=48)
    words = ("stream", clip, "--save", "exr", "vis", "--vis_range", "0", "9", "-o", small_disk)
    running = Run(*words, "--checkpoint", checkpoint, *SMALL, folder=home)
    running.until(lambda: len(list(small_disk.glob(".long.partial-*/long_depths_exr/*.exr"))) >= 2)
    running.send(signal.SIGSTOP)
    with contextlib.suppress(OSError), (small_disk / "hog").open("wb", buffering=0) as hog:
        while hog.write(bytes(4096)):
            pass
    running.send(signal.SIGCONT)
    result = running.ended()
    assert result.code == 2
    # Which of the files meets it first is chance.
    assert result.lines[-1].startswith("error: cannot write ")
    assert str(small_disk) in result.lines[-1]
    assert "Traceback" not in result.err
    # Frames are whole files by themselves, and the video is not.
    assert shown(small_disk) == {"hog", "long_depths_exr"}
    assert left(small_disk) == set()
    frames = sorted((small_disk / "long_depths_exr").iterdir())
    assert 2 <= len(frames) < 60
    for path in frames:
        depth = OpenEXR.File(str(path), separate_channels=True).channels()["Z"].pixels
        assert depth.shape == (32, 48) and depth.std() > 0
