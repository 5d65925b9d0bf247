"""The library's call: a file, arrays, tensors and PIL images; what is saved; progress, and the end."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import MakeVideo
from PIL import Image

import video_depth_anything as vda
from utils.dc_utils import read_video_frames
from video_depth_anything.errors import InputError, OutputError
from video_depth_anything.pipelines.stop import Stop


@pytest.fixture
def model(checkpoint: Path) -> vda.VideoDepthAnything:
    return vda.from_pretrained(checkpoint, device="cpu")


def test_a_file_and_frames_give_the_same(model: vda.VideoDepthAnything, make_video: MakeVideo) -> None:
    clip = make_video("clip.mp4", count=5)
    frames, _ = read_video_frames(clip)
    options = {"model": model, "input_size": 28, "precision": "fp32"}
    expected, _ = model.infer_video_depth(frames, 24, input_size=28, fp32=True)
    found = vda.infer(clip, **options)  # type: ignore[arg-type]
    assert (found.kind, found.fps, found.files, found.interrupted) == ("disparity", 24.0, [], False)
    assert found.depths is not None
    np.testing.assert_allclose(found.depths, expected, atol=1e-5 * float(np.ptp(expected)))
    for source in (
        frames,
        [Image.fromarray(frame) for frame in frames],
        torch.from_numpy(frames),
        (frame.astype(np.float32) for frame in frames),
    ):
        again = vda.infer(source, **options)  # type: ignore[arg-type]
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
    assert found.depths is not None
    assert found.depths.shape == (3, 28, 28)


def test_mistakes(model: vda.VideoDepthAnything, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no frames"):
        vda.infer([], model=model)
    with pytest.raises(InputError, match="not found"):
        vda.infer(tmp_path / "none.mp4", model=model)
    with pytest.raises(ValueError, match="frame 1 is 14x28"):
        vda.infer([np.zeros((28, 28, 3), np.uint8), np.zeros((28, 14, 3), np.uint8)], model=model, input_size=28)


def test_frames_in_memory_are_selected_like_a_file_s(model: vda.VideoDepthAnything) -> None:
    frames = np.random.default_rng(0).integers(0, 255, (20, 28, 56, 3), np.uint8)
    options = {"model": model, "input_size": 28, "fps": 10}
    found = vda.infer(frames, **options, max_res=28, target_fps=5, start=0.4, end=1.4, max_len=4)  # type: ignore[arg-type]
    assert found.fps == 5
    assert found.depths is not None
    assert found.depths.shape == (4, 14, 28)
    every_other = vda.infer(frames[4:12:2], **options)  # type: ignore[arg-type]
    assert every_other.depths is not None
    assert vda.infer(frames, **options, target_fps=5, start=0.4, max_len=4).depths == pytest.approx(every_other.depths)  # type: ignore[arg-type]
