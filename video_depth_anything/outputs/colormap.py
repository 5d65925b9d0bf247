"""Depth as pictures, for files, standard output, windows and the page alike, and the range that the colours span."""

from __future__ import annotations

from collections import deque

import cv2
import numpy as np
import numpy.typing as npt

from ..video.frame import Frame, Image
from .options import DepthKind, OutputOptions

# Outliers at either end would leave the rest of the picture few colours.
PERCENTILES = (2.0, 98.0)
# Frames that the running range looks back on, and the share that the newest one has in it.
LOOKED_BACK, SMOOTHING = 60, 0.1
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
    """Percentiles over the latest frames, smoothed, for videos whose end is not known; the first frame sets them."""

    def __init__(self) -> None:
        self._recent: deque[tuple[float, float]] = deque(maxlen=LOOKED_BACK)
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
        low, high = (old + SMOOTHING * (new - old) for old, new in zip(self._range or wanted, wanted))
        self._range = low, high
        return low, high


class Visualiser:
    """Pictures of the frames of one video, near bright: that is large for disparity, small for metres.

    Colours span `ends`, the lowest and highest value of the video, where they are known; else, unless the options fix
    them, a running range.
    """

    def __init__(self, kind: DepthKind, options: OutputOptions, ends: tuple[float, float] | None = None) -> None:
        span = options.vis_range
        self.table = None if options.grayscale else color_table(options.colormap)  # (256, 3) uint8; None: gray
        self.alone = options.layout == "depth"  # without the source beside it
        self._kind = kind
        self._ends = (span.low, span.high) if span.kind == "fixed" else ends if span.kind == "video" else None
        self._running = RunningRange()

    def size(self, size: tuple[int, int]) -> tuple[int, int]:
        """(H, W) of the pictures for frames of that size."""
        return size if self.alone else (size[0], 2 * size[1])

    def ends(self, frame: Frame) -> tuple[float, float]:
        """Range (low, high) for this frame; to be asked once for each, in order."""
        return self._ends or self._running.update(frame.depth)

    def picture(self, frame: Frame) -> Image:
        """(H, W, 3) uint8 RGB, with the source twice as wide; to be asked once for each frame, in order."""
        levels = self.levels(frame)
        colored = np.repeat(levels[..., None], 3, axis=2) if self.table is None else in_colors(levels, self.table)
        return colored if self.alone else np.concatenate((frame.image, colored), axis=1)

    def levels(self, frame: Frame) -> npt.NDArray[np.uint8]:
        """(H, W) uint8: which colour of the table every pixel of the depth has; as `picture`, or instead."""
        low, high = self._ends or self._running.update(frame.depth)
        return levels_of(frame.depth, *((low, high) if self._kind == "disparity" else (high, low)))
