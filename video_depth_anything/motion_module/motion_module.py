"""Motion modules: self-attention along time, for every pixel of a feature map on its own.

Attribute names are fixed by the public checkpoints (`head.motion_modules.*`).
Shapes: B clips, T frames, C channels, h x w pixels of the map, P pixels of all clips.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..temporal_memory import NUM_ATTENTIONS, NUM_HEADS, AttentionMemory, ContextEntries

# Length of the position tables, hence the most frames one window can hold.
MAX_FRAMES = 32
NUM_GROUPS = 32
# Pixels are independent of each other, so any number can go through the block at once. The widest activation is kept
# below this many elements: 64 MiB in float32 fills any GPU, and keeps a 518-high window of vitl out of the gigabytes.
# A CPU wants them near its cache: a window of vits at 280 then takes the modules 0.87 s and not 1.16, in float32.
MAX_CHUNK_ELEMENTS = 1 << 24
MAX_CHUNK_ELEMENTS_CPU = 1 << 22


def sinusoid_table(length: int, channels: int) -> Tensor:
    """Sinusoidal position table (1, length, channels), float32; even channels sine, odd ones cosine.

    Source: Vaswani et al., arXiv:1706.03762, section 3.5.
    """
    # On the CPU first: on the meta device, where networks are built to be loaded, PyTorch would import its compiler.
    position = torch.arange(length, dtype=torch.float32, device="cpu").unsqueeze(1)
    even = torch.arange(0, channels, 2, dtype=torch.float32, device="cpu")
    angle = position * torch.exp(even * (-math.log(10000.0) / channels))
    table = torch.stack((torch.sin(angle), torch.cos(angle)), dim=2).flatten(1).unsqueeze(0)
    return table.to(torch.get_default_device())


class PositionTable(nn.Module):
    """Holder of the fixed position table, a buffer that the checkpoints carry."""

    pe: Tensor

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.register_buffer("pe", sinusoid_table(MAX_FRAMES, channels))


class TemporalAttention(nn.Module):
    """Self-attention over the T frames of one pixel."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.to_q = nn.Linear(dim, dim, bias=False)
        self.to_k = nn.Linear(dim, dim, bias=False)
        self.to_v = nn.Linear(dim, dim, bias=False)
        self.to_out = nn.ModuleList([nn.Linear(dim, dim)])
        self.pos_encoder = PositionTable(dim)

    def forward(self, x: Tensor) -> Tensor:
        pixels, frames, dim = x.shape
        x = x + self.pos_encoder.pe[:, :frames].to(x.dtype)
        heads = (pixels, frames, NUM_HEADS, dim // NUM_HEADS)
        q, k, v = (proj(x).view(heads).transpose(1, 2) for proj in (self.to_q, self.to_k, self.to_v))
        x = F.scaled_dot_product_attention(q, k, v)  # (P, heads, T, C / heads)
        return self.to_out[0](x.transpose(1, 2).reshape(pixels, frames, dim))

    def step(self, x: Tensor, memory: AttentionMemory, entries: ContextEntries) -> Tensor:
        """One new frame (P, C): written into the last of the entries, it attends to all of them."""
        table = self.pos_encoder.pe[0].to(x.dtype)
        key, value = self.to_k(x), self.to_v(x)
        if len(entries) == 1:
            memory.start(key, value, self.to_k(table), self.to_v(table))
        else:
            memory.write(entries[-1], key, value)
        query = self.to_q(x + table[len(entries) - 1])
        return self.to_out[0](memory.attend(query, entries).to(query.dtype))


class GatedProjection(nn.Module):
    """GEGLU: one projection to value and gate, value * gelu(gate) (Shazeer, arXiv:2002.05202)."""

    def __init__(self, dim: int, inner_dim: int) -> None:
        super().__init__()
        self.proj = nn.Linear(dim, 2 * inner_dim)

    def forward(self, x: Tensor) -> Tensor:
        value, gate = self.proj(x).chunk(2, dim=-1)
        return value * F.gelu(gate)


class FeedForward(nn.Module):
    """Gated two-layer perceptron; the identity keeps the checkpoints' numbering `net.0`, `net.2`."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.net = nn.Sequential(GatedProjection(dim, 4 * dim), nn.Identity(), nn.Linear(4 * dim, dim))

    def forward(self, x: Tensor) -> Tensor:
        return self.net(x)


class TemporalBlock(nn.Module):
    """Two temporal attentions and a feed-forward layer, each pre-norm with a residual. (P, T, C) to (P, T, C)."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.attention_blocks = nn.ModuleList(TemporalAttention(dim) for _ in range(NUM_ATTENTIONS))
        self.norms = nn.ModuleList(nn.LayerNorm(dim) for _ in range(NUM_ATTENTIONS))
        self.ff = FeedForward(dim)
        self.ff_norm = nn.LayerNorm(dim)

    def forward(self, x: Tensor) -> Tensor:
        for attention, norm in zip(self.attention_blocks, self.norms):
            x = x + attention(norm(x))
        return x + self.ff(self.ff_norm(x))

    def step(self, x: Tensor, memories: Sequence[AttentionMemory], entries: ContextEntries) -> Tensor:
        """The same for one new frame, (P, C) to (P, C)."""
        for attention, norm, memory in zip(self.attention_blocks, self.norms, memories):
            x = x + cast(TemporalAttention, attention).step(norm(x), memory, entries)
        return x + self.ff(self.ff_norm(x))


class TemporalTransformer(nn.Module):
    """Norm over each frame's map, then the temporal block on each pixel, projected back and added."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.norm = nn.GroupNorm(NUM_GROUPS, channels, eps=1e-6)
        self.proj_in = nn.Linear(channels, channels)
        self.transformer_blocks = nn.ModuleList([TemporalBlock(channels)])
        self.proj_out = nn.Linear(channels, channels)
        # An untrained motion module is the identity: training starts from the per-frame model.
        nn.init.zeros_(self.proj_out.weight)
        nn.init.zeros_(self.proj_out.bias)

    def forward(self, x: Tensor) -> Tensor:
        frames, channels = x.shape[1:3]
        widest = frames * 8 * channels  # elements per pixel in the GEGLU's projection
        limit = MAX_CHUNK_ELEMENTS_CPU if x.device.type == "cpu" else MAX_CHUNK_ELEMENTS
        return self.mix_chunks(x, self.mix, max(limit // widest, 1))

    def mix_chunks(self, x: Tensor, mix: Callable[[Tensor], Tensor], pixels_at_once: int) -> Tensor:
        """All but `mix` itself, which is given so that another backend can compute it.

        Args:
            x: (B, T, C, h, w).
            mix: what the method of that name does.
            pixels_at_once: most pixels that it is given.
        """
        batch, frames, channels, height, width = x.shape
        pixels = self.norm(x.flatten(0, 1)).permute(0, 2, 3, 1).reshape(batch, frames, -1, channels)
        pixels = pixels.transpose(1, 2).flatten(0, 1)  # (P, T, C)
        mixed = torch.cat([mix(chunk) for chunk in pixels.split(pixels_at_once)])
        mixed = mixed.unflatten(0, (batch, -1)).transpose(1, 2).unflatten(2, (height, width))  # (B, T, h, w, C)
        return x + mixed.permute(0, 1, 4, 2, 3)

    def step(self, x: Tensor, memories: Sequence[AttentionMemory], entries: ContextEntries) -> Tensor:
        # One frame is a small part of what its memory holds, so its pixels need no chunks.
        batch, channels, height, width = x.shape
        pixels = self.proj_in(self.norm(x).permute(0, 2, 3, 1).reshape(-1, channels))  # (P, C)
        for block in self.transformer_blocks:
            pixels = cast(TemporalBlock, block).step(pixels, memories, entries)
        return x + self.proj_out(pixels).view(batch, height, width, channels).permute(0, 3, 1, 2)

    def mix(self, pixels: Tensor) -> Tensor:
        """The transformer without its norm and residual: (P, T, C) to the same shape, each pixel on its own."""
        pixels = self.proj_in(pixels)
        for block in self.transformer_blocks:
            pixels = block(pixels)
        return self.proj_out(pixels)


class MotionModule(nn.Module):
    """One temporal transformer of the head. (B, T, C, h, w) to the same shape, T at most `MAX_FRAMES`."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.temporal_transformer = TemporalTransformer(channels)

    def forward(self, x: Tensor) -> Tensor:
        if x.shape[1] > MAX_FRAMES:
            raise ValueError(f"a window holds at most {MAX_FRAMES} frames, got {x.shape[1]}")
        return self.temporal_transformer(x)

    def step(self, x: Tensor, memories: Sequence[AttentionMemory], entries: ContextEntries) -> Tensor:
        """One new frame of B clips, (B, C, h, w) to the same shape.

        Args:
            memories: of this module's attentions; the new frame is written into the last of `entries`.
            entries: as `TemporalMemory.next_entries` gives them.
        """
        return self.temporal_transformer.step(x, memories, entries)
