"""Quality on fixed clips while training runs: one scale and shift per clip in disparity, delta1 and AbsRel."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from benchmark.eval.metrics import evaluate_sequence
from benchmark.rgbd import open_rgbd_folder
from training.clips import Clip
from training.network import depth_from_tokens, token_maps
from training.sources import read_frames, sample_of_clip
from training.trainer import Trainer
from video_depth_anything.config import PATCH_SIZE
from video_depth_anything.video_depth import VideoDepthAnything

MAX_DEPTH_RGBD = 10.0


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
        depth = np.where(sample.valid, 1 / sample.disparity.numpy(), 0)
    return FixedClip(source, sample.inputs[0], depth, max_depth)


@contextmanager
def averaged_weights(trainer: Trainer) -> Iterator[VideoDepthAnything]:
    """The model with its averaged weights inside the block, with those in training after it."""
    named = {n: p for n, p in trainer.model.named_parameters() if n in trainer.average.values}
    kept = {n: p.detach().clone() for n, p in named.items()}
    try:
        with torch.no_grad():
            for name, parameter in named.items():
                parameter.copy_(trainer.average.values[name])
        yield trainer.model
    finally:
        with torch.no_grad():
            for name, parameter in named.items():
                parameter.copy_(kept[name])


def validate(trainer: Trainer, clips: Sequence[FixedClip]) -> dict[str, float]:
    """`<source>/delta1` and `<source>/abs_rel` of the averaged weights, means over a source's clips."""
    rows: dict[str, list[Mapping[str, float]]] = {}
    motion = trainer.settings.stage == "clip"
    with averaged_weights(trainer) as model, torch.no_grad():
        for clip in clips:
            predicted = _predict(model, clip.images, trainer, motion)
            metrics, _ = evaluate_sequence(list(predicted), list(clip.depth), clip.max_depth)
            rows.setdefault(clip.source, []).append(metrics)
    names = {"delta1": "delta1_acc", "abs_rel": "abs_relative_difference"}
    return {
        f"{source}/{short}": float(np.mean([row[name] for row in metrics]))
        for source, metrics in rows.items()
        for short, name in names.items()
    }


def _predict(model: VideoDepthAnything, images: Tensor, trainer: Trainer, motion: bool) -> np.ndarray:
    """Disparity (T, H, W) of one clip's images (T, 3, H, W)."""
    grid = (images.shape[-2] // PATCH_SIZE, images.shape[-1] // PATCH_SIZE)
    with trainer.execution.autocast():
        tokens = token_maps(model, images.unsqueeze(0).to(trainer.execution.device))
        return depth_from_tokens(model, tokens, grid, range(len(images)), motion)[0].cpu().numpy()
