"""Evaluation of predictions for a dataset: align each scene, measure its frames, take the means."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from benchmark.datasets import TaeSet
from benchmark.eval.boundaries import boundary_f1
from benchmark.eval.flicker import flicker
from benchmark.eval.metrics import (
    Alignment,
    FrameMetrics,
    ScaleShift,
    SequenceFit,
    align_depth,
    frame_metrics,
    sequence_metrics,
    valid_mask,
)
from benchmark.eval.sequence import Sequence
from benchmark.eval.tae import Protocol, crop_intrinsics, temporal_alignment_error
from video_depth_anything.errors import InputError

Array = npt.NDArray[Any]
# Of the results, what says how much was measured.
COUNTS = ("pairs", "skipped_pairs")
Advance = Callable[[], None]


@dataclass(frozen=True)
class SceneResult:
    """Metrics of one scene: means over frames, and of each frame, None for those without valid ground truth."""

    name: str
    num_frames: int
    num_missing: int
    fit: ScaleShift
    metrics: dict[str, float]
    per_frame: list[FrameMetrics | None] = field(default_factory=list)


def fit_sequence(sequence: Sequence, max_depth: float, alignment: Alignment, advance: Advance) -> ScaleShift:
    """The scale and shift of a scene; `advance` is called after each frame."""
    fit = SequenceFit(alignment)
    for index in range(len(sequence)):
        truth, disparity = sequence.pair(index)
        fit.add(disparity, truth, valid_mask(truth, max_depth))
        advance()
    try:
        return fit.solve()
    except ValueError as error:
        raise InputError(f"{sequence.name}: {error}") from error


class _PairMetrics:
    """What is measured besides the frame metrics: boundaries, and flicker from one frame to the next."""

    def __init__(self) -> None:
        self._boundaries: list[float] = []
        self._flicker: list[float] = []
        self._before: tuple[Array, Array, Array] | None = None

    def add(self, depth: Array, truth: Array, valid: Array) -> None:
        score = boundary_f1(depth, truth, valid)
        if score is not None:
            self._boundaries.append(score)
        disparity, true = 1 / depth, 1 / np.where(valid, truth, 1.0)
        if self._before is not None:
            p1, q1, valid1 = self._before
            term = flicker((p1, disparity), (q1, true), valid & valid1)
            if term is not None:
                self._flicker.append(term)
        self._before = (disparity, true, valid)

    def means(self) -> dict[str, float]:
        return {"boundary_f1": _mean(self._boundaries), "flicker": _mean(self._flicker)}


def evaluate_scene(sequence: Sequence, max_depth: float, alignment: Alignment, advance: Advance) -> SceneResult:
    """Align a scene and measure it, in two passes over its files; `max_depth` in metres."""
    fit = fit_sequence(sequence, max_depth, alignment, advance)
    frames: list[FrameMetrics | None] = []
    pairs = _PairMetrics()
    for index in range(len(sequence)):
        truth, disparity = sequence.pair(index)
        valid = valid_mask(truth, max_depth)
        depth = align_depth(disparity, fit, max_depth)
        frames.append(frame_metrics(depth, truth, valid))
        pairs.add(depth, truth, valid)
        advance()
    try:
        metrics = sequence_metrics(frames) | pairs.means()
    except ValueError as error:
        raise InputError(f"{sequence.name}: {error}") from error
    return SceneResult(sequence.name, len(sequence), sequence.num_missing, fit, metrics, frames)


def evaluate_scene_tae(
    sequence: Sequence, entry: TaeSet, alignment: Alignment, protocol: Protocol, advance: Advance
) -> SceneResult:
    """Align a scene and measure its temporal alignment error."""
    fit = fit_sequence(sequence, entry.max_depth, alignment, advance)
    cameras, poses = [], []
    for frame in sequence.frames:
        if frame.intrinsics is None or frame.pose is None:
            raise InputError(f"{sequence.name}: the index has no camera and pose for {frame.image}")
        camera = np.array(frame.intrinsics)
        # The published numbers project cropped depth with the uncropped image's camera.
        corrected = protocol == "corrected"
        cameras.append(crop_intrinsics(camera, entry.crop.top, entry.crop.left) if corrected else camera)
        poses.append(np.array(frame.pose))

    def depths() -> Iterator[Array]:
        for index in range(len(sequence)):
            yield align_depth(sequence.pair(index)[1], fit, entry.max_depth)
            advance()

    tae = temporal_alignment_error(depths(), poses, cameras, protocol)
    metrics = {"tae": tae.error, "pairs": float(tae.terms), "skipped_pairs": float(tae.skipped)}
    return SceneResult(sequence.name, len(sequence), sequence.num_missing, fit, metrics)


def mean_metrics(scenes: Iterable[SceneResult]) -> dict[str, float]:
    """Means over scenes, sums of counts; scenes where a metric could not be measured are left out of its mean."""
    measured = list(scenes)
    names = dict.fromkeys(name for scene in measured for name in scene.metrics)
    values = {name: [scene.metrics[name] for scene in measured] for name in names}
    return {name: sum(found) if name in COUNTS else _mean(found) for name, found in values.items()}


def _mean(values: Iterable[float]) -> float:
    finite = [value for value in values if math.isfinite(value)]
    return float(np.mean(finite)) if finite else math.nan
