"""Bonn RGB-D Dynamic as downloaded: rgbd_bonn_*/ with rgb.txt and depth.txt, lists of times and file names."""

from __future__ import annotations

import bisect
from collections.abc import Iterator, Sequence
from pathlib import Path

from benchmark.raw_datasets.scenes import RawFrame, RawScene, scene_folders
from video_depth_anything.errors import InputError

# The five that DepthCrafter (Hu et al., arXiv:2409.02095) chose, and all since.
SCENES = tuple(f"rgbd_bonn_{name}" for name in ("balloon2", "crowd2", "crowd3", "person_tracking", "synchronous"))
# Of the 33 ms between two frames. The TUM tools, whose format this is, take the same.
MAX_DIFFERENCE = 0.02

Timed = list[tuple[float, str]]


def read_times(path: Path) -> Timed:
    """Times in seconds and file names from a list in TUM's format, in the order of time; # begins a comment."""
    try:
        lines = [line.split() for line in path.read_text().splitlines() if line.strip() and not line.startswith("#")]
        return sorted((float(time), name) for time, name, *_ in lines)
    except FileNotFoundError as error:
        raise InputError(f"{path} not found; each scene's folder holds rgb.txt and depth.txt") from error
    except ValueError as error:
        raise InputError(f"{path}: each line must hold a time and a file name") from error


def pair_by_time(images: Timed, depths: Timed, max_difference: float = MAX_DIFFERENCE) -> list[tuple[str, str]]:
    """Pairs of images and depths; the nearest times are paired first, and each name is used at most once."""
    times = [time for time, _ in depths]
    candidates = []
    for i, (time, _) in enumerate(images):
        first = bisect.bisect_left(times, time - max_difference)
        last = bisect.bisect_right(times, time + max_difference)
        candidates += [(abs(times[j] - time), i, j) for j in range(first, last)]
    partner: dict[int, int] = {}
    taken: set[int] = set()
    for _, i, j in sorted(candidates):
        if i not in partner and j not in taken:
            partner[i] = j
            taken.add(j)
    return [(images[i][1], depths[j][1]) for i, j in sorted(partner.items())]


def bonn_scenes(root: Path, names: Sequence[str] | None = SCENES) -> Iterator[RawScene]:
    """Scenes with rgb and depth paired by time; images without a depth near them are left out."""
    for scene in scene_folders(root, "folders rgbd_bonn_*", names):
        pairs = pair_by_time(read_times(scene / "rgb.txt"), read_times(scene / "depth.txt"))
        if not pairs:
            raise InputError(f"{scene}: no times of rgb.txt and depth.txt are within {MAX_DIFFERENCE} seconds")
        yield RawScene(
            scene.name,
            tuple(
                RawFrame(scene / image, scene / depth, f"{scene.name}/{image}", f"{scene.name}/{depth}")
                for image, depth in pairs
            ),
        )
