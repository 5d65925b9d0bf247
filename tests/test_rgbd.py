"""RGB-D folders: what is written comes back, and what is damaged is named."""

from __future__ import annotations

import json
from collections.abc import Sequence
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
    (folder / "rgb" / "00002.png").unlink()
    with pytest.raises(InputError, match="3 poses for 2 images"):
        open_rgbd_folder(folder)
    (folder / "intrinsics.txt").write_text("one two three")
    with pytest.raises(InputError, match=r"intrinsics\.txt"):
        open_rgbd_folder(folder)


def recording(folder: Path, images: Sequence[str], depths: Sequence[str], poses: int = 0) -> Path:
    """A folder whose depth k is k metres, and pose k at x = k, counted in the order given."""
    for part in ("rgb", "depth"):
        (folder / part).mkdir(parents=True)
    for name in images:
        cv2.imwrite(str(folder / "rgb" / name), np.zeros((4, 4, 3), np.uint8))
    for number, name in enumerate(depths):
        cv2.imwrite(str(folder / "depth" / name), np.full((4, 4), 1000 * number, np.uint16))
    np.savetxt(folder / "intrinsics.txt", np.eye(3))
    if poses:
        placed = np.stack([np.eye(4)] * poses)
        placed[:, 0, 3] = range(poses)
        np.savetxt(folder / "poses.txt", placed.reshape(poses, 16))
    return folder


def test_frames_are_in_natural_order(tmp_path: Path) -> None:
    names = [f"{number}.png" for number in range(12)]
    found = open_rgbd_folder(recording(tmp_path / "a", names, names, poses=12))
    assert [path.name for path in found.images] == [path.name for path in found.depths] == names
    assert [found.depth(index)[0, 0] for index in (1, 2, 10)] == [1, 2, 10]
    assert found.poses is not None and found.poses[:, 0, 3].tolist() == list(range(12))


@pytest.mark.parametrize("poses", [0, 3, 4])
def test_pairs_have_one_name_and_the_rest_is_named_in_one_line(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, poses: int
) -> None:
    images = ["0001.jpg", "0002.jpg", "0004.jpg", "0005.jpg"]
    found = open_rgbd_folder(recording(tmp_path / "a", images, ["0001.png", "0002.png", "0003.png", "0005.png"], poses))
    assert [path.stem for path in found.images] == [path.stem for path in found.depths] == ["0001", "0002", "0005"]
    assert found.depth(2)[0, 0] == 3
    (line,) = caplog.messages
    assert "rgb/0004.jpg" in line and "depth/0003.png" in line and "0005" not in line
    if poses:
        # Four poses are those of the four images, of which the third is left out.
        assert found.poses is not None and found.poses[:, 0, 3].tolist() == ([0, 1, 2] if poses == 3 else [0, 1, 3])


def test_numbers_make_pairs_where_names_differ(tmp_path: Path) -> None:
    images, depths = ([f"frame-{number:06d}.{part}.png" for number in (3, 1, 2)] for part in ("color", "depth"))
    found = open_rgbd_folder(recording(tmp_path / "a", images, depths))
    assert [found.depth(index)[0, 0] for index in range(3)] == [1, 2, 0]
    with pytest.raises(InputError, match="no image in rgb/"):
        open_rgbd_folder(recording(tmp_path / "b", ["1305.16.png"], ["1305.17.png"]))
    with pytest.raises(InputError, match="same name"):
        open_rgbd_folder(recording(tmp_path / "c", ["1.png", "1.jpg"], ["1.png"]))
