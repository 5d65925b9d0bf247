"""DPT head with motion modules: the half that sees one frame alone, and the half that mixes frames.

Shapes: B clips, T frames, N = B * T, C channels, h x w patches.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .config import PATCH_SIZE, ModelConfig
from .dinov2 import TokenMap
from .dpt import DPTHead, resize
from .motion_module import MotionModule, TemporalMemory, context_entries, float32_region

# Applies the motion module of that number to all maps (N, C, .., ..) at hand.
Motion = Callable[[int, Tensor], Tensor]


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
    """Token maps of a window of frames to depth."""

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

    def mix(self, map3: Tensor, map4: Tensor, size: tuple[int, int], motion: Motion) -> Tensor:
        """Temporal half: everything up to the last motion module.

        Args:
            map3, map4: (N, C, .., ..), all frames at hand, as in `FrameFeatures`.
            size: pixels of the second map of the pyramid (2h, 2w), which the result has.
            motion: mixes the frames of a window, or a new frame with those remembered.

        Returns:
            (N, features, 2h, 2w), the path that the finer levels refine frame by frame.
        """
        map3, map4 = motion(0, map3), motion(1, map4)
        skip = self.scratch.fusion(3).skip(self.scratch.narrow(3, map3))
        path = self.scratch.fusion(4)(self.scratch.narrow(4, map4), None, (skip.shape[-2], skip.shape[-1]))
        path = self.scratch.fusion(3)(motion(2, path), skip, size)
        return motion(3, path)

    def render(self, path: Tensor, skip2: Tensor, skip1: Tensor, grid: tuple[int, int]) -> Tensor:
        """Per-frame end: (N, features, 2h, 2w) and the skip branches to depth (N, 14h, 14w), float32."""
        h, w = grid
        path = self.scratch.fusion(2)(path, skip2, (4 * h, 4 * w))
        path = self.scratch.fusion(1)(path, skip1, (8 * h, 8 * w))
        out = resize(self.scratch.output_conv1(path), (PATCH_SIZE * h, PATCH_SIZE * w))
        # Depth has more levels than half precision: the end of the head is float32 whatever the autocast type.
        with float32_region(out.device.type):
            return F.relu(self.scratch.output_conv2(out.float())).squeeze(1)

    def decode(self, window: Sequence[FrameFeatures], slots: Sequence[int], frames_at_once: int) -> Iterator[Tensor]:
        """Depth of chosen slots of a window.

        Args:
            window: one `FrameFeatures` per slot, N = B clips each.
            slots: the slots to render; the others only take part in the mixing.
            frames_at_once: slots rendered together, which bounds the memory of the high-resolution end.

        Yields:
            (B, n, 14h, 14w) float32 for the next n <= frames_at_once slots.
        """
        batch, _, h, w = window[0].map3.shape
        maps3, maps4 = (torch.stack([getattr(f, name) for f in window], dim=1) for name in ("map3", "map4"))

        def motion(index: int, maps: Tensor) -> Tensor:
            mixed: Tensor = self.motion_modules[index](maps.unflatten(0, (batch, -1)))
            return mixed.flatten(0, 1)

        path = self.mix(maps3.flatten(0, 1), maps4.flatten(0, 1), (2 * h, 2 * w), motion).unflatten(0, (batch, -1))
        for start in range(0, len(slots), frames_at_once):
            chosen = list(slots[start : start + frames_at_once])
            skip1, skip2 = (
                torch.stack([getattr(window[s], name) for s in chosen], dim=1).flatten(0, 1)
                for name in ("skip1", "skip2")
            )
            depth = self.render(path[:, chosen].flatten(0, 1), skip2, skip1, (h, w))
            yield depth.unflatten(0, (batch, -1))

    @torch.no_grad()
    def step(self, features: FrameFeatures, memory: TemporalMemory) -> Tensor:
        """Depth of a video's next frame, given what `memory` holds of those before; the frame is added to it.

        Should it fail, the memory is as it was as far as the next call can tell.

        Args:
            features: of one frame of N = B videos, the same ones each time.

        Returns:
            (B, 14h, 14w) float32.
        """
        h, w = features.map3.shape[-2:]
        entries = context_entries(memory.frames_seen)

        def motion(index: int, maps: Tensor) -> Tensor:
            return cast(MotionModule, self.motion_modules[index]).step(maps, memory.of_module(index), entries)

        path = self.mix(features.map3, features.map4, (2 * h, 2 * w), motion)
        depth = self.render(path, features.skip2, features.skip1, (h, w))
        memory.frames_seen += 1
        return depth
