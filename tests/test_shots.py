"""Scene cuts offline: no window crosses one, and each shot is a video of its own."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
import pytest
from recipes import synthetic_frames
from test_run import SMALL, run

from video_depth_anything.device import Execution
from video_depth_anything.offline import infer_depth
from video_depth_anything.pipelines.driver import by_windows
from video_depth_anything.video.frame import DepthMap, Frame, Image
from video_depth_anything.video.scene_cuts import CutDetector
from video_depth_anything.video_depth import VideoDepthAnything


@pytest.fixture
def shots() -> tuple[np.ndarray, np.ndarray]:
    first = np.repeat(synthetic_frames(1, 48, 64, seed=1), 36, axis=0)
    return first, 255 - first[:14, ::-1]


def test_each_shot_is_a_video_of_its_own(
    shots: tuple[np.ndarray, np.ndarray],
    golden_model: VideoDepthAnything,
    fp32: Execution,
    caplog: pytest.LogCaptureFixture,
) -> None:
    frames = [Frame(image, i / 24, 1 / 24) for i, image in enumerate(np.concatenate(shots))]

    def infer(images: Iterator[Image]) -> Iterator[DepthMap]:
        return infer_depth(golden_model, images, 28, fp32)

    with caplog.at_level(logging.INFO):
        found = list(by_windows(infer, CutDetector())(iter(frames)))
    assert "scene cut at 1.50 s" in caplog.text
    expected = [depth for shot in shots for depth in infer(iter(shot))]
    np.testing.assert_array_equal(np.stack(found), np.stack(expected))
    whole = list(by_windows(infer)(iter(frames)))
    assert np.abs(whole[36] - expected[36]).max() > 0.01


def test_the_command_finds_cuts(shots: tuple[np.ndarray, np.ndarray], checkpoint: Path, tmp_path: Path) -> None:
    folder = tmp_path / "images"
    folder.mkdir()
    for index, image in enumerate(np.concatenate(shots)):
        cv2.imwrite(str(folder / f"{index:03d}.png"), image[..., ::-1])
    out = tmp_path / "out"
    flags = ("--checkpoint", checkpoint, "-o", out, "--save", "npz", *SMALL, "--input_size", "28")
    result = run("--input_video", folder, "--reset_on_cut", *flags)
    assert result.returncode == 0, result.stderr
    assert "scene cut at 1.50 s" in result.stderr
    depths = np.load(out / "images_depths.npz")["depths"]
    alone = tmp_path / "alone"
    alone.mkdir()
    for path in sorted(folder.iterdir())[36:]:
        path.rename(alone / path.name)
    assert run("--input_video", alone, *flags).returncode == 0
    np.testing.assert_array_equal(depths[36:], np.load(out / "alone_depths.npz")["depths"])
