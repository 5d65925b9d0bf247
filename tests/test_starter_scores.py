"""What a score says of a right map, of one with the right shape at another scale, and of a blurred one."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

pytest.importorskip("open3d")

from starter.scenes.render import SceneOptions
from starter.scores import Frame, rendered_frames, score


def steps(near: float) -> Frame:
    depth = np.full((24, 32), 4, np.float32)
    depth[8:16, 8:20] = near
    return Frame(np.zeros((24, 32, 3), np.uint8), depth)


def test_a_fit_a_frame_forgives_scale_and_shift_but_not_blur() -> None:
    frames = [steps(1), steps(2)]
    right = [3 / frame.depth + k + 1 for k, frame in enumerate(frames)]
    assert score(right, frames, 10, one_fit=False) == (1, 1)
    blurred = [cv2.GaussianBlur(x, (0, 0), 3) for x in right]
    assert score(blurred, frames, 10, one_fit=False).boundary_f1 < 0.3


def test_one_fit_for_all_frames_sees_that_their_scales_differ() -> None:
    frames = [steps(1), steps(2)]
    unlike = [1 / frames[0].depth, 5 / frames[1].depth]
    assert score(unlike, frames, 10, one_fit=True).delta1 < 0.9
    assert score([1 / f.depth for f in frames], frames, 10, one_fit=True).delta1 == pytest.approx(1)


def test_rendered_frames_are_kept(tmp_path: Path) -> None:
    options = SceneOptions(kinds=("structure",), height=28, width=42)
    first = rendered_frames(2, options, tmp_path / "kept.npz")
    again = rendered_frames(1, options, tmp_path / "kept.npz")
    assert len(again) == 1 and (again[0].depth == first[0].depth).all() and (again[0].image == first[0].image).all()
