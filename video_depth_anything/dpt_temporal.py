"""DPT head with motion modules, in pieces: those that see one frame alone, and those that mix frames.

Shapes: B clips, T frames, N = B * T, C channels, h x w patches.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .config import PATCH_SIZE
from .decoding import decode
from .dinov2 import TokenMap
from .dpt import DPTHead, resize
from .frame_features import FrameFeatures
from .motion_module import MAX_FRAMES, MotionModule
from .temporal_memory import AttentionMemory, ContextEntries, float32_region


class DPTHeadTemporal(DPTHead):
    """Token maps of frames to depth; `decoding` says in which order the pieces run.

    Args:
        in_channels: width of the tokens.
        features: width of the fusion path.
        use_bn: False; the published networks have no batch norm.
        out_channels: channels of the four maps.
        use_clstoken: False; the published networks do not read the class token.
        num_frames: 32; the length of the published position tables.
        pe: "ape"; the published positions are absolute.

    Raises:
        ValueError: for other values than the four that the published networks have.
    """

    def __init__(
        self,
        in_channels: int,
        features: int = 256,
        use_bn: bool = False,
        out_channels: Sequence[int] = (256, 512, 1024, 1024),
        use_clstoken: bool = False,
        num_frames: int = MAX_FRAMES,
        pe: str = "ape",
    ) -> None:
        given = {"use_bn": use_bn, "use_clstoken": use_clstoken, "num_frames": num_frames, "pe": pe}
        for name, only in {"use_bn": False, "use_clstoken": False, "num_frames": MAX_FRAMES, "pe": "ape"}.items():
            if given[name] != only:
                raise ValueError(
                    f"{name}={given[name]!r}: the published networks have {only!r}, and nothing else is known"
                )
        super().__init__(in_channels, features, out_channels)
        channels = (out_channels[2], out_channels[3], features, features)
        self.motion_modules = nn.ModuleList(MotionModule(c) for c in channels)

    def forward(
        self,
        out_features: Sequence[tuple[Tensor, Tensor]],
        patch_h: int,
        patch_w: int,
        frame_length: int,
        micro_batch_size: int = 4,
        cached_hidden_state_list: None = None,
    ) -> tuple[Tensor, list[Tensor]]:
        """Depth of windows from the encoder's tokens, in one call as the original's head.

        Args:
            out_features: of the four taps, patch tokens (B * T, h * w, C) and class token, clip by clip.
            patch_h: h.
            patch_w: w.
            frame_length: T, at most 32.
            micro_batch_size: frames of each clip rendered together, which bounds memory.
            cached_hidden_state_list: None; what streaming remembers is in `DepthStream`.

        Returns:
            (B * T, 1, 14h, 14w) float32, >= 0; and an empty list in place of the original's states.

        Raises:
            ValueError: if states are given.
        """
        if cached_hidden_state_list is not None:
            raise ValueError("cached states are not taken; video_depth_stream.DepthStream keeps its own")
        features = self.encode([TokenMap(*tap) for tap in out_features], (patch_h, patch_w))
        window = features.split_clips(frame_length)
        depth = torch.cat(list(decode(self, window, range(frame_length), micro_batch_size)), dim=1)
        return depth.flatten(0, 1).unsqueeze(1), []

    def encode(self, taps: Sequence[TokenMap], grid: tuple[int, int]) -> FrameFeatures:
        """Per-frame half.

        Args:
            taps: four token maps of N images.
            grid: (h, w) in patches.
        """
        # The two finest are enlarged by `refine`, in which they last for a few frames, and not for a window.
        map1, map2 = (self.project(i, taps[i].patches, grid) for i in (0, 1))
        map3, map4 = (self.reassemble(i, taps[i].patches, grid) for i in (2, 3))
        return FrameFeatures(map1, map2, map3, map4)

    def coarse(self, map3: Tensor, map4: Tensor) -> tuple[Tensor, Tensor]:
        """From the two coarser maps, after their motion modules, to the path and the skip branch it meets.

        Args:
            map3: (N, C, h, w) as in `FrameFeatures`.
            map4: (N, C, .., ..) as in `FrameFeatures`.

        Returns:
            path (N, features, h, w) before motion module 2, skip (N, features, h, w).
        """
        skip = self.scratch.fusion(3).skip(self.scratch.narrow(3, map3))
        path = self.scratch.fusion(4)(self.scratch.narrow(4, map4), None, (skip.shape[-2], skip.shape[-1]))
        return path, skip

    def fine(self, path: Tensor, skip: Tensor) -> Tensor:
        """The path after motion module 2 to the next finer map (N, features, 2h, 2w), before motion module 3."""
        return self.scratch.fusion(3)(path, skip, (2 * path.shape[-2], 2 * path.shape[-1]))

    def refine(self, path: Tensor, map2: Tensor, map1: Tensor) -> Tensor:
        """The path after motion module 3 and maps as in `FrameFeatures` to (N, features / 2, 8h, 8w)."""
        height, width = path.shape[-2:]
        path = self.scratch.fusion(2)(path, self.skip(2, map2), (2 * height, 2 * width))
        path = self.scratch.fusion(1)(path, self.skip(1, map1), (4 * height, 4 * width))
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
