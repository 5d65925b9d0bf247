"""Reading and writing video: the same result from every reader, and files as other programs see them."""

from __future__ import annotations

import logging
import re
from fractions import Fraction
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
import pytest
from conftest import MakeVideo
from ffmpeg import decoded, ffmpeg_header, frame_times, run_ffmpeg
from recipes import synthetic_frames

from utils.dc_utils import read_video_frames, save_video
from video_depth_anything.errors import InputError, OutputError
from video_depth_anything.outputs.colormap import color_table, in_colors, levels_of
from video_depth_anything.video.source import Selection, open_video, processed_size
from video_depth_anything.video.writer import VideoWriter


def psnr(a: npt.NDArray[np.uint8], b: npt.NDArray[np.uint8]) -> float:
    return float(10 * np.log10(255**2 / np.mean((a.astype(float) - b) ** 2)))


def test_frames_with_their_times(make_video: MakeVideo) -> None:
    path = make_video(count=9)
    source = open_video(path)
    frames = list(source.timed())
    assert (source.reader, source.size, source.fps, source.expected) == ("PyAV", (48, 64), 24, 9)
    assert (source.pixel_aspect, source.first_time) == (1, 0)
    np.testing.assert_allclose([frame.duration for frame in frames], 1 / 24, atol=1e-5)
    np.testing.assert_allclose([frame.time for frame in frames], np.arange(9) / 24, atol=1e-5)
    np.testing.assert_array_equal(np.stack([frame.image for frame in frames]), decoded(path))
    # Small saturated chequered noise loses its chroma in 4:2:0; the brightness must stay.
    for frame, original in zip(frames, synthetic_frames(9, 48, 64, seed=9), strict=True):
        assert psnr(frame.image.mean(axis=2), original.mean(axis=2)) > 28


@pytest.mark.parametrize(
    ("target", "max_len", "max_res", "kept", "size"),
    [("10", -1, -1, 10, (48, 64)), ("-1", 7, 33, 7, (24, 32)), ("7/2", 3, 50, 3, (38, 50)), ("60", 2, 64, 2, (48, 64))],
)
def test_frames_sizes_and_limits(
    make_video: MakeVideo, target: str, max_len: int, max_res: int, kept: int, size: tuple[int, int]
) -> None:
    path = make_video(count=30, fps=Fraction(30000, 1001))
    source = open_video(path, Selection(max_res, None if target == "-1" else Fraction(target), max_len))
    frames = list(source.timed())
    assert {frame.image.shape for frame in frames} == {(*source.size, 3)} == {(*size, 3)}
    assert source.expected == len(frames) == kept


def test_sizes() -> None:
    assert processed_size(1080, 1920, 1280) == (720, 1280)
    assert processed_size(479, 853, 1280) == (479, 853)
    assert processed_size(1920, 1081, 1280) == (1280, 722)
    assert processed_size(4, 4000, 100) == (2, 100)
    assert processed_size(2160, 3840, -1) == (2160, 3840)


def test_odd_limits_of_size_are_kept() -> None:
    assert processed_size(108, 192, 101) == (56, 100)
    assert processed_size(192, 108, 101) == (100, 56)
    assert processed_size(1000, 1000, 3) == (2, 2)
    assert processed_size(1, 4000, 100) == (2, 100)
    assert processed_size(1, 99, 101) == (1, 99)
    with pytest.raises(ValueError, match="the minimum is 2 pixels"):
        processed_size(100, 100, 1)


def test_read_video_frames(make_video: MakeVideo) -> None:
    path = make_video(count=12)
    frames, fps = read_video_frames(path, 4, target_fps=12, max_res=32)
    assert (frames.shape, frames.dtype, fps) == ((4, 24, 32, 3), np.uint8, 12.0)
    frames, fps = read_video_frames(str(path))
    assert (len(frames), fps) == (12, 24.0)


@pytest.mark.parametrize(
    ("options", "size", "step", "fps"),
    [
        ({}, (54, 96), 1, 24),
        ({"max_res": 85}, (48, 86), 1, 24),  # 85 x 47.8: rounded, then up to even sides
        ({"max_res": 84.6, "target_fps": 10}, (48, 86), 2, 10),  # round(2.4) = 2
        ({"max_res": 96, "target_fps": 13.5, "process_length": 3}, (54, 96), 2, 13.5),
        ({"target_fps": 48}, (54, 96), 1, 48),
    ],
)
def test_decords_frames_bit_for_bit(
    make_video: MakeVideo, options: dict[str, Any], size: tuple[int, int], step: int, fps: float
) -> None:
    """As the original reads: decord's own scaler, sides that are even, every n-th frame."""
    decord = pytest.importorskip("decord")
    path = make_video(count=12, height=54, width=96)
    frames, rate = read_video_frames(path, **options)
    video = decord.VideoReader(str(path), width=size[1], height=size[0])
    numbers = list(range(0, 12, step))[: options.get("process_length", 12)]
    np.testing.assert_array_equal(frames, video.get_batch(numbers).asnumpy())
    assert (frames.shape[1:3], rate) == (size, fps)


