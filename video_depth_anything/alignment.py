"""Scale and shift between depth maps, and cross-fade: the mathematics of joining windows, on arrays."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.floating]

DepthMap = npt.NDArray[np.float32]


def compute_scale(prediction: Array, target: Array, mask: npt.ArrayLike) -> float:
    """Least-squares s of s * prediction = target over the pixels where mask is true; 1 if prediction is zero there.

    Args:
        prediction, target: same shape, any float type. mask: same shape, bool or 0/1.
    """
    p, t = _masked(prediction, target, mask)
    a00 = float(p @ p)
    return float(p @ t) / a00 if a00 > 0 else 1.0


def compute_scale_and_shift(
    prediction: Array, target: Array, mask: npt.ArrayLike, scale_only: bool = False
) -> tuple[float, float]:
    """Least-squares (s, b) of s * prediction + b = target over the pixels where mask is true.

    The sums are taken in float64: in float32 a constant prediction does not always give a zero determinant.

    Args:
        prediction, target: same shape, any float type. mask: same shape, bool or 0/1.
        scale_only: fit s alone, b is 0.

    Returns:
        (scale, shift); (1, 0) where the system is singular, that is for a constant prediction or an empty mask.
    """
    if scale_only:
        return compute_scale(prediction, target, mask), 0.0
    return fit_scale_and_shift(prediction, target, mask) or (1.0, 0.0)


def fit_scale_and_shift(prediction: Array, target: Array, mask: npt.ArrayLike) -> tuple[float, float] | None:
    """As `compute_scale_and_shift`, but None where the system is singular."""
    p, t = _masked(prediction, target, mask)
    a00, a01, a11 = float(p @ p), float(p.sum()), float(p.size)
    b0, b1 = float(p @ t), float(t.sum())
    det = a00 * a11 - a01 * a01
    # By the Cauchy-Schwarz inequality det >= 0, and rounding leaves about eps * a00 * a11 of it.
    if det <= np.finfo(np.float64).eps * max(p.size, 1) * a00 * a11:
        return None
    return (a11 * b0 - a01 * b1) / det, (a00 * b1 - a01 * b0) / det


def _masked(prediction: Array, target: Array, mask: npt.ArrayLike) -> tuple[npt.NDArray[np.float64], ...]:
    valid = np.asarray(mask, dtype=bool)
    return np.asarray(prediction)[valid].astype(np.float64), np.asarray(target)[valid].astype(np.float64)


def get_interpolate_frames(frame_list_pre: Sequence[Array], frame_list_post: Sequence[Array]) -> list[Array]:
    """Cross-fade two equally long lists of frames; the weight of the second goes from 0 to 1 in equal steps.

    Raises:
        ValueError: if the lists differ in length.
    """
    if len(frame_list_pre) != len(frame_list_post):
        raise ValueError(f"cannot cross-fade {len(frame_list_pre)} frames with {len(frame_list_post)}")
    weights = np.linspace(0.0, 1.0, len(frame_list_pre)).tolist()
    return [pre * (1.0 - w) + post * w for w, pre, post in zip(weights, frame_list_pre, frame_list_post)]
