"""Renders depth in colours, for files, standard output, windows and the page, and finds the value range."""

from __future__ import annotations

from collections import deque

import cv2
import numpy as np
import numpy.typing as npt

from ..video.frame import Frame, Image
from .options import DepthKind, OutputOptions

# Percentiles, because outliers would leave few colours for the rest of the picture.
PERCENTILES = (2.0, 98.0)
# Frames in the running range, and the weight of the newest one.
LOOKED_BACK, SMOOTHING = 60, 0.1
# Rows mapped at once.
ROWS = 64


def color_table(colormap: str) -> npt.NDArray[np.uint8]:
    """A matplotlib colour map as 256 RGB colours, (256, 3) uint8.

    Raises:
        ValueError: if matplotlib has no map of that name.
    """
    import matplotlib

    if colormap not in matplotlib.colormaps:
        raise ValueError(f"matplotlib has no colour map {colormap!r}; for example inferno, magma, turbo, gray")
    colors = matplotlib.colormaps[colormap].resampled(256)(np.arange(256))
    return np.asarray(colors[:, :3] * 255).astype(np.uint8)


def levels_of(depth: npt.NDArray[np.floating], first: float, last: float) -> npt.NDArray[np.uint8]:
    """Map depth (H, W) from `first` to `last` onto 256 levels, uint8.

    Values outside take the nearest level, NaN the first; if both ends are equal, so does everything.
    """
    scale = 255.0 / (last - first) if last != first else 0.0
    levels = np.empty(depth.shape, np.uint8)
    for top in range(0, len(depth), ROWS):  # bands fit into the processor's caches
        with np.errstate(invalid="ignore"):
            band = depth[top : top + ROWS] - first
            band *= scale
        np.fmin(np.fmax(band, 0, out=band), 255, out=band)  # 0 for NaN
        levels[top : top + ROWS] = band
    return levels


def in_colors(levels: npt.NDArray[np.uint8], table: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
    """`table[levels]`, (H, W, 3) uint8, in a tenth of the time."""
    return np.asarray(cv2.applyColorMap(levels, table[:, None]), dtype=np.uint8)


class RunningRange:
    """Smoothed percentiles over the latest frames, for videos without a known end; the first frame sets them."""

    def __init__(self) -> None:
        self._recent: deque[tuple[float, float]] = deque(maxlen=LOOKED_BACK)
        self._range: tuple[float, float] | None = None

    def update(self, depth: npt.NDArray[np.floating]) -> tuple[float, float]:
        """Add a frame (H, W) and return the value range (low, high) for its colours."""
        # Every fourth row and column is enough for the percentiles of a smooth map.
        sample = depth[::4, ::4]
        finite = sample[np.isfinite(sample)]
        if finite.size:
            low, high = np.percentile(finite, PERCENTILES)
            self._recent.append((float(low), float(high)))
        if not self._recent:
            return 0.0, 0.0
        wanted = min(low for low, _ in self._recent), max(high for _, high in self._recent)
        low, high = (old + SMOOTHING * (new - old) for old, new in zip(self._range or wanted, wanted))
        self._range = low, high
        return low, high


class Visualiser:
    """Renders the depth of one video; near is bright: large disparity, small metres.

    Colours span `ends`, the lowest and highest value of the video, if known; else the fixed range of the options, or a
    running range.
    """

    def __init__(self, kind: DepthKind, options: OutputOptions, ends: tuple[float, float] | None = None) -> None:
        span = options.vis_range
        self.table = None if options.grayscale else color_table(options.colormap)  # (256, 3) uint8; None: gray
        self.alone = options.layout == "depth"  # not beside the source
        self._kind = kind
        self._ends = (span.low, span.high) if span.kind == "fixed" else ends if span.kind == "video" else None
        self._running = RunningRange()

    def size(self, size: tuple[int, int]) -> tuple[int, int]:
        """Size (H, W) of the pictures for frames of that size."""
        return size if self.alone else (size[0], 2 * size[1])

    def ends(self, frame: Frame) -> tuple[float, float]:
        """Value range (low, high) for this frame; call it once per frame, in order."""
        return self._ends or self._running.update(frame.depth)

    def picture(self, frame: Frame) -> Image:
        """Render (H, W, 3) uint8 RGB, twice as wide with the source; call it once per frame, in order."""
        levels = self.levels(frame)
        colored = np.repeat(levels[..., None], 3, axis=2) if self.table is None else in_colors(levels, self.table)
        return colored if self.alone else np.concatenate((frame.image, colored), axis=1)

    def levels(self, frame: Frame) -> npt.NDArray[np.uint8]:
        """The index of each pixel's colour, (H, W) uint8; call it once per frame, instead of `picture`."""
        low, high = self._ends or self._running.update(frame.depth)
        return levels_of(frame.depth, *((low, high) if self._kind == "disparity" else (high, low)))
