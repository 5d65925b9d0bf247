"""The two exported forms of the network: a window of frames, and a stream's step with explicit state.

Shapes: T frames, C channels, H x W pixels of the network's input, h x w pixels of a map, P = h * w.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .. import decoding
from ..config import PATCH_SIZE, POSITION_GRID
from ..dinov2 import POSITION_SCALE_OFFSET
from ..dpt_temporal import DPTHeadTemporal
from ..temporal_memory import (
    ANCHOR,
    LATEST,
    NUM_ATTENTIONS,
    NUM_HEADS,
    OLDEST,
    RING,
    AttentionMemory,
    ContextEntries,
    TemporalMemory,
)
from ..video_depth import VideoDepthAnything
from ..windows import INFER_LEN

# Parameter of PyTorch's bicubic kernel (Keys, 1981).
CUBIC = -0.75


def resize_matrix(length: int, offset: Tensor) -> Tensor:
    """Bicubic resampling of one side of the stored grid to `length` points, as a matrix (length, POSITION_GRID).

    Does what `F.interpolate` does in `DinoVisionTransformer.position_embedding`, with operations that all runtimes
    support for a dynamic length. The scale factor's numerator is `length` plus the scalar `offset`.
    """
    step = POSITION_GRID / (length + offset)
    position = (torch.arange(length, dtype=torch.float32) + 0.5) * step - 0.5
    first = torch.floor(position)
    taps = torch.arange(-1, 3)
    # All taps in one table: OpenVINO 2026.4 evaluates the same polynomials on a vector wrongly.
    distance = ((position - first)[:, None] - taps).abs()
    near = ((CUBIC + 2) * distance - (CUBIC + 3)) * distance * distance + 1
    far = ((CUBIC * distance - 5 * CUBIC) * distance + 8 * CUBIC) * distance - 4 * CUBIC
    weight = torch.where(distance <= 1, near, far)
    index = (first[:, None] + taps).clamp(0, POSITION_GRID - 1)
    return (weight[..., None] * (torch.arange(POSITION_GRID) == index[..., None])).sum(1)


class WindowModule(nn.Module):
    """Turns frames (1, T, 3, H, W) into depth (1, T, H, W) float32; T <= 32, H and W are multiples of 14."""

    def __init__(self, model: VideoDepthAnything) -> None:
        super().__init__()
        self.model = model

    def forward(self, frames: Tensor) -> Tensor:
        length = frames.shape[1]
        h, w = frames.shape[-2] // PATCH_SIZE, frames.shape[-1] // PATCH_SIZE
        head = self.model.head
        encoder = self.model.pretrained
        taps = encoder.get_intermediate_layers(
            frames[0], encoder.taps, return_class_token=True, position=self.positions(h, w)
        )
        map1, map2, map3, map4 = head.encode(taps, (h, w))
        path, skip = head.coarse(self._mix(0, map3), self._mix(1, map4))
        path = self._mix(3, head.fine(self._mix(2, path), skip))
        return head.finish(head.refine(path, map2, map1)).view(1, length, h * PATCH_SIZE, w * PATCH_SIZE)

    def _mix(self, index: int, maps: Tensor) -> Tensor:
        """Apply motion module `index` to (T, C, h, w), all pixels together: a graph cannot loop over parts."""
        transformer: Any = self.model.head.motion_modules[index].temporal_transformer
        height, width = maps.shape[-2:]
        pixels = transformer.norm(maps).permute(0, 2, 3, 1).flatten(1, 2).transpose(0, 1)  # (P, T, C)
        mixed: Tensor = transformer.mix(pixels).transpose(0, 1).unflatten(1, (height, width))
        return maps + mixed.permute(0, 3, 1, 2)

    def positions(self, h: int, w: int) -> Tensor:
        """Like `DinoVisionTransformer.position_embedding`, with operations that can be exported for any h and w."""
        stored = self.model.pretrained.pos_embed
        grid = stored[0, 1:].unflatten(0, (POSITION_GRID, POSITION_GRID))
        # The stored grid is used unchanged: without the offset, the matrices are the identity.
        both = torch.tensor([h, w]) == POSITION_GRID
        offset = torch.where(both.all(), 0.0, POSITION_SCALE_OFFSET)
        rows, columns = resize_matrix(h, offset), resize_matrix(w, offset)
        resized = torch.einsum("hi,ijc->hjc", rows, grid)
        resized = torch.einsum("wj,hjc->hwc", columns, resized)
        return torch.cat((stored[:, :1], resized.flatten(0, 1).unsqueeze(0)), dim=1)


class StepModule(nn.Module):
    """Computes depth of a video's next frame; the caller holds the state.

    Inputs: image (1, 3, H, W); frame () int64, its number in the video, from 0; then for each of the eight attentions
    keys and values (43, P, C): frame 0's at 42, those of a later frame n at n % 42, zeros elsewhere. Outputs: depth
    (1, H, W) float32; then, in the same order, keys and values (P, C) of this frame, which the caller must store there
    before the next frame.
    """

    position: Tensor

    def __init__(self, model: VideoDepthAnything, size: tuple[int, int]) -> None:
        super().__init__()
        self.model = model
        self.grid = (size[0] // PATCH_SIZE, size[1] // PATCH_SIZE)
        self.register_buffer("position", model.pretrained.position_embedding(*self.grid), persistent=False)

    def state_shapes(self) -> list[tuple[int, int, int]]:
        """Shapes (43, P, C) of the state."""
        h, w = self.grid
        config = self.model.config
        coarse = ((h * w, config.out_channels[2]), (-(-h // 2) * -(-w // 2), config.out_channels[3]))
        modules = (*coarse, (h * w, config.features), (4 * h * w, config.features))
        return [(RING + 1, *shape) for shape in modules for _ in range(2 * NUM_ATTENTIONS)]

    def forward(self, image: Tensor, frame: Tensor, *state: Tensor) -> tuple[Tensor, ...]:
        encoder = self.model.pretrained
        taps = encoder.get_intermediate_layers(image, encoder.taps, return_class_token=True, position=self.position)
        memory = OpenMemory(self.model.head, frame, state)
        depth = decoding.step(self.model.head, self.model.head.encode(taps, self.grid), memory)
        return (depth, *memory.kept())


class OpenMemory(TemporalMemory):
    """A memory with tensors as inputs and outputs; nothing is written in place."""

    def __init__(self, head: DPTHeadTemporal, frame: Tensor, state: Sequence[Tensor]) -> None:
        super().__init__()
        modules: list[Any] = list(head.motion_modules)
        blocks = [module.temporal_transformer.transformer_blocks[0] for module in modules]
        attentions = [attention for block in blocks for attention in block.attention_blocks]
        self._of_attention = [
            OpenAttentionMemory(attention, frame, keys, values)
            for attention, keys, values in zip(attentions, state[::2], state[1::2])
        ]

    def of_module(self, index: int) -> list[AttentionMemory]:
        return [*self._of_attention[NUM_ATTENTIONS * index : NUM_ATTENTIONS * (index + 1)]]

    def next_entries(self, device: torch.device) -> ContextEntries:
        return range(INFER_LEN)  # the position slots; the memories map them to entries

    def kept(self) -> list[Tensor]:
        """Keys and values (P, C) of the new frame for each attention."""
        return [x for memory in self._of_attention for x in memory.written]


class OpenAttentionMemory(AttentionMemory):
    """The memory of one attention: `keys` and `values` (43, P, C) of past frames."""

    def __init__(self, attention: Any, frame: Tensor, keys: Tensor, values: Tensor) -> None:
        super().__init__()
        self.keys, self.values = keys, values
        self.tables = (torch.empty(0), torch.empty(0))  # positions are added in `attend`
        self._attention = attention
        self._frame = frame
        self.written: tuple[Tensor, Tensor] = (keys[0], values[0])

    def write(self, entries: ContextEntries, key: Tensor, value: Tensor) -> None:
        self.written = (key, value)

    def attend(self, query: Tensor, entries: ContextEntries) -> Tensor:
        back = torch.tensor([OLDEST, *range(LATEST, 0, -1)])
        past = self._frame - back
        # Frames before frame 0 are replaced by frame 0.
        past = F.pad(torch.where(past > 0, past % RING, ANCHOR), (1, 0), value=ANCHOR)
        alone = self._frame == 0
        # Frame 0 is alone in slot 0.
        table = self._attention.pos_encoder.pe[0].to(query.dtype)
        slots = torch.cat((table[:-1], torch.where(alone, table[0], table[-1]).unsqueeze(0)))
        key, value = self.written
        keys = torch.cat((self.keys[past], key.unsqueeze(0))) + self._attention.to_k(slots).unsqueeze(1)
        values = torch.cat((self.values[past], value.unsqueeze(0))) + self._attention.to_v(slots).unsqueeze(1)
        q, k, v = (x.unflatten(-1, (NUM_HEADS, -1)).permute(1, 2, 0, 3) for x in (query.unsqueeze(0), keys, values))
        scores = q * q.shape[-1] ** -0.5 @ k.transpose(-1, -2)  # (P, heads, 1, 32)
        used = torch.arange(INFER_LEN) >= torch.where(alone, INFER_LEN - 1, 0)
        weights = torch.where(used, scores, -1e4).softmax(-1)
        return (weights @ v).squeeze(2).flatten(1)
