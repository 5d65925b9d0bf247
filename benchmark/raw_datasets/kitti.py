"""KITTI as downloaded: raw drives <date>/<drive>/image_02/data/, and the annotated depth val/<drive>/proj_depth/."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from benchmark.raw_datasets.scenes import RawFrame, RawScene, files, scene_folders
from video_depth_anything.errors import InputError

DEPTH_FOLDERS = ("data_depth_annotated/val", "depth/val", "val")
DATE_LENGTH = len("2011_09_26")


def find_depth_root(root: Path) -> Path:
    """Folder of the validation drives' depth below `root`.

    Raises:
        InputError: if it is in none of the usual places.
    """
    for name in DEPTH_FOLDERS:
        if (root / name).is_dir():
            return root / name
    raise InputError(f"{root}: none of {', '.join(DEPTH_FOLDERS)} found; pass it with --depth_root")


def kitti_scenes(root: Path, depth_root: Path, names: Sequence[str] | None = None) -> Iterator[RawScene]:
    """The validation drives, the frames that have depth: the left colour camera."""
    for drive in scene_folders(depth_root, "drives of data_depth_annotated.zip", names):
        frames = []
        for depth in files(drive / "proj_depth" / "groundtruth" / "image_02", "*.png"):
            image = root / drive.name[:DATE_LENGTH] / drive.name / "image_02" / "data" / depth.name
            frames.append(RawFrame(image, depth, f"{drive.name}/rgb/{depth.name}", f"{drive.name}/depth/{depth.name}"))
        yield RawScene(drive.name, tuple(frames))
