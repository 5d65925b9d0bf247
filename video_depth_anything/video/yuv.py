"""Converts pictures of 256 colours to YUV with one look-up per plane, without RGB in between."""

from __future__ import annotations

import cv2
import numpy as np
import numpy.typing as npt
from av import VideoFrame

# From R, G and B of 0 to 255 to Y, U and V of limited range, by ITU-R BT.601.
BT601 = np.array([[65.481, 128.553, 24.966], [-37.797, -74.203, 112.0], [112.0, -93.786, -18.214]]) / 255
OFFSET = np.array([16, 128, 128])


def yuv_table(colors: npt.NDArray[np.uint8] | None) -> npt.NDArray[np.uint8]:
    """Convert colours (256, 3) uint8 RGB, or gray, to Y, U and V: (3, 256) uint8."""
    rgb = np.repeat(np.arange(256)[:, None], 3, axis=1) if colors is None else colors
    return np.ascontiguousarray(np.rint(BT601 @ rgb.T + OFFSET[:, None]), dtype=np.uint8)


def painted(levels: npt.NDArray[np.uint8], table: npt.NDArray[np.uint8]) -> VideoFrame:
    """Convert a picture (H, W) of levels, both sides even, to yuv420p; chroma is the mean of 2x2 pixels."""
    frame = VideoFrame(levels.shape[1], levels.shape[0], "yuv420p")
    for row, plane in zip(table, frame.planes):
        lines = np.frombuffer(plane, np.uint8).reshape(-1, plane.line_size)  # type: ignore[call-overload]
        shown = lines[:, : plane.width]
        if shown.shape == levels.shape:
            cv2.LUT(levels, row, dst=shown)
        else:
            cv2.resize(cv2.LUT(levels, row), shown.shape[::-1], dst=shown, interpolation=cv2.INTER_AREA)
    return frame
