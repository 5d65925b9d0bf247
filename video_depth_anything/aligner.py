"""The aligner that joins the depth of consecutive windows into one sequence."""

from __future__ import annotations

import logging

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from .alignment import fit_scale_and_shift
from .windows import ALIGN_LEN, INTERP_LEN, KEYFRAMES, OVERLAP

logger = logging.getLogger(__name__)

# Weights of the new window in the cross-fade.
FADE_WEIGHTS: tuple[float, ...] = tuple(i / (INTERP_LEN - 1) for i in range(INTERP_LEN))


class WindowAligner:
    """Joins the depth of consecutive windows into one sequence; one object per video.

    Holds two reference maps and the eight frames that the next window may still change, whatever the video's length.
    Relative models: each window is mapped onto what came before by the scale and shift that fit its slots 0 and 1.
    Metric models predict metres already and are only cross-faded. Everything but the fit itself happens on the device
    that the windows are on.
    """

    def __init__(self, metric: bool) -> None:
        self._metric = metric
        self._first: Tensor | None = None  # frame 0 as window 0 predicted it
        self._second: Tensor | None = None  # what the next window shows in slot 1, aligned
        self._tail: list[Tensor] = []  # at most INTERP_LEN frames
        self._scale_shift = (1.0, 0.0)
        self._warned = False

    def add(self, window: Tensor) -> list[Tensor]:
        """Take the next window and return the frames that are final now.

        Args:
            window: (n, H, W) float32, depth of the window's slots 0..n-1. n is 32 but where the video ends inside the
                window: then the slots after the video's last frame may be left out.

        Returns:
            Maps (H, W) float32 on the window's device, in the order of the video; tensors of their own or views.
        """
        if self._first is None:
            frames = list(window.unbind())
            self._first = window[0]
        else:
            window = self._align(window)
            post = window[ALIGN_LEN:OVERLAP]
            # Weight zero is no weight at all: zero times infinity would be none.
            faded = [pre * (1.0 - w) + new * w if w else pre for w, pre, new in zip(FADE_WEIGHTS, self._tail, post)]
            frames = faded + list(window[OVERLAP:].unbind())
        # Slots 24..31 are the next window's slots 2..9, which may still change them.
        held = len(window) - KEYFRAMES[ALIGN_LEN]
        final = frames[: len(frames) - max(held, 0)]
        self._tail = frames[len(final) :]
        # A window too short for this keyframe is the last one.
        self._second = window[KEYFRAMES[1]] if len(window) > KEYFRAMES[1] else None
        return final

    def finish(self) -> list[Tensor]:
        """Return the frames held back for a next window that does not come."""
        tail, self._tail = self._tail, []
        return tail

    def _align(self, window: Tensor) -> Tensor:
        if self._metric:
            return window
        if self._first is None or self._second is None:
            raise ValueError("the window before was cut short, so no window can follow it")
        # Two maps are little to copy, and not every device has float64.
        target = torch.stack([self._first, self._second])
        scale, shift = self._scale_and_shift(window[:ALIGN_LEN].cpu().numpy(), target.cpu().numpy())
        return window.mul(scale).add_(shift).clamp_(min=0)

    def _scale_and_shift(
        self, prediction: npt.NDArray[np.float32], target: npt.NDArray[np.float32]
    ) -> tuple[float, float]:
        """Scale and shift of this window; those of the window before where they cannot be found.

        No window may poison the ones after it: non-finite pixels are left out, and a fit that is singular or turns
        near and far around is not believed.
        """
        mask = np.isfinite(prediction) & np.isfinite(target)
        fit = fit_scale_and_shift(prediction, target, mask)
        if fit is None or not np.isfinite(fit).all() or fit[0] <= 0:
            if not self._warned:
                logger.warning("a window could not be aligned to the one before; its scale and shift are kept")
                self._warned = True
            return self._scale_shift
        self._scale_shift = fit
        return fit
