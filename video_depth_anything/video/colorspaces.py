"""How an image's pixel values encode light, and their conversion to sRGB."""

from __future__ import annotations

from functools import cache

import numpy as np
import numpy.typing as npt

from .options import Colorspace as Colorspace
from .tone_mapping import srgb_encoded

# Cineon printing density, after Kodak: code 685 of 1023 is white, 95 is black, 0.002 density a code, film's gamma 0.6.
LOG_WHITE, LOG_BLACK, LOG_LEVELS = 685, 95, 1023
LOG_STEP = 0.002 / 0.6
TABLE_ENTRIES = 1 << 16


def displayed(values: npt.NDArray[np.floating], colorspace: Colorspace) -> npt.NDArray[np.uint8]:
    """Encode pixel values (1 is white) as sRGB uint8; values outside 0 to 1 are clipped, NaN becomes black."""
    values = np.clip(np.nan_to_num(values.astype(np.float32), nan=0.0), 0, 1)
    if colorspace in ("auto", "srgb"):
        return np.asarray(np.rint(values * 255), dtype=np.uint8)
    return _table(colorspace)[np.rint(np.sqrt(values) * (TABLE_ENTRIES - 1)).astype(np.uint16)]


@cache
def _table(colorspace: Colorspace) -> npt.NDArray[np.uint8]:
    """Tabulate a curve in 65,536 steps of the square root: precise in the dark, and no power function per pixel."""
    values = (np.arange(TABLE_ENTRIES) / (TABLE_ENTRIES - 1)) ** 2
    if colorspace == "rec709":
        values = np.where(values < 0.081, values / 4.5, ((values + 0.099) / 1.099) ** (1 / 0.45))
    elif colorspace == "log":
        black = 10 ** ((LOG_BLACK - LOG_WHITE) * LOG_STEP)
        values = (10 ** ((values * LOG_LEVELS - LOG_WHITE) * LOG_STEP) - black) / (1 - black)
    return np.asarray(np.rint(np.clip(srgb_encoded(values), 0, 1) * 255), np.uint8)
