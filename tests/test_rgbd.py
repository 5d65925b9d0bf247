"""RGB-D folders: what is written comes back, and what is damaged is named."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
import pytest

from benchmark.rgbd import open_rgbd_folder
from video_depth_anything.errors import InputError


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for part in ("rgb", "depth"):
        (tmp_path / part).mkdir()
    for index in range(3):
        image = np.zeros((6, 8, 3), np.uint8)
        image[..., 2] = 200  # OpenCV writes BGR: this is red
        cv2.imwrite(str(tmp_path / "rgb" / f"{index:05d}.png"), image)
        cv2.imwrite(str(tmp_path / "depth" / f"{index:05d}.png"), np.full((6, 8), 1500 + index, np.uint16))
    np.savetxt(tmp_path / "intrinsics.txt", [[7, 0, 4], [0, 7, 3], [0, 0, 1]])
    np.savetxt(tmp_path / "poses.txt", np.stack([np.eye(4)] * 3).reshape(3, 16), header="camera to world")
    (tmp_path / "meta.json").write_text(json.dumps({"depth_png_units_per_metre": 500}))
    return tmp_path


def test_frames_come_back_in_metres_and_rgb(folder: Path) -> None:
    recording = open_rgbd_folder(folder)
    assert len(recording) == 3
    assert recording.image(1)[0, 0].tolist() == [200, 0, 0]
    np.testing.assert_allclose(recording.depth(2), 1502 / 500, rtol=1e-6)
    assert recording.intrinsics[0, 0] == 7
    assert recording.poses is not None
    assert recording.poses.shape == (3, 4, 4)


def test_without_poses_and_meta_depth_is_in_millimetres(folder: Path) -> None:
    (folder / "poses.txt").unlink()
    (folder / "meta.json").unlink()
    recording = open_rgbd_folder(folder)
    assert recording.poses is None
    np.testing.assert_allclose(recording.depth(0), 1.5, rtol=1e-6)


def test_damage_is_named(folder: Path) -> None:
    (folder / "depth" / "00001.png").write_bytes(b"nonsense")
    with pytest.raises(InputError, match=r"00001\.png"):
        open_rgbd_folder(folder).depth(1)
    (folder / "depth" / "00002.png").unlink()
    with pytest.raises(InputError, match="3 images in rgb/ but 2"):
        open_rgbd_folder(folder)
    (folder / "rgb" / "00002.png").unlink()
    with pytest.raises(InputError, match="3 poses for 2 images"):
        open_rgbd_folder(folder)
    (folder / "intrinsics.txt").write_text("one two three")
    with pytest.raises(InputError, match=r"intrinsics\.txt"):
        open_rgbd_folder(folder)
