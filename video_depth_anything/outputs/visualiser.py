"""Depth as pictures, for files, standard output, windows and the page alike."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from ..video.frame import Frame
from .colormap import Colorizer, RunningRange, color_table
from .options import DepthKind, Layout, OutputOptions
from .vis_range import VisRange


@dataclass(frozen=True)
class VisStyle:
    """How depth is shown. table: (256, 3) uint8 colours, None for gray; layout: alone, or right of the source."""

    table: npt.NDArray[np.uint8] | None
    range: VisRange = VisRange()
    layout: Layout = "depth"

    @classmethod
    def chosen(cls, options: OutputOptions) -> VisStyle:
        """What the options ask for.

        Raises:
            ValueError: if there is no such colour map.
        """
        table = None if options.grayscale else color_table(options.colormap)
        return cls(table, options.vis_range, options.layout)

    def size(self, size: tuple[int, int]) -> tuple[int, int]:
        """(H, W) of the pictures for frames of that size."""
        return (size[0], 2 * size[1]) if self.layout == "compare" else size


class Visualiser:
    """Pictures of the frames of one video, near bright: that is large for disparity, small for metres.

    Args:
        kind: what the depth is.
        style: how it is shown.
        ends: lowest and highest value of the video, where they are known; else, unless the style's range is fixed, the
            colours span a running range.
    """

    def __init__(self, kind: DepthKind, style: VisStyle, ends: tuple[float, float] | None = None) -> None:
        if style.range.kind == "fixed":
            ends = style.range.low, style.range.high
        self._kind = kind
        self._style = style
        self._ends = ends
        self._running = RunningRange()

    def ends(self, frame: Frame) -> tuple[float, float]:
        """Range (low, high) for this frame; to be asked once for each, in order."""
        return self._running.update(frame.depth) if self._ends is None else self._ends

    def picture(self, frame: Frame) -> npt.NDArray[np.uint8]:
        """(H, W, 3) uint8 RGB, twice as wide in the layout "compare"; to be asked once for each frame, in order."""
        colored = self._mapped(frame, self._style.table)
        if colored.ndim == 2:
            colored = np.repeat(colored[..., None], 3, axis=2)
        return colored if self._style.layout == "depth" else np.concatenate((frame.image, colored), axis=1)

    def levels(self, frame: Frame) -> npt.NDArray[np.uint8]:
        """(H, W) uint8: which colour of the style's table every pixel of the depth has; as `picture`, or instead."""
        return self._mapped(frame, None)

    def _mapped(self, frame: Frame, table: npt.NDArray[np.uint8] | None) -> npt.NDArray[np.uint8]:
        low, high = self.ends(frame)
        near, far = (high, low) if self._kind == "disparity" else (low, high)
        return Colorizer(far, near, table)(frame.depth)