def test_without_decord(make_video: MakeVideo, monkeypatch: pytest.MonkeyPatch) -> None:
    path = make_video()
    before, _ = read_video_frames(path)
    monkeypatch.setattr("utils.dc_utils.DECORD_AVAILABLE", False)
    after, _ = read_video_frames(path)
    assert np.abs(after.astype(int) - before).max() <= 3
    small, _ = read_video_frames(path, max_res=32.0)
    assert small.shape[1:3] == (24, 32)


def test_gif_and_av1(tmp_path: Path, make_video: MakeVideo) -> None:
    gif, av1 = tmp_path / "a.gif", tmp_path / "a.mkv"
    run_ffmpeg("-i", make_video(count=6, fps=Fraction(10)), gif)
    source = open_video(gif)
    assert (source.fps, len(list(source))) == (10, 6)
    run_ffmpeg("-i", make_video(count=6), "-c:v", "libsvtav1", "-preset", "12", av1)
    source = open_video(av1)
    assert (source.fps, len(list(source))) == (24, 6)


def test_tiny_frames_that_decord_mangles(tmp_path: Path) -> None:
    path = tmp_path / "tiny.mp4"
    writer = VideoWriter(path, (2, 2), Fraction(24))
    for value in (10, 120, 240):
        writer.write(np.full((2, 2, 3), value, dtype=np.uint8))
    writer.close()
    frames, _ = read_video_frames(path)
    assert frames.shape == (3, 2, 2, 3)
    np.testing.assert_allclose(frames.mean(axis=(1, 2, 3)), (10, 120, 240), atol=6)


@pytest.mark.parametrize(("flag", "turn"), [("-display_hflip", "hflip"), ("-display_rotation", "rot")])
def test_display_matrix(tmp_path: Path, make_video: MakeVideo, flag: str, turn: str) -> None:
    plain = make_video(count=3)
    tagged = tmp_path / "tagged.mp4"
    value = ["90"] if turn == "rot" else []
    run_ffmpeg(flag, *value, "-i", plain, "-c", "copy", tagged)
    before, after = (np.stack(list(open_video(path))) for path in (plain, tagged))
    expected = before[:, :, ::-1] if turn == "hflip" else np.rot90(before, axes=(1, 2))
    assert after.shape == expected.shape
    assert np.abs(after.astype(int) - expected).mean() < 1


def test_variable_frame_rate_keeps_its_frames(tmp_path: Path, make_video: MakeVideo) -> None:
    path = tmp_path / "vfr.mp4"
    pick = r"select='not(mod(n,2))+lt(n,10)'"
    run_ffmpeg("-i", make_video(count=30), "-vf", pick, "-fps_mode", "vfr", path)
    times = [frame.time for frame in open_video(path).timed()]
    np.testing.assert_allclose(times, [n / 24 for n in range(30) if n % 2 == 0 or n < 10], atol=1e-4)
    np.testing.assert_allclose(times, frame_times(path), atol=1e-4)


def test_a_file_cut_off_is_read_as_far_as_it_goes(make_video: MakeVideo, caplog: pytest.LogCaptureFixture) -> None:
    path = make_video(count=60, height=120, width=160)
    path.write_bytes(path.read_bytes()[: int(path.stat().st_size * 0.6)])
    with caplog.at_level(logging.WARNING):
        frames = list(open_video(path))
    assert 10 < len(frames) < 60
    assert "but its header says 60" in caplog.text


