"""Checks depth for NaN and infinity: half precision can overflow, and checkpoints can be damaged."""

from __future__ import annotations

import logging
from collections.abc import Sequence

from torch import Tensor

from .errors import NonFiniteError

logger = logging.getLogger(__name__)


def count_non_finite(depth: Tensor) -> list[int]:
    """Count NaN and infinite pixels of each map (N, H, W); only N numbers are copied to the host."""
    if depth.sum().isfinite():  # then all pixels are; checking each one costs 50 times as much
        return [0] * len(depth)
    missing: list[int] = depth.isfinite().logical_not().flatten(1).sum(1).tolist()
    return missing


class FiniteWatch:
    """Reports the first frames of a video with NaN or infinite pixels; a frame without finite pixels is an error."""

    def __init__(self) -> None:
        self._warned = False
        self._warned_of_overflow = False

    def overflowed(self, frames: Sequence[int]) -> None:
        """Report that float16 overflowed on these frames, which are recomputed."""
        if not self._warned_of_overflow:
            logger.warning(
                "float16 overflows on %s; computed again in bfloat16, as are later ones; "
                "--precision bf16 or fp32 avoids this",
                _named(frames),
            )
            self._warned_of_overflow = True

    def check(self, frames: Sequence[int], missing: Sequence[int], num_pixels: int) -> None:
        """Check maps of `num_pixels` pixels, given the number of non-finite ones in each.

        Raises:
            NonFiniteError: if one has no finite pixel at all.
        """
        found = [frame for frame, count in zip(frames, missing) if count]
        lost = [frame for frame, count in zip(frames, missing) if count == num_pixels]
        if lost:
            raise NonFiniteError(
                f"{_named(lost)}: no pixel has a finite depth; try --precision fp32, or another checkpoint"
            )
        if found and not self._warned:
            logger.warning(
                "%s: %d pixels have NaN or infinite depth; later ones are not reported", _named(found), sum(missing)
            )
            self._warned = True


def _named(frames: Sequence[int]) -> str:
    """Format frame numbers; long lists are shortened."""
    shown = ", ".join(map(str, frames[:5])) + (f" and {len(frames) - 5} more" if len(frames) > 5 else "")
    return f"{'frame' if len(frames) == 1 else 'frames'} {shown}"
