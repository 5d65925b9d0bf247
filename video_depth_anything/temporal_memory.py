"""What streaming remembers of a video: projected keys and values of past frames, in a ring."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext

import torch
import torch.nn.functional as F
from torch import Tensor

NUM_HEADS = 8
NUM_ATTENTIONS = 2  # per motion module

# Streaming keeps what frame 0 became, for ever, and what the latest `RING` frames became.
LATEST = 29  # frames before the new one that take part in its attention
OLDEST = 41  # how far back the one frame lies that takes part besides those and frame 0
RING = OLDEST + 1
ANCHOR = RING  # the entry of frame 0, behind the ring


# Entries in the order of their position slots, on the host, or (slots,) int64 on a device.
ContextEntries = Sequence[int] | Tensor


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


def context_entries_on_device(frame: Tensor) -> Tensor:
    """`context_entries` of a frame after the first, from a number on a device to (32,) int64 there."""
    offsets = torch.arange(-LATEST, 1, device=frame.device)
    past = torch.cat((frame.view(1) - OLDEST, frame + offsets)) % RING
    return F.pad(past, (1, 0), value=ANCHOR)


def float32_region(device_type: str) -> AbstractContextManager[object]:
    """Context in which autocast, if the device knows it at all (meta does not), is off."""
    if torch.amp.is_autocast_available(device_type):
        return torch.autocast(device_type, enabled=False)
    return nullcontext()


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
        """Allocate, and fill all entries with those of frame 0.

        Args:
            key: (P, C) projections.
            value: (P, C) projections.
            key_table: (slots, C), the projected positions.
            value_table: (slots, C), the projected positions.
        """
        self.keys, self.values = (
            _by_heads(x).contiguous().expand(RING + 1, -1, -1, -1).contiguous() for x in (key, value)
        )
        self._key_table, self._value_table = (_by_heads(x.float()).contiguous() for x in (key_table, value_table))

    def write(self, entry: int | Tensor, key: Tensor, value: Tensor) -> None:
        """Overwrite one entry.

        Args:
            entry: its number, on the host or on the device.
            key: (P, C) projections.
            value: (P, C) projections.
        """
        for stored, new in ((self.keys, key), (self.values, value)):
            if isinstance(entry, Tensor):
                stored.index_copy_(0, entry.view(1), _by_heads(new).unsqueeze(0).to(stored.dtype))
            else:
                stored[entry].copy_(_by_heads(new))

    def attend(self, query: Tensor, entries: ContextEntries) -> Tensor:
        """Attention of one query per pixel to the entries, the i-th of which stands in position slot i.

        Computed in float32 whatever the stored type.

        Args:
            query: (P, C).
            entries: as `TemporalMemory.next_entries` gives them.

        Returns:
            (P, C) float32.
        """
        with float32_region(query.device.type):
            q = _by_heads(query.float()).contiguous()  # (heads, C / heads, P)
            heads, width, pixels = q.shape
            q *= width**-0.5
            if isinstance(entries, Tensor):
                return self._attend_gathered(q, entries)
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

    def _attend_gathered(self, q: Tensor, entries: Tensor) -> Tensor:
        """The same with few operations, for devices where starting one costs more than gathering the entries."""
        key_table, value_table = (x[..., : len(entries)] for x in (self._key_table, self._value_table))
        scores = (self.keys[entries] * q).sum(2).transpose(0, 1)  # (heads, slots, P)
        weights = torch.baddbmm(scores, key_table.transpose(1, 2), q).softmax(1)
        mixed = (self.values[entries] * weights.transpose(0, 1).unsqueeze(2)).sum(0)
        return (mixed + torch.bmm(value_table, weights)).flatten(0, 1).t()


def _by_heads(x: Tensor) -> Tensor:
    """View of (P, C) as (heads, C / heads, P)."""
    return x.t().unflatten(0, (NUM_HEADS, -1))


class TemporalMemory:
    """What streaming remembers of one video. The network itself remembers nothing."""

    def __init__(self) -> None:
        self.frames_seen = 0
        # The same number where the network computes, unless that is a CPU: a graph of recorded operations can read it.
        self.position: Tensor | None = None
        self._attentions: dict[int, list[AttentionMemory]] = {}

    def of_module(self, index: int) -> list[AttentionMemory]:
        """The memories of one motion module's attentions."""
        return self._attentions.setdefault(index, [AttentionMemory() for _ in range(NUM_ATTENTIONS)])

    def next_entries(self, device: torch.device) -> ContextEntries:
        """Which entries stand in the position slots 0, 1, .. for the next frame; on the device unless it is a CPU."""
        if device.type == "cpu" or self.frames_seen == 0:
            return context_entries(self.frames_seen)
        if self.position is None:
            self.position = torch.tensor(self.frames_seen, device=device)
        return context_entries_on_device(self.position)

    def advance(self) -> None:
        """The next frame is in."""
        self.frames_seen += 1
        if self.position is not None:
            self.position += 1

    def rewind(self, frames_seen: int) -> None:
        """Forget that the frames since then are in; they must come again, since what they overwrote is gone."""
        self.frames_seen = frames_seen
        if self.position is not None:
            self.position.fill_(frames_seen)

    def widen(self) -> None:
        """Keep what is held in float32 from now on, and so what is written to it."""
        for memory in self.attentions():
            memory.keys, memory.values = memory.keys.float(), memory.values.float()

    def attentions(self) -> list[AttentionMemory]:
        """All that is held, module by module."""
        return [memory for module in self._attentions.values() for memory in module]

    @property
    def num_bytes(self) -> int:
        """Bytes held; does not change after the first frame."""
        return sum(memory.num_bytes for memory in self.attentions())
