"""Miniatures of the benchmark's datasets in their own download layouts and file formats, from one rendered clip."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from benchmark.datasets import EVALUATION_SETS, TAE_SETS
from benchmark.index import Frame, prediction_path, scenes_of
from benchmark.raw_datasets.sintel import TAG
from training.clips import Clip

Array = npt.NDArray[Any]
ROOT = Path(__file__).resolve().parents[1]
SINTEL_SCENE, KITTI_SCENE, BONN_SCENE = "alley_1", "2011_09_26_drive_0002_sync", "rgbd_bonn_crowd2"
SCANNET_SCENE, NYUV2_SCENE, RGBD_SCENE = "scene0000_00", "kitchen_0003", "desk"
SCENES = {
    "sintel": SINTEL_SCENE,
    "kitti": KITTI_SCENE,
    "bonn": BONN_SCENE,
    "scannet": SCANNET_SCENE,
    "nyuv2": NYUV2_SCENE,
    "rgbd": RGBD_SCENE,
}
# The protocol's first Bonn frame is the 30th.
BONN_FRAMES = 33


def run_script(script: str, *arguments: str | Path) -> subprocess.CompletedProcess[str]:
    """Run a script of the benchmark as a user does."""
    command = [sys.executable, str(ROOT / "benchmark" / script), *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=300)


def image_file(path: Path, image: Array) -> None:
    """Write RGB or 16-bit gray."""
    path.parent.mkdir(parents=True, exist_ok=True)
    quality = [cv2.IMWRITE_JPEG_QUALITY, 98] if path.suffix == ".jpg" else []
    assert cv2.imwrite(str(path), image[..., ::-1] if image.ndim == 3 else image, quality)


def png16(depth: Array, factor: float) -> npt.NDArray[np.uint16]:
    return np.asarray(np.rint(depth * factor), dtype=np.uint16)


def text_file(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def matrix_text(matrix: Array) -> str:
    return "\n".join(" ".join(f"{value:.9f}" for value in row) for row in matrix) + "\n"


def sintel(clip: Clip, root: Path) -> None:
    """MPI Sintel's complete and depth archives: .dpt and .cam are binary, a camera file holds world to camera."""
    tag = np.float32(TAG).tobytes()
    for k, (image, depth, pose) in enumerate(zip(clip.images, clip.depth, clip.poses), start=1):  # type: ignore[arg-type]
        name = f"{SINTEL_SCENE}/frame_{k:04d}"
        for render_pass in ("clean", "final"):
            image_file(root / f"training/{render_pass}/{name}.png", image)
        size = np.array(depth.shape[::-1], "<i4").tobytes()
        for folder, data in (("depth", size + depth.astype("<f4").tobytes()), ("camdata_left", camera(clip, pose))):
            path = root / f"training/{folder}/{name}.{'dpt' if folder == 'depth' else 'cam'}"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(tag + data)


def camera(clip: Clip, pose: Array) -> bytes:
    return clip.intrinsics.astype("<f8").tobytes() + np.linalg.inv(pose)[:3].astype("<f8").tobytes()


def kitti(clip: Clip, root: Path) -> None:
    """Raw drives by date, and annotated depth: 16-bit PNG, 256 a metre, sparse, without the drive's first frames."""
    drive = root / KITTI_SCENE[:10] / KITTI_SCENE
    for k, (image, depth) in enumerate(zip(clip.images, clip.depth)):
        image_file(drive / "image_02" / "data" / f"{k:010d}.png", image[:-1, :-1])
        if k >= 2:
            sparse = depth[:-1, :-1] * (np.arange(depth.shape[1] - 1) % 2)
            path = root / "val" / KITTI_SCENE / "proj_depth" / "groundtruth" / "image_02" / f"{k:010d}.png"
            image_file(path, png16(sparse, 256))


def bonn(clip: Clip, root: Path) -> None:
    """TUM's format: lists with times; depth is 7 ms late, once missing, and its names are times of their own."""
    scene = root / BONN_SCENE
    lists: dict[str, list[str]] = {"rgb": ["# color images"], "depth": ["# depth maps"]}
    length = len(clip.images)
    for k in range(BONN_FRAMES + 1):
        time, frame = 1548339000.0 + k / 30, frame_of_bonn(k, length)
        image_file(scene / f"rgb/{time:.5f}.png", clip.images[frame])
        lists["rgb"].append(f"{time:.5f} rgb/{time:.5f}.png")
        if k != 3:
            late = time + 0.007
            image_file(scene / f"depth/{late:.5f}.png", png16(clip.depth[frame], 5000))
            lists["depth"].append(f"{late:.5f} depth/{late:.5f}.png")
    for name, lines in lists.items():
        text_file(scene / f"{name}.txt", "\n".join(lines) + "\n")


