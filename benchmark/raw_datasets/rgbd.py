"""RGB-D folders of one's own: rgb/, depth/, intrinsics.txt, poses.txt, optionally meta.json."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from benchmark.raw_datasets.scenes import RawFrame, RawScene, scene_folders
from benchmark.rgbd import RgbdFolder, open_rgbd_folder


def rgbd_scenes(root: Path, names: Sequence[str] | None = None, num_frames: int | None = None) -> Iterator[RawScene]:
    """Recordings in a folder, or the folder itself if it is one."""
    is_recording = (root / "rgb").is_dir()
    for path in [root] if is_recording else scene_folders(root, "folders with rgb/ and depth/", names):
        recording = open_rgbd_folder(path)
        name = path.resolve().name
        frames = tuple(_frame(recording, name, index) for index in range(len(recording))[:num_frames])
        yield RawScene(name, frames)


def _frame(recording: RgbdFolder, scene: str, index: int) -> RawFrame:
    image, depth = recording.images[index], recording.depths[index]
    return RawFrame(
        image,
        depth,
        f"{scene}/rgb/{image.name}",
        f"{scene}/depth/{depth.name}",
        factor=recording.units_per_metre,
        intrinsics=recording.intrinsics.tolist(),
        pose=None if recording.poses is None else recording.poses[index].tolist(),
    )
