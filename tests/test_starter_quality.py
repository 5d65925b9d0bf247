"""Quality on recordings: baselines against what is known of them, the table, and the copy without motion."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch

from benchmark.baselines import plane_disparity
from benchmark.rgbd import open_rgbd_folder
from starter.quality import as_markdown, measure, without_motion
from video_depth_anything.device import Execution
from video_depth_anything.video_depth import VideoDepthAnything


def test_the_plane_baseline_finds_a_plane() -> None:
    y, x = np.mgrid[0:20, 0:30]
    disparity = 0.2 + 0.01 * x + 0.02 * y
    depth = np.stack([1 / disparity] * 3).astype(np.float32)
    depth[:, 5:9, 5:9] = 0  # unknown pixels do not matter
    found = plane_disparity(depth, 10)
    np.testing.assert_allclose(found[1], disparity, rtol=1e-5)


def test_a_recording_is_measured(golden_model: VideoDepthAnything, rgbd_folder: Path, fp32: Execution) -> None:
    done: list[int] = []
    rows = measure(open_rgbd_folder(rgbd_folder), 4, {"image": golden_model}, 28, fp32, 10, lambda: done.append(1))
    assert len(done) == 4
    by_method = {row.method: row for row in rows}
    # The recording is a slanted wall that is linear in depth, so nearly a plane in disparity.
    assert by_method["plane"].delta1 > 0.99 > by_method["constant"].delta1
    assert by_method["plane"].abs_rel < by_method["constant"].abs_rel
    assert all(row.frames == 4 and row.tae is not None for row in rows)
    table = as_markdown([rows, rows])
    assert table.count("\n") == 2 + 3 * 3
    assert table.count("| mean |") == 3


def test_switched_off_motion_makes_frames_independent(golden_model: VideoDepthAnything) -> None:
    silent = without_motion(golden_model)
    frames = torch.randn(1, 3, 3, 28, 42, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        together = silent(frames)
        alone = torch.cat([silent(frames[:, t : t + 1]) for t in range(3)], dim=1)
        mixed = golden_model(frames)
    torch.testing.assert_close(together, alone, rtol=1e-4, atol=1e-4)
    assert (mixed - together).abs().max() > 0.01  # and the given network was not changed
