"""The library's call: a file, arrays, tensors and PIL images; what is saved; progress, and the end."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from conftest import MakeVideo
from PIL import Image

import video_depth_anything as vda
from utils.dc_utils import read_video_frames
from video_depth_anything import Stop
from video_depth_anything.errors import InputError, OutputError, UsageError


@pytest.fixture
def model(checkpoint: Path) -> vda.VideoDepthAnything:
    return vda.from_pretrained(checkpoint, device="cpu")


def moving_frames() -> np.ndarray:
    return np.random.default_rng(5).integers(0, 255, (70, 14, 28, 3), np.uint8)


@pytest.fixture(scope="module")
def whole(checkpoint: Path) -> np.ndarray:
    return vda.infer(moving_frames(), model=vda.from_pretrained(checkpoint, device="cpu"), input_size=14).depths


def test_a_file_and_frames_give_the_same(model: vda.VideoDepthAnything, make_video: MakeVideo) -> None:
    clip = make_video("clip.mp4", count=5)
    frames, _ = read_video_frames(clip)
    options: dict[str, Any] = {"model": model, "input_size": 28, "precision": "fp32"}
    expected, _ = model.infer_video_depth(frames, 24, input_size=28, fp32=True)
    found = vda.infer(clip, **options)
    assert (found.kind, found.fps, found.files, found.interrupted) == ("disparity", 24.0, [], False)
    np.testing.assert_allclose(found.depths, expected, atol=1e-5 * float(np.ptp(expected)))
    for source in (
        frames,
        [Image.fromarray(frame) for frame in frames],
        torch.from_numpy(frames),
        (frame.astype(np.float32) for frame in frames),
    ):
        again = vda.infer(source, **options)
        np.testing.assert_array_equal(again.depths, expected)


def test_what_is_saved_is_not_kept(model: vda.VideoDepthAnything, make_video: MakeVideo, tmp_path: Path) -> None:
    clip, out, seen = make_video("clip.mp4", count=4), tmp_path / "out", list[tuple[int, int | None]]()
    found = vda.infer(
        clip,
        model=model,
        input_size=28,
        save=("exr", "npz"),
        output_dir=out,
        on_progress=lambda *progress: seen.append(progress),
    )
    assert found.depths is None
    assert sorted(path.name for path in found.files) == ["clip_depths.npz", "clip_depths_exr"]
    assert seen == [(1, 4), (2, 4), (3, 4), (4, 4)]
    (out / "frames_depths.npz").write_bytes(b"somebody's")
    with pytest.raises(OutputError, match="no earlier run"):
        vda.infer(np.zeros((2, 28, 28, 3), np.uint8), model=model, input_size=28, save=["npz"], output_dir=out)
    assert (out / "frames_depths.npz").read_bytes() == b"somebody's"


def test_a_run_can_be_stopped(model: vda.VideoDepthAnything) -> None:
    stop = Stop()

    def on_progress(done: int, expected: int | None) -> None:
        assert expected == 40
        if done == 3:
            stop.set()

    frames = np.random.default_rng(0).integers(0, 255, (40, 28, 28, 3), np.uint8)
    found = vda.infer(frames, model=model, input_size=28, on_progress=on_progress, stop=stop)
    assert found.interrupted
    assert found.depths.shape == (3, 28, 28)


def test_mistakes(model: vda.VideoDepthAnything, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no frames"):
        vda.infer([], model=model)
    with pytest.raises(InputError, match="not found"):
        vda.infer(tmp_path / "none.mp4", model=model)
    with pytest.raises(ValueError, match="frame 1 is 14x28"):
        vda.infer([np.zeros((28, 28, 3), np.uint8), np.zeros((28, 14, 3), np.uint8)], model=model, input_size=28)
    with pytest.raises(ValueError, match="frame 0 has NaN or infinite pixels"):
        vda.infer([np.full((28, 28, 3), np.nan)], model=model, input_size=28)
    with pytest.raises(vda.UserError, match=r"^fps: '10+' is not a number or fraction above zero"):
        vda.infer(np.zeros((1, 28, 28, 3), np.uint8), model=model, fps=Fraction(10**400))


def test_frames_per_second_may_be_a_fraction(model: vda.VideoDepthAnything) -> None:
    images = np.zeros((2, 28, 28, 3), np.uint8)
    found = [vda.infer(images, model=model, input_size=28, fps=rate) for rate in (Fraction(24000, 1001), 23.976)]
    assert [one.fps for one in found] == [24000 / 1001] * 2


def test_frames_in_memory_are_selected_like_a_file_s(model: vda.VideoDepthAnything) -> None:
    frames = np.random.default_rng(0).integers(0, 255, (20, 28, 56, 3), np.uint8)
    options: dict[str, Any] = {"model": model, "input_size": 28, "fps": 10}
    found = vda.infer(frames, **options, max_res=28, target_fps=5, start=0.4, end=1.4, max_len=4)
    assert found.fps == 5
    assert found.depths.shape == (4, 14, 28)
    every_other = vda.infer(frames[4:12:2], **options)
    assert vda.infer(frames, **options, target_fps=5, start=0.4, max_len=4).depths == pytest.approx(every_other.depths)


def test_every_option_of_the_command_is_one_of_the_call(model: vda.VideoDepthAnything, tmp_path: Path) -> None:
    frames = np.random.default_rng(1).integers(0, 255, (4, 28, 42, 3), np.uint8)
    given: dict[str, Any] = {"model": model, "input_size": 28, "output_dir": tmp_path}
    raw = vda.infer(frames, **given).depths
    vda.infer(frames, save="npz", depth="inverted", **given)
    with np.load(tmp_path / "frames_depths.npz") as archive:
        np.testing.assert_allclose(archive["depths"], (raw.max() - raw) / np.ptp(raw), atol=1e-6)
    vda.infer(frames, save=["vis"], colormap="turbo", grayscale=True, vis_range=(0, 5), name="gray", **given)
    shown, _ = read_video_frames(tmp_path / "gray_vis.mp4")
    assert np.ptp(shown.astype(int), axis=3).max() <= 6
    wrong: dict[str, Any]
    for wrong in ({"colour": "turbo"}, {"encoder": "vits"}, {"metric": True}, {"resume": True}):
        with pytest.raises(TypeError, match=next(iter(wrong))):
            vda.infer(frames, **given, **wrong)
    for wrong in ({"max_res": 1}, {"depth": "upside down"}, {"keep_audio": "yes"}, {"vis_range": (5, 1)}):
        with pytest.raises(UsageError, match=next(iter(wrong))):
            vda.infer(frames, **given, **wrong)
    assert issubclass(UsageError, vda.UserError)


def test_options_hold_for_a_network_that_is_loaded(checkpoint: Path) -> None:
    chosen = vda.ModelOptions(checkpoint=checkpoint, device="cpu", backend="torch", precision="fp32", input_size=56)
    network = vda.load_network(chosen)
    frames = np.random.default_rng(2).integers(0, 255, (2, 28, 42, 3), np.uint8)
    small = vda.infer(frames, model=network, input_size=28).depths
    expected, _ = vda.from_pretrained(checkpoint, device="cpu").infer_video_depth(frames, 24, input_size=28, fp32=True)
    np.testing.assert_allclose(small, expected, atol=1e-5 * float(np.ptp(expected)))
    assert np.abs(vda.infer(frames, model=network).depths - small).max() > 1e-3
    with pytest.raises(TypeError, match="precision"):
        vda.infer(frames, model=network, precision="bf16")


def test_numbers_of_every_kind_mean_the_same(model: vda.VideoDepthAnything, caplog: pytest.LogCaptureFixture) -> None:
    frames = np.random.default_rng(3).integers(0, 255, (3, 28, 28, 3), np.uint8)
    options: dict[str, Any] = {"model": model, "input_size": 28}
    expected = vda.infer(frames, **options).depths
    wide = frames.astype(np.uint16) * 257  # 255 becomes 65535
    floats = frames.astype(np.float32) / 255
    for source, word in ((wide, "16-bit"), (floats, "scaled from 0..1"), (torch.from_numpy(floats), "0..1")):
        caplog.clear()
        np.testing.assert_array_equal(vda.infer(source, **options).depths, expected)
        assert [word in message for message in caplog.messages].count(True) == 1
    gray = np.repeat(frames[..., :1], 3, axis=3)
    images = [Image.fromarray(frame[..., 0].astype(np.uint16) * 257) for frame in gray]
    assert images[0].mode == "I;16"
    np.testing.assert_array_equal(vda.infer(images, **options).depths, vda.infer(gray, **options).depths)


@pytest.mark.parametrize("part", ["40-45", "44", "0-2", "68-99"])
def test_frames_that_are_done_again_are_those_of_the_whole_run(
    model: vda.VideoDepthAnything, whole: np.ndarray, part: str
) -> None:
    """To the last bit: windows are aligned to those before, and faded into the next, which begins with frame 46."""
    frames = moving_frames()
    again = vda.infer(frames, model=model, input_size=14, frames=part).depths
    first, _, last = part.partition("-")
    np.testing.assert_array_equal(again, whole[int(first) : int(last or first) + 1])


def test_frames_that_are_not_there(model: vda.VideoDepthAnything) -> None:
    with pytest.raises(InputError, match="--frames"):
        vda.infer(moving_frames()[:3], model=model, input_size=14, frames="3-5")
    with pytest.raises(UsageError, match="frames: '5-3'"):
        vda.infer(moving_frames()[:3], model=model, frames="5-3")


@pytest.mark.parametrize("numbered", [True, False])
def test_frames_that_are_done_again_join_the_others(
    model: vda.VideoDepthAnything, make_video: MakeVideo, tmp_path: Path, numbered: bool
) -> None:
    """Of a sequence by their numbers, of a video by their counts; the value range stays that of the whole run."""
    source: Path | str = make_video("clip.mp4", count=12, height=28, width=28)
    first = 1001 if numbered else 0
    if numbered:
        for number, image in enumerate(read_video_frames(source)[0], start=1001):
            Image.fromarray(image).save(tmp_path / f"plate.{number}.png")
        source = str(tmp_path / "plate.%04d.png")
    options: dict[str, Any] = {"model": model, "input_size": 28, "output_dir": tmp_path / "out"}
    vda.infer(source, save=["exr", "png16", "npz"], **options)
    (folder,) = (tmp_path / "out").glob("*_depths_png16")
    (exr,) = (tmp_path / "out").glob("*_depths_exr")
    before = {path: path.read_bytes() for path in [*folder.glob("*.png"), *exr.iterdir()]}
    assert len(before) == 24
    part = [path for path in sorted(before) if int(path.stem[-4:]) - first in (5, 6, 7)]
    assert len(part) == 6
    for path in part:
        path.write_bytes(b"to be done again")
    (archive,) = (tmp_path / "out").glob("*.npz")
    whole = archive.read_bytes()
    found = vda.infer(source, save=["exr", "png16", "npz"], frames=f"{first + 5}-{first + 7}", **options)
    for path, data in before.items():
        assert path.read_bytes() == data, path
    assert archive.read_bytes() == whole
    (other,) = [path for path in found.files if path.suffix == ".npz"]
    with np.load(other) as saved, np.load(archive) as kept:
        np.testing.assert_array_equal(saved["depths"], kept["depths"][5:8])
        np.testing.assert_array_equal(saved["timestamps"], kept["timestamps"][5:8])
