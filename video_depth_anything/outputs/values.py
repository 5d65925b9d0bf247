"""Values of numeric outputs: depth unchanged or scaled to the video's range, as floats or 16 bits."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

from ..video.frame import DepthMap
from .options import DepthForm, DepthKind

# Metric 16-bit files store millimetres, like most depth cameras: up to 65.5 m.
UNITS_PER_METRE = 1000
LEVELS = 65535


@dataclass(frozen=True)
class Values:
    """How numeric outputs transform depth."""

    kind: DepthKind
    form: DepthForm = "raw"  # or 0..1 over `ends`: 0 for the smallest (normalized) or largest value (inverted)
    ends: tuple[float, float] | None = None  # lowest and highest value of the video; None: unknown, form is raw
    grid: tuple[int, int] | None = None  # size (H, W) of the values; None: that of the depth

    def __call__(self, depth: DepthMap) -> DepthMap:
        """Transform depth (H, W) float32; NaN and infinite pixels stay."""
        if self.grid not in (None, depth.shape):
            depth = cv2.resize(depth, self.grid[::-1], interpolation=cv2.INTER_AREA)  # type: ignore[assignment]
        if self.form == "raw":
            return depth
        assert self.ends is not None
        low, high = self.ends
        first, last = (low, high) if self.form == "normalized" else (high, low)
        with np.errstate(invalid="ignore"):
            scaled = (depth - np.float32(first)) / np.float32(last - first if low < high else 1.0)
        return np.where(np.isfinite(depth), np.clip(scaled, 0, 1), depth).astype(np.float32, copy=False)

    def facts(self) -> dict[str, str | float]:
        """Metadata for readers: kind, form, and the ends from which depth can be recovered."""
        facts: dict[str, str | float] = {"kind": self.kind, "depth": self.form}
        if self.form != "raw" and self.ends is not None:
            facts |= {"lowest": self.ends[0], "highest": self.ends[1]}
        return facts

    def mapping(self, ends: tuple[float, float] | None = None) -> tuple[float, float]:
        """(scale, offset) of 16-bit files, value = level * scale + offset: millimetres for metres, else a value range.

        The range is `ends` if given, else the video's.
        """
        if self.form != "raw":
            return 1 / LEVELS, 0.0
        if self.kind == "depth_metres":
            return 1 / UNITS_PER_METRE, 0.0
        return spanned(*(ends or self.ends or (0.0, 0.0)))


def spanned(low: float, high: float) -> tuple[float, float]:
    """(scale, offset) that map low to high onto 16 bits."""
    return ((high - low) / LEVELS if high > low else 1.0), low


def to_16_bit(values: npt.NDArray[np.floating], scale: float, offset: float) -> npt.NDArray[np.uint16]:
    """Quantise to levels 0..65535, uint16, with value = level * scale + offset; NaN becomes 0."""
    levels = np.nan_to_num((values.astype(np.float64) - offset) / scale, nan=0.0, posinf=LEVELS, neginf=0.0)
    return np.clip(np.rint(levels), 0, LEVELS).astype(np.uint16)
