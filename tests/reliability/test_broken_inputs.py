"""Inputs that are broken in many ways at once: a line for each, and the others finish."""

from __future__ import annotations

import os
import struct
import sys
import zlib
from pathlib import Path

import numpy as np
import pytest
from conftest import MakeVideo
from ffmpeg import run_ffmpeg
from PIL import Image
from runs import SMALL, Run, left, run, shown

FLAGS = ("--save", "npz", *SMALL)


def huge_picture(path: Path, side: int) -> Path:
    """A PNG whose header claims side x side pixels, and that holds none."""

    def chunk(kind: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    header = chunk(b"IHDR", struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0))
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + header + chunk(b"IDAT", zlib.compress(b"")) + chunk(b"IEND", b""))
    return path


@pytest.fixture
def broken(make_video: MakeVideo, home: Path) -> dict[str | Path, str]:
    """Inputs, and what is said of each."""
    noise = np.random.default_rng(0).bytes(1000)
    (home / "empty.mp4").touch()
    (home / "noise.mp4").write_bytes(noise)
    whole = make_video("whole.mp4").read_bytes()
    (home / "cut.mp4").write_bytes(whole[: len(whole) // 2])
    run_ffmpeg("-f", "lavfi", "-i", "sine=d=1", home / "sound.mp4")
    (home / "folder").mkdir()
    (home / "wide.y4m").write_bytes(b"YUV4MPEG2 W60000 H60000 F25:1 C420\nFRAME\n")
    (home / "large.y4m").write_bytes(b"YUV4MPEG2 W30000 H2000 F25:1 C420\nFRAME\n")
    unprintable = home / os.fsdecode(b"new\nline \xff \x1b[31m.mp4")
    unprintable.write_bytes(noise)
    (home / "short.png").write_bytes(huge_picture(home / "picture.png", 60000).read_bytes()[:20])
    return {
        "empty.mp4": "empty.mp4: not a video, or damaged",
        "noise.mp4": "noise.mp4: not a video, or damaged",
        "cut.mp4": "cut.mp4: not a video, or damaged",
        "sound.mp4": "sound.mp4: not a video, or damaged: it has sound but no video stream",
        "missing.mp4": "input video missing.mp4 not found",
        "picture.png": "picture.png: not an image, or damaged: it is too large",
        "wide.y4m": "wide.y4m: not a video, or damaged",
        "large.y4m": "large.y4m has frames of 30000x2000 pixels; the limit is 33.2 million pixels",
        "short.png": "short.png",
        unprintable: ".mp4: not a video, or damaged",
        "http://127.0.0.1:1/a.mp4": "http://127.0.0.1:1/a.mp4",
        "http://[::1": "http://[::1",
        "folder": "the folder folder contains no images",
        "*.nothing": "no file matches *.nothing",
        "nothing://x/y": "nothing://x/y",
        "/dev/null": "/dev/null",
    }


@pytest.mark.parametrize("command", ["run", "stream"])
def test_every_broken_input_has_a_line_and_the_others_finish(
    broken: dict[str | Path, str], make_video: MakeVideo, checkpoint: Path, home: Path, command: str
) -> None:
    first, last = make_video("first.mp4"), make_video("last.mp4")
    words = (command, first, *broken, last, "--timeout", "2", "--checkpoint", checkpoint, *FLAGS)
    result = run(*words, folder=home)
    assert result.code == 1, result.err
    head, _, tail = result.err.partition(f"error: {len(broken)} of {len(broken) + 2} inputs failed:\n")
    summary = tail.splitlines()
    assert len(summary) == len(broken), result.err
    for line, said in zip(summary, broken.values()):
        assert line.startswith("error:   ")
        assert said in line
        # Said when it happened, too.
        assert line.removeprefix("error:   ") in head
    # What a name holds can neither move the cursor nor begin a line.
    assert "\x1b" not in result.err
    assert "new\\x0aline \\xff \\x1b[31m.mp4" in result.err
    assert shown(home / "outputs") == {"first_depths.npz", "last_depths.npz"}
    assert left(home / "outputs") == set()


def test_names_that_the_console_cannot_write(make_video: MakeVideo, checkpoint: Path, home: Path) -> None:
    names = ("\u00fc \u6df1\u5ea6.mp4", os.fsdecode(b"byte \xff.mp4"))
    for name in names:
        make_video(count=2).rename(home / name)
    words = ("run", *names, "\u00fc missing.mp4", "--checkpoint", checkpoint, *FLAGS)
    result = Run(*words, folder=home, encoding="ascii").ended()
    assert result.code == 1
    assert "Traceback" not in result.err
    assert "error: input video \\xfc missing.mp4 not found" in result.err
    assert "\\xfc \\u6df1\\u5ea6_depths.npz" in result.out
    assert len(shown(home / "outputs")) == 2


def test_the_traceback_of_a_users_error_is_for_v(make_video: MakeVideo, checkpoint: Path, home: Path) -> None:
    words = ("run", "missing.mp4", make_video(count=1), "-v", "--checkpoint", checkpoint, *FLAGS)
    result = Run(*words, folder=home).ended()
    assert result.code == 1
    assert "Traceback" in result.err


def test_pictures_above_the_budget_are_not_decoded(home: Path, checkpoint: Path, make_video: MakeVideo) -> None:
    Image.fromarray(np.zeros((70, 100, 3), np.uint8)).save(home / "picture.png")
    video = make_video("video.mp4", height=70, width=100)
    words = ("run", "picture.png", video, make_video("small.mp4"), "--checkpoint", checkpoint, *FLAGS)
    result = run(*words, "--max_pixels", "6999", folder=home)
    assert result.code == 1
    assert all("100x70" in line and "see --max_pixels" in line for line in result.lines[-2:])
    assert shown(home / "outputs") == {"small_depths.npz"}
    assert run(*words, "--max_pixels", "7000", folder=home).code == 0


@pytest.mark.parametrize("side", ["100000", "4321", "99999999999999999999"])
def test_absurd_sizes_of_the_network_s_input(home: Path, side: str) -> None:
    result = run("run", "missing.mp4", "--input_size", side, folder=home)
    assert result.code == 2
    assert result.err.startswith(f"error: argument --input_size: {side} is more than 4320")


@pytest.mark.skipif(sys.platform != "linux", reason="other systems have no such limit")
def test_a_lack_of_memory_is_one_inputs(make_video: MakeVideo, checkpoint: Path, home: Path) -> None:
    large = make_video("large.mp4", count=2, height=64, width=64)
    limits = {"RLIMIT_AS": 1 << 30}
    words = ("run", large, "--input_size", "4200", "--checkpoint", checkpoint, "--save", "npz", *SMALL[:2], *SMALL[4:])
    result = run(*words, folder=home, limits=limits)
    assert result.code == 2
    assert result.lines[-1].startswith("error: out of memory; try a smaller --input_size, ")
    assert left(home / "outputs") == set()


def test_names_that_are_too_long_with_their_endings(make_video: MakeVideo, checkpoint: Path, home: Path) -> None:
    clip = make_video("a.mp4", count=1)
    long = home / f"{'ü' * 124}.mp4"
    clip.rename(long)
    words = ("run", long, make_video("b.mp4", count=1), "--checkpoint", checkpoint, *FLAGS)
    result = run(*words, folder=home)
    assert result.code == 0, result.err
    assert "which is shorter" in result.err
    assert len(shown(home / "outputs")) == 2


def test_a_rate_of_zero(checkpoint: Path, home: Path) -> None:
    for name, rate in (("zero", "0:1"), ("none", "0:0"), ("negative", "-25:1")):
        frame = b"FRAME\n" + np.random.default_rng(0).bytes(64 * 48 * 3 // 2)
        (home / f"{name}.y4m").write_bytes(f"YUV4MPEG2 W64 H48 F{rate} C420\n".encode() + 3 * frame)
    words = ("run", "zero.y4m", "none.y4m", "negative.y4m", "--save", "vis", "npz")
    result = run(*words, "--checkpoint", checkpoint, *SMALL, folder=home)
    # Each is either read at a rate that is possible, or has its line.
    done = {name.split("_")[0] for name in shown(home / "outputs")}
    assert result.code == (0 if len(done) == 3 else 1)
    assert len(done) + len({line for line in result.lines if "failed" not in line and ":   " not in line}) == 3
    for name in done:
        with np.load(home / "outputs" / f"{name}_depths.npz") as archive:
            assert len(archive["depths"]) == 3
            assert 0 < float(archive["fps"]) < 1000


def test_a_length_that_the_header_makes_absurd(make_video: MakeVideo, checkpoint: Path, home: Path) -> None:
    clip = home / "clip.mkv"
    run_ffmpeg("-i", make_video("clip.mp4", count=3, height=480, width=640), "-c", "copy", clip)
    length = b"\x44\x89\x88"  # in milliseconds, a float of eight bytes
    content = clip.read_bytes().replace(length + struct.pack(">d", 125), length + struct.pack(">d", 3.6e8))
    clip.write_bytes(content)
    words = ("run", clip, make_video("b.mp4", count=1), "--checkpoint", checkpoint, *FLAGS)
    result = run(*words, folder=home)
    assert result.code == 1
    assert "if the length in its header is wrong, 8640000 frames or 100 hours, --max_len says how many" in result.err
    assert shown(home / "outputs") == {"b_depths.npz"}
    assert run(*words, "--max_len", "3", folder=home).code == 0
