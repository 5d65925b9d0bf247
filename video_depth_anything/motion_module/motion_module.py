"""Motion modules: temporal self-attention, separately for every pixel of a feature map.

Names of modules and parameters are fixed by the public checkpoints (`head.motion_modules.*`).
Shapes: B clips, T frames, C channels, h x w pixels of the map, P pixels of all clips.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import NamedTuple, cast

import torch
from torch import Tensor, nn

from ..config import check_published
from ..temporal_memory import (
    NUM_ATTENTIONS,
    NUM_HEADS,
    AttentionMemory,
    ContextEntries,
    StateAttention,
    by_heads,
)
from .attention import CrossAttention, FeedForward

# Length of the position tables, and so the maximum number of frames in a window.
MAX_FRAMES = 32
NUM_GROUPS = 32
# Pixels are independent, so any number can be processed at once. This limits the elements of the widest activation:
# 64 MiB in float32 fill any GPU, and keep a window of vitl at 518 below gigabytes. On a CPU they should fit the cache:
# the modules then take 0.87 s instead of 1.16 for a window of vits at 280 in float32.
MAX_CHUNK_ELEMENTS = 1 << 24
MAX_CHUNK_ELEMENTS_CPU = 1 << 22
# Arguments of the original's module, and the values that the published networks have.
PUBLISHED = {
    "num_attention_heads": NUM_HEADS,
    "num_transformer_block": 1,
    "num_attention_blocks": NUM_ATTENTIONS,
    "norm_num_groups": NUM_GROUPS,
    "temporal_max_len": MAX_FRAMES,
    "pos_embedding_type": "ape",
}


class Past(NamedTuple):
    """A stream's memory: one for each attention, and the entries to attend to, the new frame's own last."""

    memories: Sequence[AttentionMemory]
    entries: ContextEntries


class PositionalEncoding(nn.Module):
    """Adds a sinusoidal position to each frame of (P, T, C); the table is a buffer in the checkpoints.

    Source: Vaswani et al., arXiv:1706.03762, section 3.5; even channels sine, odd ones cosine.
    """

    pe: Tensor

    def __init__(self, d_model: int, dropout: float = 0.0, max_len: int = MAX_FRAMES) -> None:
        super().__init__()
        self.dropout = nn.Dropout(dropout)
        # Computed on the CPU: on the meta device PyTorch would import its compiler, which takes seconds.
        position = torch.arange(max_len, dtype=torch.float32, device="cpu").unsqueeze(1)
        even = torch.arange(0, d_model, 2, dtype=torch.float32, device="cpu")
        angle = position * torch.exp(even * (-math.log(10000.0) / d_model))
        table = torch.stack((torch.sin(angle), torch.cos(angle)), dim=2).flatten(1).unsqueeze(0)
        self.register_buffer("pe", table.to(torch.get_default_device()))

    def forward(self, x: Tensor) -> Tensor:
        return self.dropout(x + self.pe[:, : x.shape[1]].to(x.dtype))


class TemporalAttention(CrossAttention):
    """Self-attention over the T frames of one pixel."""

    def __init__(self, dim: int) -> None:
        super().__init__(dim, heads=NUM_HEADS, dim_head=dim // NUM_HEADS)
        self.pos_encoder = PositionalEncoding(dim)

    def forward(self, x: Tensor, states: list[Tensor] | None = None) -> Tensor:  # type: ignore[override]
        if states is not None:
            states.append(torch.cat((self.to_k(x), self.to_v(x)), -1))
        return super().forward(self.pos_encoder(x))

    def step(self, x: Tensor, memory: AttentionMemory, entries: ContextEntries) -> Tensor:
        """Process one new frame (P, C): it is written to the last of the entries, and attends to all of them."""
        table = self.pos_encoder.pe[0].to(x.dtype)
        if memory.tables is None or len(entries) == 1:
            key_table, value_table = (by_heads(project(table).float()) for project in (self.to_k, self.to_v))
            memory.tables = key_table.contiguous(), value_table.contiguous()
        memory.write(entries, self.to_k(x), self.to_v(x))
        query = self.to_q(x + table[len(entries) - 1])
        return self.to_out[0](memory.attend(query, entries).to(query.dtype))


class TemporalBlock(nn.Module):
    """Two temporal attentions and a feed-forward layer, each pre-norm with a residual. (P, T, C) to (P, T, C)."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.attention_blocks = nn.ModuleList(TemporalAttention(dim) for _ in range(NUM_ATTENTIONS))
        self.norms = nn.ModuleList(nn.LayerNorm(dim) for _ in range(NUM_ATTENTIONS))
        self.ff = FeedForward(dim)
        self.ff_norm = nn.LayerNorm(dim)

    def forward(self, x: Tensor, states: list[Tensor] | None = None) -> Tensor:
        for attention, norm in zip(self.attention_blocks, self.norms):
            x = x + attention(norm(x), states)
        return x + self.ff(self.ff_norm(x))

    def step(self, x: Tensor, past: Past) -> Tensor:
        """Process one new frame, (P, C) to (P, C)."""
        for attention, norm, memory in zip(self.attention_blocks, self.norms, past.memories):
            x = x + cast(TemporalAttention, attention).step(norm(x), memory, past.entries)
        return x + self.ff(self.ff_norm(x))


