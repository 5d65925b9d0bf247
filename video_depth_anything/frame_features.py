"""The per-frame half's output, which is the input of the temporal half.

Shapes: N images, B clips, h x w patches.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor


class FrameFeatures(NamedTuple):
    """Everything computed from a single frame that its depth needs; first dimension N images.

    map1: (N, out_channels[0], h, w), input of the finest skip branch
    map2: (N, out_channels[1], h, w), input of the next one
    map3: (N, out_channels[2], h, w), input of motion module 0
    map4: (N, out_channels[3], ceil(h/2), ceil(w/2)), input of motion module 1
    """

    map1: Tensor
    map2: Tensor
    map3: Tensor
    map4: Tensor

    def split_frames(self) -> list[FrameFeatures]:
        """Split into one `FrameFeatures` of N = 1 per image, as views."""
        return [FrameFeatures(*(x[i : i + 1] for x in self)) for i in range(self.map3.shape[0])]

    def split_clips(self, length: int) -> list[FrameFeatures]:
        """Split into the `length` frames of a window, of N = B clips, as views; images are ordered clip by clip."""
        clips = [x.unflatten(0, (-1, length)) for x in self]
        return [FrameFeatures(*(x[:, t] for x in clips)) for t in range(length)]

    @classmethod
    def concatenate(cls, parts: Sequence[FrameFeatures]) -> FrameFeatures:
        """Join along the first dimension; a single part is returned unchanged."""
        return parts[0] if len(parts) == 1 else cls(*(torch.cat(maps) for maps in zip(*parts)))
