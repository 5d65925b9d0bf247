"""Quality on fixed clips while training runs: delta1 and AbsRel.

Relative weights are measured after one scale and shift per clip in disparity, metric ones as they are.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from torch import Tensor

from benchmark.eval.metrics import FLOOR, evaluate_sequence, valid_mask
from benchmark.rgbd import RgbdFolder
from training.augment import resize_clip
from training.clips import Clip
from training.sources import read_frames, sample_of_clip
from training.trainer import DivergedError, Trainer
from video_depth_anything.errors import InputError
from video_depth_anything.transform import network_size

MAX_DEPTH_RGBD = 10.0
NAMES = {"delta1": "delta1_acc", "abs_rel": "abs_relative_difference"}


@dataclass(frozen=True)
class FixedClip:
    """A clip to measure on.

    Attributes:
        source: where it comes from; clips of one source are averaged.
        images: (T, 3, H, W) float32, normalised.
        depth: (T, H, W) float32, metres, or 1 / `Clip.disparity` for relative weights; 0 is unknown.
        max_depth: what is farther is left out.
        metric: whether the weights predict metres.
    """

    source: str
    images: Tensor
    depth: np.ndarray
    max_depth: float
    metric: bool = False


def fixed_recording(folder: RgbdFolder, count: int, input_size: int, consecutive: bool, metric: bool) -> FixedClip:
    """`count` frames of a recording in the size that inference gives them, evenly spaced or one after the other.

    Raises:
        InputError: if files cannot be read, or hold no depth to compare with.
    """
    count = min(count, len(folder))
    indices = range(count) if consecutive else np.linspace(0, len(folder) - 1, count).astype(int).tolist()
    clip = read_frames(folder, indices)
    size = network_size(clip.images.shape[1], clip.images.shape[2], input_size)
    fixed = fixed_clip(folder.path.name, resize_clip(clip, size), MAX_DEPTH_RGBD, metric)
    if not valid_mask(fixed.depth, MAX_DEPTH_RGBD).any():
        raise InputError(
            f"{folder.path}: no known depth up to {MAX_DEPTH_RGBD:g} m to validate on; choose others with --val_rgbd"
        )
    return fixed


def fixed_clip(source: str, clip: Clip, max_depth: float, metric: bool = False) -> FixedClip:
    """A clip to measure on, whose sides are multiples of 14."""
    sample = sample_of_clip(clip, metric)
    target = sample.target.numpy()
    with np.errstate(divide="ignore"):
        depth = target if metric else np.where(sample.valid, 1 / target, 0)
    return FixedClip(source, sample.inputs[0], depth, max_depth, metric)


def validate(trainer: Trainer, clips: Sequence[FixedClip]) -> dict[str, float]:
    """`<source>/delta1` and `<source>/abs_rel` of the averaged weights, means over a source's clips.

    Raises:
        DivergedError: if the depth is not finite.
    """
    rows: dict[str, list[float]] = {}
    for clip in clips:
        predicted = trainer.predict((clip.images.unsqueeze(0),), list(range(len(clip.images))))[0].numpy()
        if not np.isfinite(predicted).all():
            raise DivergedError(
                f"step {trainer.step}: depth of {clip.source} is not finite; try --precision fp32, or a lower --lr"
            )
        if clip.metric:
            metrics, _ = evaluate_sequence(1 / np.maximum(predicted, FLOOR), clip.depth, clip.max_depth, "none")
        else:
            metrics, _ = evaluate_sequence(predicted, clip.depth, clip.max_depth)
        for short, name in NAMES.items():
            rows.setdefault(f"{clip.source}/{short}", []).append(metrics[name])
    return {name: float(np.mean(values)) for name, values in rows.items()}
