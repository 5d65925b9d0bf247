"""Tone mapping from HDR to SDR.

Signals are those of ITU-R BT.2100 (PQ and HLG). Highlights are compressed by the EETF of ITU-R BT.2390, applied to
the largest of red, green and blue, so that gray stays gray and hues stay. Diffuse white, 203 cd/m2 by BT.2408,
becomes SDR white. All of this depends on one pixel only, so it is tabulated once.
"""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Literal

import numpy as np
import numpy.typing as npt
from av import VideoFrame
from av.filter import Graph

from .filters import filter_graph

Transfer = Literal["pq", "hlg"]
Pixels = npt.NDArray[np.float64]

# Peak luminance expected of a recording, and the luminance of SDR white, in cd/m2.
SOURCE_PEAK, TARGET_PEAK = 1000.0, 203.0
# Entries per side of the table: 99 % of random colours are within one level of 255 of the exact value.
TABLE_SIDE = 49

# Chromaticities x, y of red, green and blue by their code in ITU-T H.273; all with the white of daylight D65.
PRIMARIES = {
    1: ((0.640, 0.330), (0.300, 0.600), (0.150, 0.060)),
    9: ((0.708, 0.292), (0.170, 0.797), (0.131, 0.046)),
    12: ((0.680, 0.320), (0.265, 0.690), (0.150, 0.060)),
}
BT709, BT2020 = 1, 9
D65 = (0.3127, 0.3290)

# BT.2100's constants of PQ and HLG.
PQ_M1, PQ_M2 = 2610 / 16384, 2523 / 4096 * 128
PQ_C1, PQ_C2, PQ_C3 = 3424 / 4096, 2413 / 4096 * 32, 2392 / 4096 * 32
HLG_A, HLG_B, HLG_C = 0.17883277, 0.28466892, 0.55991073
# The system gamma at a peak of 1000 cd/m2.
HLG_GAMMA = 1.2
LUMA_2020 = (0.2627, 0.6780, 0.0593)


def pq_to_light(signal: Pixels) -> Pixels:
    """PQ signal, 0 to 1, to light in cd/m2, 0 to 10000."""
    power = signal ** (1 / PQ_M2)
    return np.asarray(10000 * (np.maximum(power - PQ_C1, 0) / (PQ_C2 - PQ_C3 * power)) ** (1 / PQ_M1))


def light_to_pq(light: Pixels) -> Pixels:
    """Light in cd/m2 to PQ signal."""
    power = (light / 10000) ** PQ_M1
    return np.asarray(((PQ_C1 + PQ_C2 * power) / (1 + PQ_C3 * power)) ** PQ_M2)


def hlg_to_light(signal: Pixels) -> Pixels:
    """HLG signal (..., 3), 0 to 1, to light in cd/m2 as a screen of 1000 cd/m2 shows it."""
    scene = np.where(signal <= 0.5, signal**2 / 3, (np.exp((signal - HLG_C) / HLG_A) + HLG_B) / 12)
    luminance = scene @ np.array(LUMA_2020)
    return np.asarray(1000 * scene * (luminance ** (HLG_GAMMA - 1))[..., None])


def compressed(light: Pixels) -> Pixels:
    """Compress light from 0 to `SOURCE_PEAK` into 0 to `TARGET_PEAK`, in cd/m2: the EETF of BT.2390.

    Dark and middle tones stay; above a knee, a Hermite spline on the PQ scale reaches the new peak.
    """
    peak = float(light_to_pq(np.array(SOURCE_PEAK)))
    top = float(light_to_pq(np.array(TARGET_PEAK))) / peak
    signal = np.minimum(light_to_pq(light) / peak, 1)
    knee = 1.5 * top - 0.5
    t = np.clip((signal - knee) / (1 - knee), 0, 1)
    spline = (2 * t**3 - 3 * t**2 + 1) * knee + (t**3 - 2 * t**2 + t) * (1 - knee) + (3 * t**2 - 2 * t**3) * top
    return pq_to_light(np.asarray(np.where(signal < knee, signal, spline) * peak, dtype=np.float64))


def srgb_encoded(linear: Pixels) -> Pixels:
    """Linear light in the sRGB curve (IEC 61966-2-1), 0 to 1; continued beyond both ends."""
    size = np.abs(linear)
    return np.asarray(
        np.sign(linear) * np.where(size <= 0.0031308, 12.92 * size, 1.055 * np.maximum(size, 1e-9) ** (1 / 2.4) - 0.055)
    )


def to_bt709(primaries: int) -> Pixels:
    """Matrix (3, 3) from linear RGB of these primaries (H.273 codes; unknown ones count as BT.2020) to BT.709's."""
    known = primaries if primaries in PRIMARIES else BT2020
    return np.asarray(np.linalg.solve(_to_xyz(BT709), _to_xyz(known)), dtype=np.float64)


def _to_xyz(primaries: int) -> Pixels:
    columns = np.array([(x / y, 1, (1 - x - y) / y) for x, y in PRIMARIES[primaries]]).T
    white = np.array([D65[0] / D65[1], 1, (1 - D65[0] - D65[1]) / D65[1]])
    return np.asarray(columns * np.linalg.solve(columns, white))


def tone_mapped(signal: Pixels, transfer: Transfer, primaries: int) -> Pixels:
    """HDR signals (..., 3) RGB, 0 to 1, to sRGB signals of BT.709's primaries; `primaries` is their H.273 code.

    Colours outside of their gamut lie outside of 0 to 1. They are clipped last: a table of clipped values would
    interpolate badly.
    """
    light = pq_to_light(signal) if transfer == "pq" else hlg_to_light(signal)
    largest = np.maximum(light.max(axis=-1, keepdims=True), 1e-6)
    mapped = light * compressed(largest) / largest / TARGET_PEAK
    return srgb_encoded(mapped @ to_bt709(primaries).T)


class ToneMapper:
    """Applies `tone_mapped` to frames with a 3D table and tetrahedral interpolation, in 16 bits."""

    # Pixel format of `map`'s input and output.
    FORMAT = "gbrp16le"

    def __init__(self, transfer: Transfer, primaries: int) -> None:
        steps = np.linspace(0, 1, TABLE_SIDE)
        blue, green, red = np.meshgrid(steps, steps, steps, indexing="ij")  # red runs fastest
        self._table = tone_mapped(np.stack([red, green, blue], axis=-1).reshape(-1, 3), transfer, primaries)
        self._graph: Graph | None = None
        self._size = (0, 0)

    def map(self, frame: VideoFrame) -> VideoFrame:
        """Convert a frame of HDR signals in `FORMAT` to sRGB signals in the same format."""
        if self._graph is None or self._size != (frame.width, frame.height):
            self._size = frame.width, frame.height
            with tempfile.TemporaryDirectory() as folder:
                path = Path(folder) / "table.cube"
                rows = map("%.6f %.6f %.6f".__mod__, map(tuple, self._table.tolist()))
                path.write_text("\n".join((f"LUT_3D_SIZE {TABLE_SIDE}", *rows, "")))
                self._graph = filter_graph(frame, "lut3d", file=str(path), interp="tetrahedral")
        self._graph.vpush(frame)
        return self._graph.vpull()
