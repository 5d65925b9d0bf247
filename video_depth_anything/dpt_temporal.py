"""DPT head with motion modules, in pieces: those that see one frame alone, and those that mix frames.

Shapes: B clips, T frames, N = B * T, C channels, h x w patches.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .config import PATCH_SIZE, ModelConfig
from .dinov2 import TokenMap
from .dpt import DPTHead, resize
from .motion_module import MotionModule
from .temporal_memory import AttentionMemory, ContextEntries, float32_region


class FrameFeatures(NamedTuple):
    """All that depth needs of a frame and that no other frame changes; first dimension N images.

    skip1: (N, features, 4h, 4w), finest skip branch, ready to be added to the path
    skip2: (N, features, 2h, 2w), the one below
    map3: (N, out_channels[2], h, w), input of motion module 0
    map4: (N, out_channels[3], ceil(h/2), ceil(w/2)), input of motion module 1
    """

    skip1: Tensor
    skip2: Tensor
    map3: Tensor
    map4: Tensor

    def split_frames(self) -> list[FrameFeatures]:
        """One `FrameFeatures` of N = 1 per image, as views."""
        return [FrameFeatures(*(x[i : i + 1] for x in self)) for i in range(self.map3.shape[0])]

    @classmethod
    def concatenate(cls, parts: Sequence[FrameFeatures]) -> FrameFeatures:
        """Join along the first dimension; a single part comes back as it is."""
        return parts[0] if len(parts) == 1 else cls(*(torch.cat(maps) for maps in zip(*parts)))


class DPTHeadTemporal(DPTHead):
    """Token maps of frames to depth; `decoding` says in which order the pieces run."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__(config)
        channels = (config.out_channels[2], config.out_channels[3], config.features, config.features)
        self.motion_modules = nn.ModuleList(MotionModule(c) for c in channels)

    def encode(self, taps: Sequence[TokenMap], grid: tuple[int, int]) -> FrameFeatures:
        """Per-frame half.

        Args:
            taps: four token maps of N images.
            grid: (h, w) in patches.
        """
        map1, map2, map3, map4 = (self.reassemble(i, tap.patches, grid) for i, tap in enumerate(taps))
        skip1, skip2 = (
            self.scratch.fusion(level).skip(self.scratch.narrow(level, x)) for level, x in ((1, map1), (2, map2))
        )
        return FrameFeatures(skip1, skip2, map3, map4)

    def coarse(self, map3: Tensor, map4: Tensor) -> tuple[Tensor, Tensor]:
        """From the two coarser maps, after their motion modules, to the path and the skip branch it meets.

        Args:
            map3, map4: (N, C, .., ..) as in `FrameFeatures`.

        Returns:
            path (N, features, h, w) before motion module 2, skip (N, features, h, w).
        """
        skip = self.scratch.fusion(3).skip(self.scratch.narrow(3, map3))
        path = self.scratch.fusion(4)(self.scratch.narrow(4, map4), None, (skip.shape[-2], skip.shape[-1]))
        return path, skip

    def fine(self, path: Tensor, skip: Tensor) -> Tensor:
        """The path after motion module 2 to the next finer map (N, features, 2h, 2w), before motion module 3."""
        return self.scratch.fusion(3)(path, skip, (2 * path.shape[-2], 2 * path.shape[-1]))

    def refine(self, path: Tensor, skip2: Tensor, skip1: Tensor) -> Tensor:
        """The path after motion module 3 and the skip branches to (N, features / 2, 8h, 8w)."""
        height, width = path.shape[-2:]
        path = self.scratch.fusion(2)(path, skip2, (2 * height, 2 * width))
        path = self.scratch.fusion(1)(path, skip1, (4 * height, 4 * width))
        return self.scratch.output_conv1(path)

    def finish(self, maps: Tensor) -> Tensor:
        """(N, features / 2, 8h, 8w) to depth (N, 14h, 14w), float32."""
        height, width = (PATCH_SIZE * side // 8 for side in maps.shape[-2:])
        out = resize(maps, (height, width))
        # Depth has more levels than half precision: the end of the head is float32 whatever the autocast type.
        with float32_region(out.device.type):
            return F.relu(self.scratch.output_conv2(out.float())).squeeze(1)

    def motion(self, index: int, maps: Tensor) -> Tensor:
        """Motion module `index` on all frames of a window: (B, T, C, .., ..) to the same shape."""
        mixed: Tensor = self.motion_modules[index](maps)
        return mixed

    def motion_step(
        self, index: int, maps: Tensor, memories: Sequence[AttentionMemory], entries: ContextEntries
    ) -> Tensor:
        """Motion module `index` on one new frame (B, C, .., ..) and what `memories` hold of those before."""
        return cast(MotionModule, self.motion_modules[index]).step(maps, memories, entries)
