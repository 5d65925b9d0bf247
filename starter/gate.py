"""Whether the network tells how far away a scene is, on frames of scenes that no training sees.

The error of a frame is the logarithm of the median of its prediction over that of its true disparity, after one scale
and shift for all frames; its standard deviation is the figure. The mark to beat is that of a ridge regression of the
true medians' logarithms on what the cache holds, pooled over each frame: what can be read off the frozen features by a
linear map. Shapes: N frames, H x W pixels, D pooled features.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch

from starter.cache import clip_seed
from starter.sources import CacheSource
from training.sources import Sample
from training.trainer import Trainer
from video_depth_anything.alignment import compute_scale_and_shift
from video_depth_anything.errors import InputError

Vector = npt.NDArray[np.float64]
RIDGE_FRAMES = 800
FRAMES_AT_ONCE = 8
# Of the number of frames; the one that leaving one frame out likes best is taken.
STRENGTHS = (0.03, 0.1, 0.3, 1.0, 3.0, 10.0)
NEAREST_TO_ZERO = 1e-3


@dataclass(frozen=True)
class Gate:
    """A cache of unseen clips, whose first frames count, and the standard deviation of the ridge's errors on them."""

    source: CacheSource
    ridge_sd: float

    def measure(self, trainer: Trainer) -> dict[str, float]:
        """`gate/scale_sd` of the averaged weights, to be below `gate/ridge_sd`, and `gate/scale_correlation`."""
        samples = list(first_frames(self.source, len(self.source.clips)))
        truth = np.concatenate([x.target.numpy() for x in samples])
        valid = np.concatenate([x.valid.numpy() for x in samples])
        predicted = predict(trainer, samples)
        scale, shift = compute_scale_and_shift(predicted, truth, valid)
        medians, wanted = (log_medians(x, valid) for x in (scale * predicted + shift, truth))
        correlation = float(np.corrcoef(medians, wanted)[0, 1]) if medians.std() > 0 else 0.0
        return {
            "gate/scale_sd": float(np.std(medians - wanted)),
            "gate/ridge_sd": self.ridge_sd,
            "gate/scale_correlation": correlation,
        }


def open_gate(path: Path, trained_on: CacheSource) -> Gate:
    """Open a cache of unseen frames, made as those of training, and fit the ridge on up to 800 clips of the latter."""
    info = trained_on.info
    source = CacheSource([path], 1, info.fingerprint, info.encoder_blocks)
    unseen, seen = ({clip_seed(clip.name) for clip in x.clips} for x in (source, trained_on))
    if len(unseen) < 2:
        raise InputError(f"--gate {path}: holds {len(unseen)} clips; a spread needs more")
    if unseen & seen:
        raise InputError(f"--gate {path}: scene {min(unseen & seen)} is in --cache too; make it with another --seed")
    fitted, asked = (_features(x, count) for x, count in ((trained_on, RIDGE_FRAMES), (source, len(unseen))))
    return Gate(source, float(np.std(ridge(*fitted, asked[0]) - asked[1])))


def first_frames(source: CacheSource, count: int) -> Iterator[Sample]:
    """The first frame (1, ..) of up to `count` clips, evenly spread."""
    numbers = list(source.clips.values())
    for index in np.unique(np.linspace(0, len(numbers) - 1, min(count, len(numbers))).round().astype(int)):
        sample = source.sample(numbers[index], np.random.default_rng(0))
        yield Sample(tuple(x[:1] for x in sample.inputs), sample.target[:1], sample.valid[:1])


def _features(source: CacheSource, count: int) -> tuple[Vector, Vector]:
    """Pooled features (N, D) and logarithms of the true medians (N,) of clips' first frames."""
    rows = [(pooled(x), log_medians(x.target.numpy(), x.valid.numpy())) for x in first_frames(source, count)]
    return np.stack([row[0] for row in rows]), np.concatenate([row[1] for row in rows])


def pooled(sample: Sample) -> Vector:
    """(D,) means of a frame's maps over its patches; of a stream its class token too."""
    parts = []
    for inputs in sample.inputs:
        tokens = inputs[0].float().flatten(0, -2)
        parts.append(tokens.mean(0))
        if inputs.ndim == 3:
            parts.append(tokens[0])
    return np.asarray(torch.cat(parts).double())


def log_medians(maps: npt.NDArray[np.floating], valid: npt.NDArray[np.bool_]) -> Vector:
    """(N,) logarithms of the medians of maps (N, H, W) over their valid pixels; 0 for a frame without any."""
    near = np.maximum(maps, NEAREST_TO_ZERO)
    return np.array([np.log(np.median(m[v])) if v.any() else 0.0 for m, v in zip(near, valid)], np.float64)


def ridge(features: Vector, values: Vector, asked: Vector) -> Vector:
    """The values (M,) of `asked` (M, D) by ridge regression on features (N, D) and their values (N,).

    Its strength is the one with the smallest leave-one-out error (Golub, Heath and Wahba 1979).
    """
    mean, spread = features.mean(0), features.std(0) + 1e-9
    u, s, vt = np.linalg.svd((features - mean) / spread, full_matrices=False)
    centred = values - values.mean()
    fits = []
    for strength in STRENGTHS:
        shrunk = s**2 / (s**2 + strength * len(values))
        left_out = (centred - u @ (shrunk * (u.T @ centred))) / (1 - (u**2) @ shrunk - 1 / len(values)).clip(1e-6)
        fits.append((float((left_out**2).mean()), vt.T @ (shrunk / s.clip(1e-9) * (u.T @ centred))))
    _, weights = min(fits, key=lambda fit: fit[0])
    return np.asarray((asked - mean) / spread @ weights + values.mean())


def predict(trainer: Trainer, samples: list[Sample]) -> npt.NDArray[np.float32]:
    """Disparity (N, H, W) of single frames by the averaged weights."""
    maps = []
    for start in range(0, len(samples), FRAMES_AT_ONCE):
        inputs = zip(*(x.inputs for x in samples[start : start + FRAMES_AT_ONCE]))
        maps.append(trainer.predict(tuple(map(torch.stack, inputs)), [0])[:, 0].numpy())
    return np.concatenate(maps)
