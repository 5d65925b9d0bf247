"""Ground truth and predictions of one scene, read from disk frame by frame."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import cv2
import numpy as np
import numpy.typing as npt

from benchmark.datasets import Crop
from benchmark.eval.metrics import FLOOR
from benchmark.eval.tae import Protocol
from benchmark.index import Frame, Scene, prediction_path
from video_depth_anything.errors import InputError

Array = npt.NDArray[Any]
Kind = Literal["disparity", "depth"]


@dataclass(frozen=True)
class PredictionSource:
    """Where predictions lie, and what they are.

    Attributes:
        infer_path: folder that infer.py wrote to, or another system's predictions in the same places.
        kind: disparity up to scale and shift (relative models), or depth in metres (metric models).
        hard_crop: they show the uncropped frame and are cropped like the ground truth.
        protocol: "paper" crops by the same number of pixels and then resizes, "corrected" resizes first.
        allow_missing: leave out frames without a prediction instead of failing.
        place: folder in `infer_path` that holds them; None for the dataset's name.
    """

    infer_path: Path
    kind: Kind = "disparity"
    hard_crop: bool = False
    protocol: Protocol = "paper"
    allow_missing: bool = False
    place: str | None = None


class Sequence:
    """Frames of a scene that have predictions, as pairs of cropped depth and disparity of the same size.

    Nothing is kept: each access reads the file. `root` is the folder of the index file.

    Raises:
        InputError: if predictions are missing and that is not allowed, or the ground truth is missing.
    """

    def __init__(self, scene: Scene, root: Path, dataset: str, crop: Crop, source: PredictionSource) -> None:
        self.name = scene.name
        self._root = root
        self._dataset = dataset
        self._crop = crop
        self._source = source
        missing = [frame for frame in scene.frames if not self._path(frame).is_file()]
        if missing and not source.allow_missing:
            raise InputError(
                f"{scene.name}: {len(missing)} of {len(scene.frames)} predictions are missing, the first is "
                f"{self._path(missing[0])}; run infer.py for this index file, or --allow_missing leaves them out"
            )
        self.num_missing = len(missing)
        left_out = {frame.image for frame in missing}
        self.frames = [frame for frame in scene.frames if frame.image not in left_out]

    def __len__(self) -> int:
        return len(self.frames)

    def _path(self, frame: Frame) -> Path:
        return prediction_path(self._source.infer_path, self._source.place or self._dataset, frame.image)

    def uncropped_truth(self, index: int) -> npt.NDArray[np.float64]:
        """True depth (H, W) float64 in metres, 0 where it is not known."""
        frame = self.frames[index]
        path = self._root / frame.gt_depth
        depth = cv2.imread(str(path), cv2.IMREAD_UNCHANGED) if path.is_file() else None
        if depth is None or depth.ndim != 2:
            raise InputError(f"{path}: {'not a depth image' if path.is_file() else 'ground truth not found'}")
        return depth.astype(np.float64) / frame.factor

    def pair(self, index: int) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
        """True depth in metres and predicted disparity of a frame, both (H, W) float64, cropped alike."""
        truth = self.uncropped_truth(index)
        prediction = self._prediction(self.frames[index])
        cropped = truth[self._crop.slices]
        if not cropped.size:
            raise InputError(f"{self.frames[index].gt_depth} is smaller than this dataset's crop")
        if self._source.hard_crop and self._source.protocol == "corrected":
            prediction = _resized(prediction, truth.shape)[self._crop.slices]
        elif self._source.hard_crop:
            prediction = _resized(prediction[self._crop.slices], cropped.shape)
        else:
            prediction = _resized(prediction, cropped.shape)
        disparity = prediction.astype(np.float64)
        return cropped, 1 / np.maximum(disparity, FLOOR) if self._source.kind == "depth" else disparity

    def image(self, index: int) -> npt.NDArray[np.uint8]:
        """The frame itself: (H, W, 3) uint8 RGB, uncropped."""
        path = self._root / self.frames[index].image
        image = cv2.imread(str(path), cv2.IMREAD_COLOR)
        if image is None:
            raise InputError(f"{path}: not an image that can be read")
        return np.ascontiguousarray(image[..., ::-1], dtype=np.uint8)

    def _prediction(self, frame: Frame) -> npt.NDArray[np.float32]:
        path = self._path(frame)
        try:
            prediction = np.load(path, allow_pickle=False)
        except (ValueError, EOFError, OSError) as error:
            raise InputError(f"{path}: not a .npy file that can be read; predict it again") from error
        if prediction.ndim != 2 or not np.issubdtype(prediction.dtype, np.number) or not prediction.size:
            raise InputError(f"{path}: must hold (H, W) numbers, not {prediction.shape} {prediction.dtype}")
        if not np.isfinite(prediction).all():
            raise InputError(f"{path}: holds values that are not finite")
        return np.asarray(prediction, dtype=np.float32)


def _resized(prediction: npt.NDArray[np.float32], size: tuple[int, ...]) -> npt.NDArray[np.float32]:
    """Resized bilinearly, as OpenCV does it, to (H, W)."""
    if prediction.shape == size:
        return prediction
    resized = cv2.resize(prediction, (size[1], size[0]), interpolation=cv2.INTER_LINEAR)
    return np.asarray(resized, dtype=np.float32)
