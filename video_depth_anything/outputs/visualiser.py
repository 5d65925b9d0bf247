"""Depth as pictures, for files, standard output, windows and the page alike."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from ..video.frame import Frame, Image
from .colormap import RunningRange, color_table, in_colors, levels_of
from .options import DepthKind, OutputOptions


class Visualiser:
    """Pictures of the frames of one video, near bright: that is large for disparity, small for metres.

    Args:
        kind: what the depth is.
        options: colours, layout and range of the pictures.
        ends: lowest and highest value of the video, where they are known; else, unless the options fix them, the
            colours span a running range.

    Attributes:
        table: (256, 3) uint8 colours; None for gray.
        alone: whether pictures show depth without the source beside it.
    """

    def __init__(self, kind: DepthKind, options: OutputOptions, ends: tuple[float, float] | None = None) -> None:
        span = options.vis_range
        self.table = None if options.grayscale else color_table(options.colormap)
        self.alone = options.layout == "depth"
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