class TemporalTransformer(nn.Module):
    """Normalises each frame's map, applies the temporal block to each pixel, projects back and adds the input."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.norm = nn.GroupNorm(NUM_GROUPS, channels, eps=1e-6)
        self.proj_in = nn.Linear(channels, channels)
        self.transformer_blocks = nn.ModuleList([TemporalBlock(channels)])
        self.proj_out = nn.Linear(channels, channels)

    def forward(self, x: Tensor, states: list[Tensor] | None = None) -> Tensor:
        """Mix (B, T, C, h, w) to the same shape; keys and values (P, T, 2C) of each attention are added to `states`."""
        frames, channels = x.shape[1:3]
        widest = frames * 8 * channels  # elements per pixel in the GEGLU's projection
        limit = MAX_CHUNK_ELEMENTS_CPU if x.device.type == "cpu" else MAX_CHUNK_ELEMENTS
        kept: list[list[Tensor]] = []

        def mix(pixels: Tensor) -> Tensor:
            if states is None:
                return self.mix(pixels)
            kept.append([])
            return self.mix(pixels, kept[-1])

        mixed = self.mix_chunks(x, mix, max(limit // widest, 1))
        if states is not None:
            states.extend(torch.cat(parts) for parts in zip(*kept))
        return mixed

    def mix_chunks(self, x: Tensor, mix: Callable[[Tensor], Tensor], pixels_at_once: int) -> Tensor:
        """Do everything but `mix`, which another backend may compute, for (B, T, C, h, w)."""
        batch, frames, channels, height, width = x.shape
        pixels = self.norm(x.flatten(0, 1)).permute(0, 2, 3, 1).reshape(batch, frames, -1, channels)
        pixels = pixels.transpose(1, 2).flatten(0, 1)  # (P, T, C)
        mixed = torch.cat([mix(chunk) for chunk in pixels.split(pixels_at_once)])
        mixed = mixed.unflatten(0, (batch, -1)).transpose(1, 2).unflatten(2, (height, width))  # (B, T, h, w, C)
        return x + mixed.permute(0, 1, 4, 2, 3)

    def mix(self, pixels: Tensor, states: list[Tensor] | None = None) -> Tensor:
        """Apply the transformer without norm and residual to (P, T, C), separately for each pixel."""
        return self.proj_out(self.transformer_blocks[0](self.proj_in(pixels), states))

    def step(self, x: Tensor, past: Past) -> Tensor:
        """Process one new frame, (B, C, h, w) to the same shape. It is small beside its memory, so it is not split."""
        batch, channels, height, width = x.shape
        pixels = self.proj_in(self.norm(x).permute(0, 2, 3, 1).reshape(-1, channels))  # (P, C)
        pixels = cast(TemporalBlock, self.transformer_blocks[0]).step(pixels, past)
        return x + self.proj_out(pixels).view(batch, height, width, channels).permute(0, 3, 1, 2)


class TemporalModule(nn.Module):
    """One temporal transformer of the head.

    Args:
        in_channels: C.
        zero_initialize: whether the untrained module is the identity, so that training starts from the per-frame model.
        published: the original's other arguments, with the values of `PUBLISHED`.
    """

    def __init__(self, in_channels: int, zero_initialize: bool = True, **published: object) -> None:
        super().__init__()
        check_published(published, PUBLISHED)
        self.temporal_transformer = TemporalTransformer(in_channels)
        if zero_initialize:
            nn.init.zeros_(self.temporal_transformer.proj_out.weight)
            nn.init.zeros_(self.temporal_transformer.proj_out.bias)

    def forward(
        self,
        input_tensor: Tensor,
        encoder_hidden_states: None = None,
        attention_mask: None = None,
        cached_hidden_state_list: Past | Sequence[Tensor] | None = None,
        keep_states: bool = True,
    ) -> tuple[Tensor, list[Tensor]]:
        """Mix the frames of a window, or a new frame with those before.

        Args:
            input_tensor: (B, C, T, h, w), T <= 32; T = 1 if there are cached states.
            encoder_hidden_states: None; there is nothing else to attend to.
            attention_mask: None.
            cached_hidden_state_list: a stream's memory; or states (P, n, 2C) of each attention, n <= 31.
            keep_states: whether a window's states are returned.

        Returns:
            (B, C, T, h, w), and the frames' states (P, T, 2C): keys and values without positions, of each attention.
            No states are returned with a stream's memory.

        Raises:
            ValueError: if there are more than 32 frames, or several after cached states.
        """
        past, length = cached_hidden_state_list, input_tensor.shape[2]
        before = (len(past.entries) - 1 if isinstance(past, Past) else past[0].shape[1]) if past else 0
        if before + length > MAX_FRAMES:
            raise ValueError(f"a window holds at most {MAX_FRAMES} frames, got {before + length}")
        if not past:
            states: list[Tensor] = []
            frames = input_tensor.transpose(1, 2)
            mixed = self.temporal_transformer(frames, states if keep_states else None)
            return mixed.transpose(1, 2), states
        if length != 1:
            raise ValueError(f"one frame at a time follows cached states, got {length}")
        held = [] if isinstance(past, Past) else [StateAttention([x]) for x in past]
        if not isinstance(past, Past):
            past = Past(held, range(before + 1))
        mixed = self.temporal_transformer.step(input_tensor.squeeze(2), past)
        return mixed.unsqueeze(2), [memory.state for memory in held]
