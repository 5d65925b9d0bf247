"""Stereo video: renders the views of both eyes from a frame and its depth.

The method is depth-image-based rendering: C. Fehn, "Depth-image-based rendering (DIBR), compression and transmission
for a new approach on 3D-TV", SPIE 5291, 2004. Pixels are shifted along their rows in proportion to disparity, half
of it for each eye, as with parallel cameras. Near pixels cover far ones; uncovered areas are filled from the far side.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence

import cv2
import numpy as np
import numpy.typing as npt

from ..video.frame import DepthMap, Frame, Image
from ..video.writer import VideoWriter
from .base import RunInfo
from .colormap import Visualiser
from .options import DepthKind
from .stereo_tags import LEFT_RIGHT, TOP_BOTTOM, tag_stereo
from .videos import VideoOutput

logger = logging.getLogger(__name__)

# Levels of disparity, less than a tenth of a pixel apart in full HD; 0 is a hole.
NEAREST = 255
# Neighbouring pixels whose shifts differ by more than this many pixels are the edge of an object.
EDGE = 1.5
# Distances below this share of the largest are clamped to it, because disparity is unbounded.
NEAREST_SHARE = 0.02
# Rows computed at once.
ROWS = 128

Levels = npt.NDArray[np.uint8]


class EyeViews:
    """Renders the views (h, w) of both eyes from frames (H, W).

    `parallax` between the nearest and the farthest point is a share of the width; `plane` is the disparity, from 0
    (farthest) to 1, that lies on the screen.
    """

    def __init__(self, frame: tuple[int, int], size: tuple[int, int], parallax: float, plane: float) -> None:
        self._size = size
        # Shift of each level in pixels of a view: to the right for the left eye, to the left for the right eye.
        shifts = parallax * size[1] / 2 * ((np.arange(NEAREST + 1) - 1) / (NEAREST - 1) - plane)
        whole = np.floor(shifts[1:] + 0.5).astype(int)
        # The first and the last level of each whole shift in pixels.
        self._moves = [(int(n), int((whole < n).sum()) + 1, int((whole <= n).sum())) for n in np.unique(whole)]
        self._edge = min(EDGE * (NEAREST - 1) / (shifts[-1] - shifts[1]), NEAREST) if parallax else NEAREST
        self._around = np.ones((1, 2 * (size[1] // 400) + 3), np.uint8)
        # Source position of each view pixel, in pixels of the frame: pixel centres match, so those of a squeezed view
        # lie between those of the frame. And the offset of that position for each level and eye.
        scale = frame[1] / size[1]
        self._columns = ((np.arange(size[1]) + 0.5) * scale - 0.5).astype(np.float32)
        self._origins = [(side * scale * shifts).astype(np.float32) for side in (-1, 1)]
        rows = (np.arange(size[0]) + 0.5) * (frame[0] / size[0]) - 0.5
        self._rows = np.repeat(rows.astype(np.float32)[:, None], size[1], axis=1)
        # Reused, because allocating memory takes time. Four channels are sampled faster than three.
        self._padded, self._found = (np.empty((*one, 4), np.uint8) for one in (frame, size))
        self._origin, self._seen = np.empty(size, np.float32), np.empty((2, *size), np.uint8)

    def __call__(self, image: Image, disparity: DepthMap, views: Sequence[Image]) -> None:
        """Fill the left and the right view, (h, w, 3) uint8, from (H, W, 3) uint8 RGB.

        `disparity` (h, w) is 0 for the farthest and 1 for the nearest.
        """
        for top in range(0, self._size[0], ROWS):  # bands fit into the processor's caches
            band = slice(top, top + ROWS)
            self._see(self._sharpened(self._levels(disparity[band])), self._seen[:, band])
        cv2.cvtColor(image, cv2.COLOR_RGB2RGBA, self._padded)
        for view, seen, table, side in zip(views, self._seen, self._origins, (0, 1)):
            cv2.LUT(seen, table, dst=self._origin)
            np.add(self._origin, self._columns, out=self._origin)
            _fill_holes(self._origin, seen, from_left=side == 0)
            cv2.remap(self._padded, self._origin, self._rows, cv2.INTER_LINEAR, self._found, cv2.BORDER_REPLICATE)
            cv2.cvtColor(self._found, cv2.COLOR_RGBA2RGB, view)

    def _see(self, levels: Levels, seen: Levels) -> None:
        """Find the level that each eye sees in every pixel: the nearest that is shifted there; 0 in holes."""
        seen[:] = 0
        width = levels.shape[1]
        for shift, first, last in self._moves:
            _, layer = cv2.threshold(levels, first - 1, 0, cv2.THRESH_TOZERO)
            _, layer = cv2.threshold(layer, last, 0, cv2.THRESH_TOZERO_INV)
            for view, by in zip(seen, (shift, -shift)):
                part = view[:, max(by, 0) : width + min(by, 0)]
                cv2.max(part, layer[:, max(-by, 0) : width - max(by, 0)], dst=part)

    def _levels(self, disparity: DepthMap) -> Levels:
        """Disparity as levels (h, w) uint8 from 1 to 255; NaN is far."""
        levels = cv2.addWeighted(disparity, NEAREST - 1, disparity, 0, 1, dtype=cv2.CV_8U)
        return np.asarray(cv2.max(levels, 1), np.uint8)  # type: ignore[call-overload]

    def _sharpened(self, levels: Levels) -> Levels:
        """Remove the slopes of depth at edges, and widen the foreground by a pixel on either side."""
        near, far = cv2.dilate(levels, self._around), cv2.erode(levels, self._around)
        middle = cv2.addWeighted(near, 0.5, far, 0.5, 0)
        _, edges = cv2.threshold(cv2.subtract(near, far), self._edge, NEAREST, cv2.THRESH_BINARY)
        in_front = cv2.compare(levels, middle, cv2.CMP_GE)
        sharp = levels.copy()
        cv2.copyTo(far, edges, sharp)
        cv2.copyTo(near, cv2.bitwise_and(edges, in_front), sharp)
        return np.asarray(cv2.dilate(sharp, np.ones((1, 3), np.uint8)), np.uint8)


def _fill_holes(origin: npt.NDArray[np.float32], levels: Levels, from_left: bool) -> None:
    """Fill holes, 0 in `levels`, with the last pixel of their far side; sample single ones between their neighbours.

    `origin` (h, w) is the source position of each pixel, filled in place; `from_left` is whether the far side is on the
    left.
    """
    holes = np.flatnonzero(levels == 0)
    if not holes.size:
        return
    column, last_column = holes % origin.shape[1], origin.shape[1] - 1
    # Runs of adjacent holes in a row.
    begins = (np.diff(holes, prepend=-2) != 1) | (column == 0)
    ends = np.append(begins[1:], True)
    first, last = holes[begins], holes[ends]
    at_left, at_right = column[begins] == 0, column[ends] == last_column
    flat = origin.ravel()
    before, behind = flat[first - ~at_left], flat[last + ~at_right]
    farther = np.where(~at_left if from_left else at_right, before, behind)
    single = (first == last) & ~at_left & ~at_right
    flat[holes] = np.repeat(np.where(single, (before + behind) / 2, farther), last - first + 1)


def disparity_of(depth: DepthMap, kind: DepthKind, ends: tuple[float, float]) -> DepthMap:
    """Convert depth to disparity from 0 (farthest) to 1 (nearest), for a video whose depth spans `ends`."""
    low, high = ends
    if kind == "depth_metres":
        nearest = max(low, NEAREST_SHARE * high, 1e-6)
        depth = np.reciprocal(np.maximum(depth, np.float32(nearest)))
        low, high = 1 / max(high, nearest), 1 / nearest
    depth = depth - np.float32(low)
    depth *= np.float32(1 / (high - low) if high > low else 1)
    return depth


class StereoVideo(VideoOutput):
    """`_sbs_LR.mp4` or `_sbs_TB.mp4`: both views, side by side or top and bottom; headsets recognise these names.

    `_sbs_anaglyph.mp4`: the left view in red, the right one in green and blue.
    """

    def __init__(self, run: RunInfo) -> None:
        options = run.options
        layout, (height, width) = options.stereo, run.size
        size = {"half": (height, max(width // 2, 1)), "tab": (max(height // 2, 1), width)}.get(layout, run.size)
        self._kind, self._size, self._layout = run.kind, size, layout
        self._eyes = EyeViews(run.size, size, options.stereo_depth / 100, options.stereo_plane)
        # Top and bottom or side by side; an anaglyph combines both.
        self._axis = 0 if layout in ("tab", "anaglyph") else 1
        self._range = Visualiser(run.kind, run.options, run.ends)
        ending = {"tab": "_TB", "anaglyph": "_anaglyph"}.get(layout, "_LR")
        self._both = (2 * size[0], size[1]) if self._axis == 0 else (size[0], 2 * size[1])
        logger.info("stereo: at most %.1f pixels of parallax in %d", options.stereo_depth / 100 * width, width)
        path = run.path(f"_sbs{ending}.mp4")
        shown = size if layout == "anaglyph" else self._both
        super().__init__(VideoWriter(path, shown, run.fps, audio=run.audio, codec=options.codec))

    def write(self, frame: Frame) -> None:
        ends = self._range.ends(frame)
        depth = cv2.resize(frame.depth, self._size[::-1], interpolation=cv2.INTER_NEAREST)
        both = np.empty((*self._both, 3), np.uint8)
        left, right = views = np.split(both, 2, axis=self._axis)
        self._eyes(frame.image, disparity_of(np.asarray(depth, np.float32), self._kind, ends), views)
        if self._layout == "anaglyph":
            right[..., 0] = left[..., 0]
        self._file.write(right if self._layout == "anaglyph" else both, frame.time, frame.duration)

    def close(self) -> None:
        super().close()
        if self._layout != "anaglyph":
            tag_stereo(self._file.path, TOP_BOTTOM if self._layout == "tab" else LEFT_RIGHT)
