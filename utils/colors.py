"""Depth maps to pictures."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt


def color_table(colormap: str) -> npt.NDArray[np.uint8]:
    """A matplotlib colour map as 256 RGB colours, (256, 3) uint8.

    Raises:
        ValueError: if matplotlib knows no map of that name.
    """
    import matplotlib

    if colormap not in matplotlib.colormaps:
        raise ValueError(f"matplotlib has no colour map {colormap!r}")
    colors = matplotlib.colormaps[colormap].resampled(256)(np.arange(256))
    return np.asarray(colors[:, :3] * 255).astype(np.uint8)


class Colorizer:
    """Maps [low, high] linearly to a colour table, or to gray.

    Args:
        low, high: values of the first and the last colour; what lies beyond takes the end's colour. Equal ends (a
            constant depth) give the first colour everywhere.
        colormap: name of a matplotlib map; None for gray.
    """

    def __init__(self, low: float, high: float, colormap: str | None = "inferno") -> None:
        self._low = low
        self._scale = 255.0 / (high - low) if high > low else 0.0
        self._table = None if colormap is None else color_table(colormap)

    def __call__(self, depth: npt.NDArray[np.floating]) -> npt.NDArray[np.uint8]:
        """(H, W) float to (H, W, 3) uint8 RGB, or (H, W) uint8 for gray; pixels without a number take the first."""
        levels = np.nan_to_num((depth - self._low) * self._scale, nan=0.0, posinf=255.0, neginf=0.0)
        indices = np.clip(levels, 0, 255).astype(np.uint8)
        return indices if self._table is None else self._table[indices]
