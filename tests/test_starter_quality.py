"""Quality on recordings: baselines against what is known of them, the table, and the copy without motion."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from benchmark.baselines import plane_disparity
from benchmark.rgbd import open_rgbd_folder
from starter.evaluate import as_markdown, averaged, measure, without_motion
from training.clips import Clip
from training.sources import read_frames
from video_depth_anything.video_depth import VideoDepthAnything


def test_the_plane_baseline_finds_a_plane() -> None:
    y, x = np.mgrid[0:20, 0:30]
    disparity = 0.2 + 0.01 * x + 0.02 * y
    depth = np.stack([1 / disparity] * 3).astype(np.float32)
    depth[:, 5:9, 5:9] = 0  # unknown pixels do not matter
    found = plane_disparity(depth, 10)
    np.testing.assert_allclose(found[1], disparity, rtol=1e-5)


def test_a_recording_is_measured(rgbd_folder: Path) -> None:
    clip = read_frames(open_rgbd_folder(rgbd_folder), range(4))
    rows = measure("wall", clip, {"right": lambda _: 3 / clip.depth + 1}, 10)
    by_method = {row.method: row for row in rows}
    # The recording is a slanted wall that is linear in depth, so nearly a plane in disparity.
    assert by_method["plane"].delta1 > 0.99 > by_method["constant"].delta1
    assert by_method["plane"].abs_rel < by_method["constant"].abs_rel
    assert by_method["right"].delta1 == 1 and by_method["right"].abs_rel < 1e-5
    assert all(row.frames == 4 and row.tae is not None for row in rows)
    other = [row._replace(recording="other", delta1=0.0) for row in rows]
    assert averaged([*rows, *other], "mean", 0)[2].delta1 == 0.5
    assert as_markdown([*rows, *other]).count("| mean |") == 3


def test_one_fit_for_all_frames_sees_their_scales_and_boundaries_forgive_them_but_not_blur() -> None:
    depth = np.full((2, 24, 32), 4, np.float32)
    depth[0, 8:16, 8:20], depth[1, 8:16, 8:20] = 1, 2
    clip = Clip(np.zeros((2, 24, 32, 3), np.uint8), depth, np.eye(3), None)
    right = np.stack([3 / depth[0], 15 / depth[1]])
    found = measure("steps", clip, {"scaled": lambda _: right}, 10)[2]
    assert found.f1 == 1 and found.delta1 < 0.9
    blurred = [cv2.GaussianBlur(x, (0, 0), 3) for x in 1 / depth]
    f1 = measure("steps", clip, {"blurred": lambda _: blurred}, 10)[2].f1
    assert f1 == pytest.approx(0, abs=0.3)


def test_switched_off_motion_makes_frames_independent(golden_model: VideoDepthAnything) -> None:
    silent = without_motion(golden_model)
    frames = torch.randn(1, 3, 3, 28, 42, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        together = silent(frames)
        alone = torch.cat([silent(frames[:, t : t + 1]) for t in range(3)], dim=1)
        mixed = golden_model(frames)
    torch.testing.assert_close(together, alone, rtol=1e-4, atol=1e-4)
    assert (mixed - together).abs().max() > 0.01  # and the given network was not changed
