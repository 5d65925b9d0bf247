"""NYU Depth v2 scenes, exported with its toolbox to numbered files: <scene>/rgb/N.jpg and <scene>/depth/N.png."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from benchmark.raw_datasets.scenes import RawFrame, RawScene, files, folder, scene_folders

SCENES = (
    "basement_0001a",
    "bookstore_0001a",
    "cafe_0001a",
    "classroom_0001a",
    "kitchen_0003",
    "office_0004",
    "playroom_0002",
    "study_0002",
)


def nyuv2_scenes(root: Path, names: Sequence[str] | None = SCENES) -> Iterator[RawScene]:
    """Scenes with their frames in the order of the numbers."""
    for scene in scene_folders(root, f"folders such as {SCENES[0]}", names):
        images = files(folder(scene / "rgb", "1.jpg, 2.jpg and so on"), "*.jpg")
        yield RawScene(
            scene.name,
            tuple(
                RawFrame(
                    image,
                    scene / "depth" / f"{image.stem}.png",
                    f"{scene.name}/rgb/{image.name}",
                    f"{scene.name}/depth/{image.stem}.png",
                )
                for image in images
            ),
        )