@pytest.mark.parametrize("content", [b"", b"this is not a video", b"\x00\x00\x00\x18ftypmp42" + bytes(400)])
def test_what_is_no_video_is_refused_in_one_line(
    tmp_path: Path, content: bytes, capfd: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "broken.mp4"
    path.write_bytes(content)
    with pytest.raises(InputError, match=re.escape(f"cannot read {path}: not a video, or damaged")):
        open_video(path)
    assert capfd.readouterr() == ("", "")


def test_sound_alone_and_missing_files(tmp_path: Path) -> None:
    path = tmp_path / "sound.m4a"
    run_ffmpeg("-f", "lavfi", "-i", "sine=duration=1", path)
    with pytest.raises(InputError, match="no video stream"):
        open_video(path)
    with pytest.raises(InputError, match=r"nowhere\.mp4 not found"):
        open_video(tmp_path / "nowhere.mp4")
    with pytest.raises(InputError, match="is not a file"):
        open_video(tmp_path)


@pytest.mark.parametrize("rate", ["24000/1001", "30000/1001", "60", "25/2", "1"])
def test_written_rates_are_exact(tmp_path: Path, rate: str) -> None:
    path = tmp_path / "rate.mp4"
    writer = VideoWriter(path, (16, 16), Fraction(rate))
    for frame in synthetic_frames(4, 16, 16, seed=0):
        writer.write(frame)
    writer.close()
    capture = cv2.VideoCapture(str(path))
    assert Fraction(capture.get(cv2.CAP_PROP_FPS)).limit_denominator(1001) == Fraction(rate)
    assert capture.get(cv2.CAP_PROP_FRAME_COUNT) == 4


def test_colours_survive_and_are_tagged(tmp_path: Path) -> None:
    path = tmp_path / "colors.mp4"
    colors = np.array(
        [(255, 0, 0), (0, 255, 0), (0, 0, 255), (255, 255, 255), (0, 0, 0), (240, 60, 30)], dtype=np.uint8
    )
    frame = np.repeat(np.repeat(colors[None], 16, axis=1), 32, axis=0)
    writer = VideoWriter(path, (32, 96), Fraction(24))
    for _ in range(3):
        writer.write(frame)
    writer.close()
    assert "tv, smpte170m/" in ffmpeg_header(path)
    for found in (decoded(path)[0], next(iter(open_video(path)))):
        assert np.abs(found.astype(int)[16, 8::16] - colors).max() <= 8


def test_odd_sizes_are_padded_with_a_note(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = tmp_path / "odd.mp4"
    frames = synthetic_frames(3, 47, 63, seed=0)
    with caplog.at_level(logging.INFO):
        writer = VideoWriter(path, (47, 63), Fraction(24))
    assert "padded to even sides: 64x48" in caplog.text
    for frame in frames:
        writer.write(frame)
    writer.close()
    found = decoded(path)
    assert found.shape == (3, 48, 64, 3)
    assert psnr(found[:, :47, :63].mean(axis=3), frames.mean(axis=3)) > 28
    assert np.abs(found[:, 47].astype(int) - found[:, 46]).mean() < 12


def test_nothing_is_left_of_a_video_that_was_not_finished(tmp_path: Path) -> None:
    writer = VideoWriter(tmp_path / "a.mp4", (16, 16), Fraction(24))
    writer.write(np.zeros((16, 16, 3), dtype=np.uint8))
    writer.abort()
    assert list(tmp_path.iterdir()) == []
    writer = VideoWriter(tmp_path / "nowhere" / "a.mp4", (16, 16), Fraction(24))
    with pytest.raises(OutputError, match=r"cannot write .*nowhere"):
        writer.close()


def test_save_video(tmp_path: Path) -> None:
    frames = synthetic_frames(4, 32, 48, seed=0)
    save_video(frames, tmp_path / "frames.mp4", fps=15)
    assert read_video_frames(tmp_path / "frames.mp4")[1] == 15
    depths = np.linspace(0, 2, 4 * 32 * 48, dtype=np.float32).reshape(4, 32, 48)
    save_video(depths, str(tmp_path / "gray.mp4"), fps=10, is_depths=True, grayscale=True)
    gray, _ = read_video_frames(tmp_path / "gray.mp4")
    np.testing.assert_allclose(gray.mean(axis=3), depths * 127.5, atol=6)
    save_video(np.ones((2, 32, 48), dtype=np.float32), tmp_path / "constant.mp4", is_depths=True)
    save_video(depths, tmp_path / "metres.mp4", is_depths=True, grayscale=True, metric=True)
    metres, _ = read_video_frames(tmp_path / "metres.mp4")
    np.testing.assert_allclose(metres.mean(axis=3), 255 - depths * 127.5, atol=6)  # near is bright
    constant, _ = read_video_frames(tmp_path / "constant.mp4")
    assert constant.max() < 8  # inferno begins black
    with pytest.raises(ValueError, match="no frames"):
        save_video([], tmp_path / "empty.mp4")


def test_colours_are_the_originals() -> None:
    import matplotlib

    depth = np.random.default_rng(0).random((30, 40)).astype(np.float32) * 7 + 1
    low, high = float(depth.min()), float(depth.max())
    table = np.array(getattr(matplotlib.colormaps["inferno"], "colors"))  # noqa: B009
    levels = ((depth - low) / (high - low) * 255).astype(np.uint8)
    expected = (table[levels] * 255).astype(np.uint8)
    found = in_colors(levels_of(depth, low, high), color_table("inferno"))
    # The last bit of the level may fall the other way.
    assert (found == expected).all(axis=2).mean() > 0.999
    assert np.array_equal(color_table("inferno"), (table * 255).astype(np.uint8))
    strange = np.array([[np.nan, np.inf, -np.inf, 99]], dtype=np.float32)
    assert levels_of(strange, 0, 1).tolist() == [[0, 255, 0, 255]]
    with pytest.raises(ValueError, match="no colour map 'nonsense'"):
        color_table("nonsense")


def test_a_reduced_size_is_said_with_the_flag_that_keeps_it(
    make_video: MakeVideo, caplog: pytest.LogCaptureFixture
) -> None:
    path = make_video(count=1, height=48, width=64)
    with caplog.at_level(logging.INFO):
        open_video(path, Selection(max_res=64)).close()
        assert caplog.text == ""
        open_video(path, Selection(max_res=33)).close()
    assert "frames of 64x48 are processed at 32x24; --max_res -1 keeps their size" in caplog.text
