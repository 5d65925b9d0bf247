"""Preprocessing in steps on sample dictionaries, as users of the original compose it (MiDaS, arXiv:1907.01341).

The pipelines do not use these: `video_depth_anything.transform` does the same to float32 rounding, and on the device.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, Literal

import cv2
import numpy as np

Sample = dict[str, Any]


class Resize:
    """Resizes sample["image"] (H, W, 3) to about a given size.

    Args:
        width: of the result in pixels.
        height: of the result in pixels.
        resize_target: whether "depth" and "mask" are resized too, to the nearest pixel.
        keep_aspect_ratio: scale both sides alike, as `resize_method` says.
        ensure_multiple_of: what both sides of the result must be multiples of.
        resize_method: "lower_bound": at least the given size; "upper_bound": at most; "minimal": scale as little as
            possible.
        image_interpolation_method: OpenCV's number of the method for the image.

    Raises:
        ValueError: if there is no such method.
    """

    def __init__(
        self,
        width: int,
        height: int,
        resize_target: bool | None = True,
        keep_aspect_ratio: bool = False,
        ensure_multiple_of: int = 1,
        resize_method: Literal["lower_bound", "upper_bound", "minimal"] = "lower_bound",
        image_interpolation_method: int = cv2.INTER_AREA,
    ) -> None:
        if resize_method not in ("lower_bound", "upper_bound", "minimal"):
            raise ValueError(f"unknown resize_method {resize_method!r}; use lower_bound, upper_bound or minimal")
        self.width, self.height = width, height
        self.resize_target = resize_target
        self.keep_aspect_ratio = keep_aspect_ratio
        self.ensure_multiple_of = ensure_multiple_of
        self.resize_method = resize_method
        self.image_interpolation_method = image_interpolation_method

    def get_size(self, width: int, height: int) -> tuple[int, int]:
        """Size (width, height) of the result for an image of that size."""
        scales = self.width / width, self.height / height
        if self.keep_aspect_ratio:
            choose = {"lower_bound": max, "upper_bound": min}.get(self.resize_method)
            scale = choose(scales) if choose else min(scales, key=lambda x: abs(1 - x))
            scales = scale, scale
        return self._multiple(width * scales[0], self.width), self._multiple(height * scales[1], self.height)

    def _multiple(self, side: float, bound: int) -> int:
        step = self.ensure_multiple_of
        nearest = round(side / step) * step
        if self.resize_method == "upper_bound" and nearest > bound:
            return math.floor(side / step) * step
        if self.resize_method == "lower_bound" and nearest < bound:
            return math.ceil(side / step) * step
        return nearest

    def __call__(self, sample: Sample) -> Sample:
        height, width = sample["image"].shape[:2]
        size = self.get_size(width, height)
        sample["image"] = cv2.resize(sample["image"], size, interpolation=self.image_interpolation_method)
        for name in ("depth", "mask"):
            if self.resize_target and name in sample:
                values = np.asarray(sample[name], dtype=np.float32)
                resized = cv2.resize(values, size, interpolation=cv2.INTER_NEAREST)
                sample[name] = resized.astype(bool) if name == "mask" else resized
        return sample


class NormalizeImage:
    """Subtracts a mean from sample["image"] and divides it by a standard deviation.

    Args:
        mean: of each channel.
        std: of each channel.
    """

    def __init__(self, mean: Sequence[float], std: Sequence[float]) -> None:
        self.mean, self.std = np.asarray(mean), np.asarray(std)

    def __call__(self, sample: Sample) -> Sample:
        sample["image"] = (sample["image"] - self.mean) / self.std
        return sample


class PrepareForNet:
    """Makes float32 arrays of sample["image"], with the channels first, and of its "depth" and "mask"."""

    def __call__(self, sample: Sample) -> Sample:
        image = np.asarray(sample["image"]).transpose(2, 0, 1)
        sample["image"] = np.ascontiguousarray(image, dtype=np.float32)
        for name in ("depth", "mask"):
            if name in sample:
                sample[name] = np.ascontiguousarray(sample[name], dtype=np.float32)
        return sample
