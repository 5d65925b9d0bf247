"""Joining windows: the scale and shift between depth maps, the cross-fade, and the aligner that applies both.

Method: Chen et al., Video Depth Anything, arXiv:2501.12375, section 3.3.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from .windows import ALIGN_LEN, INTERP_LEN, KEYFRAMES, OVERLAP

logger = logging.getLogger(__name__)

Array = npt.NDArray[np.floating]
DepthMap = npt.NDArray[np.float32]
PixelWeights = npt.NDArray[np.float64]

# Weights of the new window in the cross-fade.
FADE_WEIGHTS: tuple[float, ...] = tuple(i / (INTERP_LEN - 1) for i in range(INTERP_LEN))


def compute_scale(prediction: Array, target: Array, mask: npt.ArrayLike) -> float:
    """Fit s of s * prediction = target by least squares; 1 if the prediction is zero wherever it counts.

    Args:
        prediction: of any shape and float type.
        target: of the same shape.
        mask: of the same shape, bool for the pixels that count, or their weights.
    """
    p, t, weighted, _ = _counting(prediction, target, mask)
    a00 = float(weighted @ p)
    return float(weighted @ t) / a00 if a00 > 0 else 1.0


def compute_scale_and_shift(
    prediction: Array, target: Array, mask: npt.ArrayLike, scale_only: bool = False
) -> tuple[float, float]:
    """Fit (s, b) of s * prediction + b = target by least squares.

    The sums are taken in float64: in float32 a constant prediction does not always give a zero determinant.

    Args:
        prediction, target, mask: see `compute_scale`.
        scale_only: fit s alone; b is 0.

    Returns:
        (scale, shift); (1, 0) where the system is singular, that is for a constant prediction or an empty mask.
    """
    if scale_only:
        return compute_scale(prediction, target, mask), 0.0
    return fit_scale_and_shift(prediction, target, mask) or (1.0, 0.0)


def fit_scale_and_shift(prediction: Array, target: Array, mask: npt.ArrayLike) -> tuple[float, float] | None:
    """Like `compute_scale_and_shift`, but None if the system is singular."""
    p, t, weighted, weight = _counting(prediction, target, mask)
    a00, a01, a11 = float(weighted @ p), float(weighted.sum()), float(p.size if weight is None else weight.sum())
    b0, b1 = float(weighted @ t), float(t.sum() if weight is None else weight @ t)
    return _solve(a00, a01, a11, b0, b1, p.size)


def fit_maps(prediction: Tensor, target: Tensor) -> tuple[float, float] | None:
    """The same for maps on a device, over pixels finite in both; only the five sums are copied to the host."""
    valid = prediction.isfinite() & target.isfinite()
    p, t = (torch.where(valid, x, 0).flatten().double() for x in (prediction, target))
    a00, a01, a11, b0, b1 = torch.stack([p @ p, p.sum(), valid.sum().double(), p @ t, t.sum()]).tolist()
    return _solve(a00, a01, a11, b0, b1, a11)


def _solve(a00: float, a01: float, a11: float, b0: float, b1: float, count: float) -> tuple[float, float] | None:
    """Solve the least squares of `count` pixels from their sums; None if they are singular."""
    det = a00 * a11 - a01 * a01
    # By the Cauchy-Schwarz inequality det >= 0, and rounding leaves about eps * a00 * a11 of it.
    if det <= np.finfo(np.float64).eps * max(count, 1) * a00 * a11:
        return None
    return (a11 * b0 - a01 * b1) / det, (a00 * b1 - a01 * b0) / det


def _counting(
    prediction: Array, target: Array, mask: npt.ArrayLike
) -> tuple[PixelWeights, PixelWeights, PixelWeights, PixelWeights | None]:
    """The masked pixels in float64: prediction, target, weighted prediction, and weights unless all are 1."""
    given = np.asarray(mask)
    valid = given != 0
    p, t = np.asarray(prediction)[valid].astype(np.float64), np.asarray(target)[valid].astype(np.float64)
    if given.dtype == bool:
        return p, t, p, None
    weight = given[valid].astype(np.float64)
    return p, t, weight * p, weight


def get_interpolate_frames(frame_list_pre: Sequence[Array], frame_list_post: Sequence[Array]) -> list[Array]:
    """Cross-fade two lists of frames; the weight of the second goes from 0 to 1 in equal steps.

    Args:
        frame_list_pre: frames of one shape.
        frame_list_post: as many frames of that shape.

    Raises:
        ValueError: if the lists differ in length.
    """
    if len(frame_list_pre) != len(frame_list_post):
        raise ValueError(f"cannot cross-fade {len(frame_list_pre)} frames with {len(frame_list_post)}")
    weights = np.linspace(0.0, 1.0, len(frame_list_pre)).tolist()
    return [pre * (1.0 - w) + post * w for w, pre, post in zip(weights, frame_list_pre, frame_list_post)]


class WindowAligner:
    """Joins the depth of consecutive windows into one sequence; one object per video.

    Holds two reference maps and the eight frames that the next window may still change, whatever the video's length.
    Relative models: each window is aligned to the earlier ones by the scale and shift that fit its slots 0 and 1.
    Metric models already predict metres; their windows are only cross-faded. All of it runs on the windows' device.
    """

    def __init__(self, metric: bool) -> None:
        self._metric = metric
        self._first: Tensor | None = None  # frame 0 as window 0 predicted it
        self._second: Tensor | None = None  # aligned depth of the frame in slot 1 of the next window
        self._tail: list[Tensor] = []  # at most INTERP_LEN frames
        self._scale_shift = (1.0, 0.0)
        self._warned = False

    def add(self, depth: Tensor) -> list[Tensor]:
        """Add slots 0..n-1 (n, H, W) float32 of the next window, and return the frames that are now final.

        n is 32 unless the video ends inside the window. Maps (H, W) are on the window's device; some are views.
        """
        if self._first is None:
            frames = list(depth.unbind())
            self._first = depth[0]
        else:
            depth = self._align(depth)
            post = depth[ALIGN_LEN:OVERLAP]
            # Zero times infinity is NaN, so a frame of weight zero is skipped.
            faded = [pre * (1.0 - w) + new * w if w else pre for w, pre, new in zip(FADE_WEIGHTS, self._tail, post)]
            frames = faded + list(depth[OVERLAP:].unbind())
        # Slots 24..31 are the next window's slots 2..9, which may still change them.
        held = len(depth) - KEYFRAMES[ALIGN_LEN]
        final = frames[: len(frames) - max(held, 0)]
        self._tail = frames[len(final) :]
        # A window too short for this keyframe is the last one.
        self._second = depth[KEYFRAMES[1]] if len(depth) > KEYFRAMES[1] else None
        return final

    def finish(self) -> list[Tensor]:
        """Return the remaining frames after the last window."""
        tail, self._tail = self._tail, []
        return tail

    def _align(self, depth: Tensor) -> Tensor:
        if self._metric:
            return depth
        if self._first is None or self._second is None:
            raise ValueError("the previous window is incomplete, so no window can follow it")
        scale, shift = self._scale_and_shift(depth[:ALIGN_LEN], torch.stack([self._first, self._second]))
        return depth.mul(scale).add_(shift).clamp_(min=0)

    def _scale_and_shift(self, prediction: Tensor, target: Tensor) -> tuple[float, float]:
        """Scale and shift of this window; those of the previous one if the fit is singular or swaps near and far.

        NaN and infinite pixels are ignored, so that no window spoils the later ones.
        """
        if prediction.device.type == "cuda":
            fit = fit_maps(prediction, target)
        else:  # NumPy is faster on a CPU, and Metal has no float64
            p, t = prediction.cpu().numpy(), target.cpu().numpy()
            fit = fit_scale_and_shift(p, t, np.isfinite(p) & np.isfinite(t))
        if fit is None or not np.isfinite(fit).all() or fit[0] <= 0:
            if not self._warned:
                logger.warning(
                    "a window could not be aligned to the previous one; the previous scale and shift are kept"
                )
                self._warned = True
            return self._scale_shift
        self._scale_shift = fit
        return fit
