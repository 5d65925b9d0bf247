"""Boundary F1: whether depth jumps where the true depth jumps, whatever its scale."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]

# Ratios of neighbouring depths that count as a jump; those of Depth Pro, which also weights by them.
RATIOS = np.linspace(1.05, 1.25, 10)


def _neighbour_ratios(depth: Array, valid: Array) -> Iterator[tuple[Array, Array]]:
    """Ratio of each pixel's right and lower neighbour to it, and whether both are valid."""
    yield depth[:, 1:] / depth[:, :-1], valid[:, 1:] & valid[:, :-1]
    yield depth[1:] / depth[:-1], valid[1:] & valid[:-1]


def boundary_f1(depth: Array, ground_truth: Array, valid: Array) -> float | None:
    """F1 of the depth boundaries of one frame, 0 to 1.

    Method: Bochkovskii et al., Depth Pro, arXiv:2410.02073, section 4. Two neighbours form a boundary if their depths
    differ by more than a ratio; a predicted one is right if the true depths do so in the same direction. F1 is
    averaged over ten ratios from 1.05 to 1.25, weighted by the ratio. Pairs count over all directions together.

    Args:
        depth: (H, W), predicted, > 0 where valid, any unit.
        ground_truth: (H, W), > 0 where valid, any unit.
        valid: (H, W) bool.

    Returns:
        F1, None if the ground truth has no boundary.
    """
    safe = np.where(valid, ground_truth, 1.0)
    pairs = [
        (np.log(predicted[both]), np.log(true[both]))
        for (predicted, both), (true, _) in zip(_neighbour_ratios(depth, valid), _neighbour_ratios(safe, valid))
    ]
    predicted = np.concatenate([p for p, _ in pairs])
    true = np.concatenate([t for _, t in pairs])
    scores, weights = [], []
    for ratio in RATIOS:
        threshold = np.log(ratio)
        is_edge = np.abs(true) > threshold
        said_edge = np.abs(predicted) > threshold
        right = int((is_edge & said_edge & (np.sign(true) == np.sign(predicted))).sum())
        if is_edge.any():
            scores.append(2 * right / (int(is_edge.sum()) + int(said_edge.sum())))
            weights.append(ratio)
    return float(np.average(scores, weights=weights)) if scores else None
