"""Quality on fixed clips while training runs: one scale and shift per clip in disparity, delta1 and AbsRel."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from torch import Tensor

from benchmark.eval.metrics import evaluate_sequence
from benchmark.rgbd import open_rgbd_folder
from training.clips import Clip
from training.sources import read_frames, sample_of_clip
from training.trainer import Trainer

MAX_DEPTH_RGBD = 10.0
NAMES = {"delta1": "delta1_acc", "abs_rel": "abs_relative_difference"}


@dataclass(frozen=True)
class FixedClip:
    """A clip to measure on.

    Attributes:
        source: where it comes from; clips of one source are averaged.
        images: (T, 3, H, W) float32, normalised.
        depth: (T, H, W) float32, 1 / `Clip.disparity`; 0 is unknown.
        max_depth: what is farther is left out.
    """

    source: str
    images: Tensor
    depth: np.ndarray
    max_depth: float


def fixed_recording(path: Path, count: int, size: tuple[int, int], consecutive: bool) -> FixedClip:
    """`count` frames of an RGB-D folder, evenly spaced or one after the other.

    Raises:
        InputError: if the folder cannot be read.
    """
    folder = open_rgbd_folder(path)
    count = min(count, len(folder))
    indices = range(count) if consecutive else np.linspace(0, len(folder) - 1, count).astype(int).tolist()
    return fixed_clip(path.name, read_frames(folder, indices), size, MAX_DEPTH_RGBD)


def fixed_clip(source: str, clip: Clip, size: tuple[int, int], max_depth: float) -> FixedClip:
    """A clip to measure on, resized to (H, W)."""
    sample = sample_of_clip(clip, size)
    with np.errstate(divide="ignore"):
        depth = np.where(sample.valid, 1 / sample.target.numpy(), 0)
    return FixedClip(source, sample.inputs[0], depth, max_depth)


def validate(trainer: Trainer, clips: Sequence[FixedClip]) -> dict[str, float]:
    """`<source>/delta1` and `<source>/abs_rel` of the averaged weights, means over a source's clips."""
    rows: dict[str, list[float]] = {}
    for clip in clips:
        predicted = trainer.predict((clip.images.unsqueeze(0),), list(range(len(clip.images))))[0].numpy()
        metrics, _ = evaluate_sequence(predicted, clip.depth, clip.max_depth)
        for short, name in NAMES.items():
            rows.setdefault(f"{clip.source}/{short}", []).append(metrics[name])
    return {name: float(np.mean(values)) for name, values in rows.items()}