def frame_of_bonn(k: int, length: int) -> int:
    """Which frame of the clip the k-th Bonn image shows: there and back."""
    return min(k % (2 * length), 2 * length - 1 - k % (2 * length))


def scannet(clip: Clip, root: Path) -> None:
    """What ScanNet's reader exports; numbers without leading zeros, and one camera that was lost."""
    scene = root / SCANNET_SCENE
    camera = np.eye(4)
    camera[:3, :3] = clip.intrinsics
    text_file(scene / "intrinsic" / "intrinsic_depth.txt", matrix_text(camera))
    assert clip.poses is not None
    for k, (image, depth, pose) in enumerate(zip(clip.images, clip.depth, clip.poses)):
        image_file(scene / "color" / f"{k}.jpg", image)
        image_file(scene / "depth" / f"{k}.png", png16(depth, 1000))
        text_file(scene / "pose" / f"{k}.txt", matrix_text(np.full((4, 4), -np.inf) if k == 0 else pose))


def nyuv2(clip: Clip, root: Path) -> None:
    """Scenes that the toolbox exported: numbered from 1, 6000 a metre."""
    for k, (image, depth) in enumerate(zip(clip.images, clip.depth), start=1):
        image_file(root / NYUV2_SCENE / "rgb" / f"{k}.jpg", image)
        image_file(root / NYUV2_SCENE / "depth" / f"{k}.png", png16(depth, 6000))


def rgbd(clip: Clip, root: Path) -> None:
    """An RGB-D folder."""
    assert clip.poses is not None
    scene = root / RGBD_SCENE
    for k, (image, depth) in enumerate(zip(clip.images, clip.depth)):
        image_file(scene / "rgb" / f"{k:05d}.png", image)
        image_file(scene / "depth" / f"{k:05d}.png", png16(depth, 2000))
    text_file(scene / "intrinsics.txt", matrix_text(clip.intrinsics))
    text_file(scene / "poses.txt", matrix_text(clip.poses.reshape(len(clip.poses), 16)))
    text_file(scene / "meta.json", '{"depth_png_units_per_metre": 2000}')


WRITERS = {"sintel": sintel, "kitti": kitti, "bonn": bonn, "scannet": scannet, "nyuv2": nyuv2, "rgbd": rgbd}


# One index for each dataset, and the TAE's where it has images of its own.
INDICES = {
    "sintel": "sintel",
    "kitti": "kitti",
    "bonn": "bonn",
    "scannet": "scannet",
    "nyuv2_500": "nyuv2",
    "rgbd": "rgbd",
}


def index_path(extracted: Path, evaluation: str) -> Path:
    entry = EVALUATION_SETS[evaluation]
    return extracted / entry.dataset / entry.index


def all_indices(extracted: Path) -> list[Path]:
    tae = TAE_SETS["scannet"]
    return [*(index_path(extracted, name) for name in INDICES), extracted / tae.dataset / tae.index]


def result_of(folder: Path, name: str) -> Any:
    return json.loads((folder / f"results_{name}.json").read_text())


def true_disparity(index: Path, frame: Frame) -> npt.NDArray[np.float32]:
    """1/metres of the part that the image shows, 0 where it is not known."""
    crop = np.s_[:, :] if index.name.endswith("_tae.json") else _image_crop(index.parent.name)
    depth = cv2.imread(str(index.parent / frame.gt_depth), cv2.IMREAD_UNCHANGED)
    assert depth is not None
    metres = depth[crop].astype(np.float64) / frame.factor
    return np.divide(1, metres, out=np.zeros_like(metres), where=metres > 0).astype(np.float32)


def _image_crop(dataset: str) -> tuple[slice, slice]:
    crops = {"scannet": np.s_[8:-8, 11:-11], "nyuv2": np.s_[45:471, 41:601]}
    return crops.get(dataset, np.s_[:, :])


def write_perfect(extracted: Path, out: Path) -> None:
    """Ground truth as predictions: disparity, of the part that the images show."""
    for index in all_indices(extracted):
        for scene in scenes_of(index, index.parent.name):
            for frame in scene.frames:
                path = prediction_path(out, index.parent.name, frame.image)
                path.parent.mkdir(parents=True, exist_ok=True)
                np.save(path, true_disparity(index, frame))
