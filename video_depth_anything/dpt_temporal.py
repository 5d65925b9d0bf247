"""The DPT head with motion modules. `decoding` runs its pieces in order."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from .config import check_published
from .decoding import decode, step
from .dpt import DPTHead
from .motion_module.motion_module import MAX_FRAMES, Past, TemporalModule
from .temporal_memory import AttentionMemory, ContextEntries, StateMemory


class DPTHeadTemporal(DPTHead):
    """Turns tokens of a window's frames, or of a stream's next frame, into depth.

    Arguments are those of `DPTHead`, and two that have one value: `num_frames` is the length of the published position
    tables, which are absolute ("ape").
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
        check_published({"num_frames": num_frames, "pe": pe}, {"num_frames": MAX_FRAMES, "pe": "ape"})
        super().__init__(in_channels, features, use_bn, out_channels, use_clstoken)
        channels = (out_channels[2], out_channels[3], features, features)
        self.motion_modules = nn.ModuleList(TemporalModule(c) for c in channels)

    def forward(  # type: ignore[override]
        self,
        out_features: Sequence[tuple[Tensor, ...]],
        patch_h: int,
        patch_w: int,
        frame_length: int,
        micro_batch_size: int = 4,
        cached_hidden_state_list: Sequence[Tensor] | None = None,
    ) -> tuple[Tensor, list[Tensor]]:
        """Depth of windows, or of the frame that follows cached states, as the original's head.

        Args:
            out_features: of the four taps, patch tokens (B * T, h * w, C) and class token, clip by clip.
            patch_h: h.
            patch_w: w.
            frame_length: T, at most 32; 1 with cached states.
            micro_batch_size: frames of each clip rendered together, which bounds memory.
            cached_hidden_state_list: for each of the eight temporal attentions, the states of n <= 31 earlier frames in
                order: results of earlier calls, joined along dimension 1.

        Returns:
            (B * T, 1, 14h, 14w) float32, >= 0; and the eight states of these frames, (pixels, T, ..). They hold keys
            and values; the original's hold the inputs of these projections.

        Raises:
            ValueError: if there is more than one frame after cached states, or there are more than 32 in all.
        """
        features = self.encode(out_features, (patch_h, patch_w))
        if cached_hidden_state_list or (frame_length == 1 and not torch.is_grad_enabled()):
            if frame_length != 1:
                raise ValueError(f"one frame at a time follows cached states, got {frame_length}")
            memory = StateMemory([cached_hidden_state_list] if cached_hidden_state_list else [])
            return step(self, features, memory).unsqueeze(1), memory.states()
        states: list[Tensor] = []

        def motion(index: int, maps: Tensor) -> Tensor:
            mixed, kept = self.motion_modules[index](maps.transpose(1, 2), None, None)
            states.extend(kept)
            return mixed.transpose(1, 2)

        window = features.split_clips(frame_length)
        depth = torch.cat(list(decode(self, window, range(frame_length), micro_batch_size, motion)), dim=1)
        return depth.flatten(0, 1).unsqueeze(1), states

    def motion(self, index: int, maps: Tensor) -> Tensor:
        """Apply motion module `index` to all frames of a window: (B, T, C, .., ..) to the same shape."""
        mixed: Tensor = self.motion_modules[index](maps.transpose(1, 2), None, None, None, False)[0]
        return mixed.transpose(1, 2)

    def motion_step(
        self, index: int, maps: Tensor, memories: Sequence[AttentionMemory], entries: ContextEntries
    ) -> Tensor:
        """Apply motion module `index` to one new frame (B, C, .., ..) and the `memories` of earlier ones."""
        mixed: Tensor = self.motion_modules[index](maps.unsqueeze(2), None, None, Past(memories, entries))[0]
        return mixed.squeeze(2)
