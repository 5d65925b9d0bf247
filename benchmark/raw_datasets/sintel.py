"""MPI Sintel as downloaded: training/{clean,final}/, training/depth/*.dpt, training/camdata_left/*.cam."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from benchmark.raw_datasets.scenes import RawFrame, RawScene, files, folder, scene_folders
from video_depth_anything.errors import InputError

# Both kinds of file begin with this number, by which a wrong byte order would be seen.
TAG = 202021.25


def read_dpt(path: Path) -> npt.NDArray[np.float32]:
    """Depth (H, W) float32 in metres from a .dpt file: tag, width and height, then rows, little-endian."""
    data = path.read_bytes()
    tag = np.frombuffer(data[:4], "<f4")
    width, height = np.frombuffer(data[4:12], "<i4").tolist() if len(data) >= 12 else (0, 0)
    if tag.size != 1 or float(tag[0]) != TAG or len(data) != 12 + 4 * width * height or not width * height > 0:
        raise InputError(f"{path}: not a Sintel .dpt file, or cut short")
    return np.frombuffer(data[12:], "<f4").reshape(height, width).astype(np.float32)


def read_cam(path: Path) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Intrinsics (3, 3) and camera-to-world pose (4, 4) from a .cam file, which holds world-to-camera."""
    data = path.read_bytes()
    if len(data) != 4 + 8 * 21 or float(np.frombuffer(data[:4], "<f4")[0]) != TAG:
        raise InputError(f"{path}: not a Sintel .cam file, or cut short")
    numbers = np.frombuffer(data[4:], "<f8")
    world_to_camera = np.eye(4)
    world_to_camera[:3] = numbers[9:].reshape(3, 4)
    pose = np.asarray(np.linalg.inv(world_to_camera), dtype=np.float64)
    return numbers[:9].reshape(3, 3).astype(np.float64), pose


def sintel_scenes(root: Path, render_pass: str = "clean", names: Sequence[str] | None = None) -> Iterator[RawScene]:
    """Scenes of the folder that both archives were unpacked in; the pass "final" has motion blur and atmosphere."""
    base = root / "training" if (root / "training").is_dir() else root
    depths, cameras = (folder(base / part, "MPI-Sintel-depth-training") for part in ("depth", "camdata_left"))
    for scene in scene_folders(folder(base / render_pass, "MPI-Sintel-complete"), "scenes", names):
        frames = []
        for image in files(scene, "frame_*.png"):
            intrinsics, pose = read_cam(cameras / scene.name / f"{image.stem}.cam")
            frames.append(
                RawFrame(
                    image,
                    depths / scene.name / f"{image.stem}.dpt",
                    f"{render_pass}/{scene.name}/{image.name}",
                    f"depth/{scene.name}/{image.name}",
                    intrinsics=intrinsics.tolist(),
                    pose=pose.tolist(),
                )
            )
        yield RawScene(scene.name, tuple(frames))
