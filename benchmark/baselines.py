"""Baselines that see no image: what a prediction has to be better than."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from benchmark.eval.metrics import valid_mask

Array = npt.NDArray[Any]
Maps = npt.NDArray[np.float32]


def constant_disparity(depth: Array) -> Maps:
    """Ones (T, H, W) for true depth of that shape: with a scale and shift, the best constant depth."""
    return np.ones(depth.shape, dtype=np.float32)


def plane_disparity(depth: Array, max_depth: float) -> Maps:
    """The plane disparity = a + b x + c y that fits all frames best, by least squares.

    Args:
        depth: true depth (T, H, W) in metres, 0 where it is unknown.
        max_depth: metres; what is farther does not count.

    Returns:
        One map, repeated (T, H, W), in 1/metres; a view of it, not to be written to.
    """
    _, height, width = depth.shape
    y, x = np.mgrid[0:height, 0:width] / max(height, width)
    columns = np.stack((np.ones_like(x), x, y), axis=-1)
    normal, right = np.zeros((3, 3)), np.zeros(3)
    for frame in depth:
        valid = valid_mask(frame, max_depth)
        rows = columns[valid]
        normal += rows.T @ rows
        right += rows.T @ (1 / frame[valid].astype(np.float64))
    plane = columns @ np.linalg.lstsq(normal, right, rcond=None)[0]
    return np.broadcast_to(plane.astype(np.float32), depth.shape)
