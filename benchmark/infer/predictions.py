"""Predictions on disk: one .npy a frame, and beside them how they were made. Knows no network."""

from __future__ import annotations

import json
import logging
import platform
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from benchmark.index import Scene, prediction_path
from video_depth_anything.errors import InputError, OutputError
from video_depth_anything.files import whole_file

logger = logging.getLogger(__name__)

Image = npt.NDArray[np.uint8]
DepthMap = npt.NDArray[np.float32]
Predict = Callable[[Iterator[Image]], Iterable[DepthMap]]


@dataclass
class Provenance:
    """How the predictions for one index file were made.

    Attributes:
        index: name of the file.
        settings: what decides their values: checkpoint and its hash, encoder, input size and so on.
        folders: where the images lie, to tell whether two index files list the same ones.
        versions: of Python and the libraries.
        place: folder of all predictions that these lie in; "" for the dataset's name.
    """

    index: str
    settings: dict[str, Any]
    folders: list[str]
    versions: dict[str, str] = field(default_factory=dict)
    place: str = ""


def provenance_path(infer_path: Path, dataset: str, index: Path) -> Path:
    """Where the provenance of predictions for an index file lies."""
    return infer_path / dataset / f"inference_{index.stem}.json"


def predictions_place(infer_path: Path, dataset: str, index: Path) -> str:
    """Folder in `infer_path` of an index file's predictions: what their note says, else the dataset's name."""
    note = read_provenance(provenance_path(infer_path, dataset, index))
    return (note.place if note is not None else "") or dataset


def read_provenance(path: Path) -> Provenance | None:
    """Provenance in a file, None if there is none: other systems' predictions come without."""
    if not path.exists():
        return None
    try:
        return Provenance(**json.loads(path.read_text()))
    except (ValueError, TypeError) as error:
        raise InputError(f"{path} is damaged ({error}); remove it, and the predictions beside it") from error


def versions() -> dict[str, str]:
    """Versions of Python and of the libraries that decide results."""
    return {
        "python": platform.python_version(),
        **{name: version(name) for name in ("torch", "numpy")},
        "opencv": cv2.__version__,  # several packages bring it
    }


def read_frames(root: Path, scene: Scene) -> Iterator[Image]:
    """Images of a scene one by one: (H, W, 3) uint8 RGB."""
    size: tuple[int, ...] | None = None
    for frame in scene.frames:
        path = root / frame.image
        image = cv2.imread(str(path), cv2.IMREAD_COLOR) if path.is_file() else None
        if image is None:
            raise InputError(f"{path}: {'not an image that can be read' if path.is_file() else 'not found'}")
        if size is not None and image.shape != size:
            raise InputError(
                f"{path} is {image.shape[1]}x{image.shape[0]}, but the first frame of its scene has another size"
            )
        size = image.shape
        yield np.ascontiguousarray(image[..., ::-1], dtype=np.uint8)


class SceneWriter:
    """Writes the predictions for the scenes of one index file, and a note of how they were made.

    They go to the folder of the dataset's name, or, if that has predictions of the same images for another index file,
    beside it, to one of this index file's name. What was there for this index file is removed, unless `resume` is set.

    Args:
        infer_path: folder of all predictions.
        dataset: key in the index file.
        index: the file.
        scenes: its scenes.
        settings: what decides the values.
        resume: keep the predictions that an earlier run with the same settings left.

    Raises:
        OutputError: if predictions with other settings are there and `resume` is set.
    """

    def __init__(
        self,
        infer_path: Path,
        dataset: str,
        index: Path,
        scenes: Sequence[Scene],
        settings: dict[str, Any],
        resume: bool,
    ) -> None:
        self._infer_path = infer_path
        self._dataset = dataset
        self._path = provenance_path(infer_path, dataset, index)
        self._provenance = note = Provenance(index.name, settings, image_folders(scenes), versions())
        before = read_provenance(self._path)
        # Once chosen it stays, also if the other index file's predictions are gone since.
        note.place = (before.place or dataset) if before is not None else self._free_place(index)
        if resume and before is not None:
            changed = sorted(k for k, v in settings.items() if before.settings.get(k) != v)
            if changed:
                raise OutputError(
                    f"{self._path} was made with other settings ({', '.join(changed)}); "
                    "omit --resume to start over, or choose another --infer_path"
                )
            return
        for frame in (frame for scene in scenes for frame in scene.frames):
            self._prediction(frame.image).unlink(missing_ok=True)
        self._path.parent.mkdir(parents=True, exist_ok=True)
        with whole_file(self._path) as partial:
            partial.write_text(json.dumps(asdict(note), indent=1) + "\n")

    def _free_place(self, index: Path) -> str:
        for other in sorted(self._path.parent.glob("inference_*.json")):
            found = read_provenance(other)
            shared = found is not None and set(found.folders) & set(self._provenance.folders)
            if found is not None and shared and (found.place or self._dataset) == self._dataset:
                beside = self._infer_path / index.stem
                logger.info("%s has predictions for %s; these go to %s", self._path.parent, found.index, beside)
                return index.stem
        return self._dataset

    def _prediction(self, image: str) -> Path:
        return prediction_path(self._infer_path, self._provenance.place, image)

    def finished(self, scene: Scene) -> bool:
        """Whether all predictions of a scene are there."""
        return all(self._prediction(frame.image).is_file() for frame in scene.frames)

    def write(self, scene: Scene, depths: Iterable[DepthMap]) -> Iterator[Path]:
        """Write depth maps (H, W) float32 as they come, one a frame; yields each file when it is whole."""
        count = 0
        for depth in depths:
            path = self._prediction(scene.frames[count].image)
            path.parent.mkdir(parents=True, exist_ok=True)
            with whole_file(path) as partial:
                np.save(partial, depth.astype(np.float32, copy=False))
            count += 1
            yield path
        if count != len(scene.frames):
            raise InputError(f"{scene.name}: {count} predictions for {len(scene.frames)} frames")


def image_folders(scenes: Sequence[Scene]) -> list[str]:
    """Folders that the images of some scenes lie in, relative to the index file."""
    return sorted({Path(frame.image).parent.as_posix() for scene in scenes for frame in scene.frames})


def run_scenes(
    root: Path, scenes: Sequence[Scene], predict: Predict, writer: SceneWriter, advance: Callable[[], None]
) -> None:
    """Predict scenes one after the other; memory does not grow with their length."""
    for scene in scenes:
        if writer.finished(scene):
            for _ in scene.frames:
                advance()
            continue
        for _ in writer.write(scene, predict(read_frames(root, scene))):
            advance()
