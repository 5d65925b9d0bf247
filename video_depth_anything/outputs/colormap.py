"""Depth maps to pictures, and the range that the colours span."""

from __future__ import annotations

from collections import deque

import cv2
import numpy as np
import numpy.typing as npt

# Outliers at either end would leave the rest of the picture few colours.
PERCENTILES = (2.0, 98.0)
# Of a band that is mapped at once.
ROWS = 64


def color_table(colormap: str) -> npt.NDArray[np.uint8]:
    """A matplotlib colour map as 256 RGB colours, (256, 3) uint8.

    Raises:
        ValueError: if matplotlib knows no map of that name.
    """
    import matplotlib

    if colormap not in matplotlib.colormaps:
        raise ValueError(f"matplotlib has no colour map {colormap!r}; for example inferno, magma, turbo, gray")
    colors = matplotlib.colormaps[colormap].resampled(256)(np.arange(256))
    return np.asarray(colors[:, :3] * 255).astype(np.uint8)


class Colorizer:
    """Maps values from `low` to `high` linearly to a colour table, or to gray.

    Args:
        low, high: values of the first and the last colour; what lies beyond takes the end's colour. `low` may be the
            greater one. Equal ends (a constant depth) give the first colour everywhere.
        table: (256, 3) uint8 or the name of a matplotlib map; None for gray.
    """

    def __init__(self, low: float, high: float, table: npt.NDArray[np.uint8] | str | None = "inferno") -> None:
        self._low = low
        self._scale = 255.0 / (high - low) if high != low else 0.0
        self._table = color_table(table) if isinstance(table, str) else table

    def __call__(self, depth: npt.NDArray[np.floating]) -> npt.NDArray[np.uint8]:
        """(H, W) float to (H, W, 3) uint8 RGB, or (H, W) uint8 for gray; NaN takes the first."""
        indices = np.empty(depth.shape, np.uint8)
        for top in range(0, len(depth), ROWS):  # as many as the processor's caches hold
            with np.errstate(invalid="ignore"):
                levels = depth[top : top + ROWS] - self._low
                levels *= self._scale
            np.fmin(np.fmax(levels, 0, out=levels), 255, out=levels)  # 0 for NaN
            indices[top : top + ROWS] = levels
        if self._table is None:
            return indices
        # What `table[indices]` gives, in a tenth of the time.
        return np.asarray(cv2.applyColorMap(indices, self._table[:, None]), dtype=np.uint8)


class RunningRange:
    """Percentiles over the latest frames, smoothed, for videos whose end is not known. Holds two numbers per frame.

    Args:
        window: frames looked back on.
        smoothing: share of the new percentiles in each step; the first frame sets the range outright.
    """

    def __init__(self, window: int = 60, smoothing: float = 0.1) -> None:
        self._recent: deque[tuple[float, float]] = deque(maxlen=window)
        self._smoothing = smoothing
        self._range: tuple[float, float] | None = None

    def update(self, depth: npt.NDArray[np.floating]) -> tuple[float, float]:
        """Take a frame (H, W) and return the range (low, high) to colour it with."""
        # Every fourth row and column: percentiles of a smooth map do not need more.
        sample = depth[::4, ::4]
        finite = sample[np.isfinite(sample)]
        if finite.size:
            low, high = np.percentile(finite, PERCENTILES)
            self._recent.append((float(low), float(high)))
        if not self._recent:
            return 0.0, 0.0
        wanted = min(low for low, _ in self._recent), max(high for _, high in self._recent)
        if self._range is None:
            self._range = wanted
        else:
            a = self._smoothing
            self._range = tuple((1 - a) * old + a * new for old, new in zip(self._range, wanted))  # type: ignore[assignment]
        assert self._range is not None
        return self._range
