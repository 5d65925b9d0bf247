"""ScanNet scenes as ScanNet's own reader exports its .sens files: color/, depth/, pose/, intrinsic/."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from benchmark.raw_datasets.scenes import RawFrame, RawScene, files, read_matrix, scene_folders

NUM_SCENES = 100
NUM_FRAMES = 510


def scannet_scenes(root: Path, names: Sequence[str] | None = None) -> Iterator[RawScene]:
    """The first 510 frames of the first 100 scenes by name, or of those named. Lost poses hold infinities."""
    for scene in scene_folders(root, "folders scene*_*", names)[:NUM_SCENES]:
        intrinsics = read_matrix(scene / "intrinsic" / "intrinsic_depth.txt").tolist()
        frames = []
        for image in files(scene / "color", "*.jpg")[:NUM_FRAMES]:
            pose = read_matrix(scene / "pose" / f"{image.stem}.txt").tolist()
            frames.append(
                RawFrame(
                    image,
                    scene / "depth" / f"{image.stem}.png",
                    f"{scene.name}/color/{image.name}",
                    f"{scene.name}/depth/{image.stem}.png",
                    f"{scene.name}/color_origin/{image.name}",
                    intrinsics=intrinsics,
                    pose=pose,
                )
            )
        yield RawScene(scene.name, tuple(frames))
