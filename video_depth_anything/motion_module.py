"""Motion modules: self-attention along time, for every pixel of a feature map on its own.

Attribute names are fixed by the public checkpoints (`head.motion_modules.*`).
Shapes: B clips, T frames, C channels, h x w pixels of the map, P pixels of all clips.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

# Length of the position tables, hence the most frames one window can hold.
MAX_FRAMES = 32
NUM_HEADS = 8
NUM_GROUPS = 32
# Pixels are independent of each other, so any number can go through the block at once. The widest activation is kept
# below this many elements: 64 MiB in float32 fills any GPU, and keeps a 518-high window of vitl out of the gigabytes.
MAX_CHUNK_ELEMENTS = 1 << 24
NUM_ATTENTIONS = 2  # per motion module

# Streaming keeps what frame 0 became, for ever, and what the latest `RING` frames became.
LATEST = 29  # frames before the new one that take part in its attention
OLDEST = 41  # how far back the one frame lies that takes part besides those and frame 0
RING = OLDEST + 1
ANCHOR = RING  # the entry of frame 0, behind the ring


def context_entries(frame: int) -> list[int]:
    """Which entries of the memory stand in the position slots 0, 1, .. while `frame` (counted from 0) is new.

    The last one is the new frame's own. Frame 0 is a window of its own; later ones see frame 0, frame - 41, the latest
    29 and themselves. What would lie before frame 0 is frame 0: it is what the whole ring holds at the start, so no
    entry ever stands in two slots. The ring has room for 42 frames because frame - 41 is needed once more when the new
    frame is written.

    Source: the streaming mode of the original implementation, which keeps a list of states and drops its second one.
    """
    if frame == 0:
        return [ANCHOR]
    return [ANCHOR, *(past % RING for past in (frame - OLDEST, *range(frame - LATEST, frame + 1)))]


def float32_region(device_type: str) -> AbstractContextManager[object]:
    """Context in which autocast, if the device knows it at all (meta does not), is off."""
    if torch.amp.is_autocast_available(device_type):
        return torch.autocast(device_type, enabled=False)
    return nullcontext()


def sinusoid_table(length: int, channels: int) -> Tensor:
    """Sinusoidal position table (1, length, channels), float32; even channels sine, odd ones cosine.

    Source: Vaswani et al., arXiv:1706.03762, section 3.5.
    """
    position = torch.arange(length, dtype=torch.float32).unsqueeze(1)
    frequency = torch.exp(torch.arange(0, channels, 2, dtype=torch.float32) * (-math.log(10000.0) / channels))
    table = torch.zeros(1, length, channels)
    table[0, :, 0::2] = torch.sin(position * frequency)
    table[0, :, 1::2] = torch.cos(position * frequency)
    return table


class PositionTable(nn.Module):
    """Holder of the fixed position table, a buffer that the checkpoints carry."""

    pe: Tensor

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.register_buffer("pe", sinusoid_table(MAX_FRAMES, channels))


class AttentionMemory:
    """Keys and values that one temporal attention projected for the past frames of one video, and attention to them.

    They are stored without their positions, which change from frame to frame: the projections are linear, without bias,
    so the position's part can be added at use.

    Pixels are the innermost dimension, since a pixel has one query, and 32 keys that no other pixel shares: too small
    for matrix routines, but vector arithmetic along the pixels reads each entry once, where it lies. (37x66 patches of
    vits, two cores: 60 ms a frame; batched matrix products 95, masked SDPA 150, SDPA on gathered keys 550.)

    keys, values: (RING + 1, heads, C / heads, P) in the type the projections have; empty before the first frame.
    """

    def __init__(self) -> None:
        self.keys = self.values = torch.empty(0)
        # Projected position tables (heads, C / heads, slots), float32.
        self._key_table = self._value_table = torch.empty(0)

    @property
    def num_bytes(self) -> int:
        """Bytes held."""
        return sum(x.nbytes for x in (self.keys, self.values, self._key_table, self._value_table))

    def start(self, key: Tensor, value: Tensor, key_table: Tensor, value_table: Tensor) -> None:
        """Allocate, and fill all entries with frame 0's (P, C); the tables are projected positions (slots, C)."""
        self.keys, self.values = (
            _by_heads(x).contiguous().expand(RING + 1, -1, -1, -1).contiguous() for x in (key, value)
        )
        self._key_table, self._value_table = (_by_heads(x.float()).contiguous() for x in (key_table, value_table))

    def write(self, entry: int, key: Tensor, value: Tensor) -> None:
        """Overwrite one entry with (P, C) projections."""
        self.keys[entry].copy_(_by_heads(key))
        self.values[entry].copy_(_by_heads(value))

    def attend(self, query: Tensor, entries: Sequence[int]) -> Tensor:
        """Attention of one query per pixel to the entries, the i-th of which stands in position slot i.

        Computed in float32 whatever the stored type.

        Args:
            query: (P, C).

        Returns:
            (P, C) float32.
        """
        with float32_region(query.device.type):
            q = _by_heads(query.float()).contiguous()  # (heads, C / heads, P)
            heads, width, pixels = q.shape
            q *= width**-0.5
            product = torch.empty_like(q)
            scores = q.new_empty(heads, len(entries), pixels)
            for slot, entry in enumerate(entries):
                torch.mul(self.keys[entry], q, out=product)
                torch.sum(product, dim=1, out=scores[:, slot])
            key_table, value_table = (x[..., : len(entries)] for x in (self._key_table, self._value_table))
            weights = torch.baddbmm(scores, key_table.transpose(1, 2), q).softmax(1)
            mixed = torch.bmm(value_table, weights)  # (heads, C / heads, P)
            for slot, entry in enumerate(entries):
                mixed.addcmul_(self.values[entry], weights[:, slot].unsqueeze(1))
            return mixed.flatten(0, 1).t()


def _by_heads(x: Tensor) -> Tensor:
    """View of (P, C) as (heads, C / heads, P)."""
    return x.t().unflatten(0, (NUM_HEADS, -1))


class TemporalMemory:
    """What streaming remembers of one video. The network itself remembers nothing."""

    def __init__(self) -> None:
        self.frames_seen = 0
        self._attentions: dict[int, list[AttentionMemory]] = {}

    def of_module(self, index: int) -> list[AttentionMemory]:
        """The memories of one motion module's attentions."""
        return self._attentions.setdefault(index, [AttentionMemory() for _ in range(NUM_ATTENTIONS)])

    @property
    def num_bytes(self) -> int:
        """Bytes held; does not change after the first frame."""
        return sum(memory.num_bytes for module in self._attentions.values() for memory in module)


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

    def step(self, x: Tensor, memory: AttentionMemory, entries: Sequence[int]) -> Tensor:
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

    def step(self, x: Tensor, memories: Sequence[AttentionMemory], entries: Sequence[int]) -> Tensor:
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
        return self.mix_chunks(x, self.mix, max(MAX_CHUNK_ELEMENTS // widest, 1))

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

    def step(self, x: Tensor, memories: Sequence[AttentionMemory], entries: Sequence[int]) -> Tensor:
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

    def step(self, x: Tensor, memories: Sequence[AttentionMemory], entries: Sequence[int]) -> Tensor:
        """One new frame of B clips, (B, C, h, w) to the same shape.

        Args:
            memories: of this module's attentions; the new frame is written into the last of `entries`.
            entries: as `context_entries` gives them.
        """
        return self.temporal_transformer.step(x, memories, entries)
