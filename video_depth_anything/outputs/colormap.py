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


def levels_of(depth: npt.NDArray[np.floating], first: float, last: float) -> npt.NDArray[np.uint8]:
    """Depth (H, W) to the numbers of its colours, of 256 from `first` to `last`, uint8.

    What lies beyond takes the end's colour, NaN the first; so does everything where both ends are equal.
    """
    scale = 255.0 / (last - first) if last != first else 0.0
    levels = np.empty(depth.shape, np.uint8)
    for top in range(0, len(depth), ROWS):  # as many as the processor's caches hold
        with np.errstate(invalid="ignore"):
            band = depth[top : top + ROWS] - first
            band *= scale
        np.fmin(np.fmax(band, 0, out=band), 255, out=band)  # 0 for NaN
        levels[top : top + ROWS] = band
    return levels


def in_colors(levels: npt.NDArray[np.uint8], table: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
    """What `table[levels]` gives, (H, W, 3) uint8, in a tenth of the time."""
    return np.asarray(cv2.applyColorMap(levels, table[:, None]), dtype=np.uint8)


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
