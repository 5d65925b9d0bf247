"""Index files: which image, ground truth and camera make a frame, and which frames a scene. No images are read."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from video_depth_anything.errors import InputError
from video_depth_anything.files import whole_file

Matrix = list[list[float]]


@dataclass(frozen=True)
class Frame:
    """One frame.

    Attributes:
        image: path relative to the index file.
        gt_depth: path of the ground truth, relative to the index file.
        factor: one metre in the ground truth's image.
        intrinsics: 3 x 3 or 4 x 4, in pixels of the uncropped ground truth; None where they are not known.
        pose: 4 x 4, camera to world in metres with OpenCV axes; None where it is not known; infinities if it is lost.
    """

    image: str
    gt_depth: str
    factor: float
    intrinsics: Matrix | None = None
    pose: Matrix | None = None


@dataclass(frozen=True)
class Scene:
    """Consecutive frames of one video."""

    name: str
    frames: tuple[Frame, ...]


def write_index(path: Path, dataset: str, scenes: Iterable[Scene]) -> None:
    """Write `{dataset: [{scene: [{"image", "gt_depth", "factor"[, "K", "pose"]}]}]}`, a frame a line."""
    listed = []
    for scene in scenes:
        lines = []
        for frame in scene.frames:
            entry = {"image": frame.image, "gt_depth": frame.gt_depth, "factor": frame.factor}
            known = {"K": frame.intrinsics, "pose": frame.pose}
            lines.append(json.dumps(entry | {key: value for key, value in known.items() if value is not None}))
        frames = ",\n".join(lines)
        listed.append(f"{{{json.dumps(scene.name)}: [\n{frames}]}}")
    text = ",\n".join(listed)
    with whole_file(path) as partial:
        partial.write_text(f"{{{json.dumps(dataset)}: [\n{text}]}}\n")


def read_index(path: Path) -> dict[str, list[Scene]]:
    """Scenes by dataset."""
    if not path.is_file():
        raise InputError(f"index file {path} not found; dataset_extract_*.py writes it beside the extracted images")
    try:
        content = json.loads(path.read_text())
        return {
            dataset: [Scene(name, tuple(map(_frame, entries))) for scene in scenes for name, entries in scene.items()]
            for dataset, scenes in content.items()
        }
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise InputError(f"{path} is not an index file ({type(error).__name__}: {error})") from error


def _frame(entry: dict[str, Any]) -> Frame:
    return Frame(str(entry["image"]), str(entry["gt_depth"]), float(entry["factor"]), entry.get("K"), entry.get("pose"))


def scenes_of(path: Path, dataset: str) -> list[Scene]:
    """Scenes of one dataset in an index file."""
    indexed = read_index(path)
    if not indexed.get(dataset):
        raise InputError(f"{path} has no scenes of {dataset!r}, only of {', '.join(indexed) or 'nothing'}")
    return indexed[dataset]


def prediction_path(infer_path: Path, place: str, image: str) -> Path:
    """Where the prediction for an image of the index lies."""
    return (infer_path / place / image).with_suffix(".npy")


def with_frames(scenes: Iterable[Scene], frames: slice) -> Iterator[Scene]:
    """The same scenes with a part of their frames."""
    return (Scene(scene.name, scene.frames[frames]) for scene in scenes)
