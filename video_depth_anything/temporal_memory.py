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
    """Which entries of the memory stand in the position slots 0, 1, .. while `frame` (from 0) is new, its own last.

    Frame 0 is a window of its own; later ones see frame 0, frame - 41, the latest 29 and themselves. What would lie
    before frame 0 is frame 0: it is what the whole ring holds at the start, so no entry ever stands in two slots. The
    ring has room for 42 frames because frame - 41 is needed once more when the new frame is written.

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


def by_heads(x: Tensor) -> Tensor:
    """View of (P, C) as (heads, C / heads, P)."""
    return x.t().unflatten(0, (NUM_HEADS, -1))


def attend_per_pixel(
    query: Tensor, keys: Sequence[Tensor] | Tensor, values: Sequence[Tensor] | Tensor, tables: tuple[Tensor, Tensor]
) -> Tensor:
    """Attention of one query per pixel to the frames in the position slots 0, 1, .., summed up in float32.

    Args:
        query: (P, C).
        keys: (heads, C / heads, P) of each slot, without positions; one tensor takes few operations, for devices where
            starting one costs more than gathering the slots. Its products have its type, which halves their traffic.
        values: likewise.
        tables: projected positions of all slots for keys and for values, (heads, C / heads, slots).

    Returns:
        (P, C) float32.
    """
    with float32_region(query.device.type):
        q = by_heads(query.float()).contiguous()  # (heads, C / heads, P)
        heads, width, pixels = q.shape
        q = q * width**-0.5
        key_table, value_table = (x[..., : len(keys)] for x in tables)
        if isinstance(keys, Tensor) and isinstance(values, Tensor):
            scores = (keys * q.to(keys.dtype)).sum(2, dtype=torch.float32).transpose(0, 1)  # (heads, slots, P)
            weights = torch.baddbmm(scores, key_table.transpose(1, 2), q).softmax(1)
            shares = weights.transpose(0, 1).unsqueeze(2).to(values.dtype)
            mixed = (values * shares).sum(0, dtype=torch.float32)
            return (mixed + torch.bmm(value_table, weights)).flatten(0, 1).t()
        product = torch.empty_like(q)
        scores = q.new_empty(heads, len(keys), pixels)
        for slot, key in enumerate(keys):
            torch.mul(key, q, out=product)
            torch.sum(product, dim=1, out=scores[:, slot])
        weights = torch.baddbmm(scores, key_table.transpose(1, 2), q).softmax(1)
        mixed = torch.bmm(value_table, weights)
        for slot, value in enumerate(values):
            mixed.addcmul_(value, weights[:, slot].unsqueeze(1))
        return mixed.flatten(0, 1).t()


class AttentionMemory:
    """Keys and values that one temporal attention projected for the past frames of one video.

    They are stored without their positions, which change from frame to frame: the projections are linear, without bias,
    so the position's part can be added at use.

    Pixels are the innermost dimension, since a pixel has one query, and 32 keys that no other pixel shares: too small
    for matrix routines, but vector arithmetic along the pixels reads each entry once, where it lies. (37x66 patches of
    vits, two cores: 60 ms a frame; batched matrix products 95, masked SDPA 150, SDPA on gathered keys 550.)

    keys, values: (RING + 1, heads, C / heads, P) in the type the projections have; empty before the first frame.
    tables: for keys and values, the projected positions (heads, C / heads, slots) float32; None until they are known.
    """

    def __init__(self) -> None:
        self.keys = self.values = torch.empty(0)
        self.tables: tuple[Tensor, Tensor] | None = None

    @property
    def num_bytes(self) -> int:
        """Bytes held."""
        return sum(x.nbytes for x in (self.keys, self.values, *(self.tables or ())))

    def write(self, entries: ContextEntries, key: Tensor, value: Tensor) -> None:
        """Keep the projections (P, C) of the new frame in the last of `entries`; frame 0 fills all that there are."""
        if len(entries) == 1:
            self.keys, self.values = (
                by_heads(x).contiguous().expand(RING + 1, -1, -1, -1).contiguous() for x in (key, value)
            )
            return
        for stored, new in ((self.keys, key), (self.values, value)):
            if isinstance(entries, Tensor):
                stored.index_copy_(0, entries[-1:], by_heads(new).unsqueeze(0).to(stored.dtype))
            else:
                stored[entries[-1]].copy_(by_heads(new))

    def attend(self, query: Tensor, entries: ContextEntries) -> Tensor:
        """Attention of the new frame's queries (P, C) to the entries; (P, C) float32."""
        assert self.tables is not None
        if isinstance(entries, Tensor):
            return attend_per_pixel(query, self.keys[entries], self.values[entries], self.tables)
        keys, values = ([kept[entry] for entry in entries] for kept in (self.keys, self.values))
        return attend_per_pixel(query, keys, values, self.tables)


class StateAttention(AttentionMemory):
    """A memory of states that the caller holds: keys and values (P, n, 2C) of past frames in the order of the slots."""

    def __init__(self, past: Sequence[Tensor]) -> None:
        super().__init__()
        self._past = [frames[:, t] for frames in past for t in range(frames.shape[1])]
        self.state = torch.empty(0)  # (P, 1, 2C) of the new frame

    def write(self, entries: ContextEntries, key: Tensor, value: Tensor) -> None:
        # In memory the pixels are innermost, as attention reads them.
        self.state = torch.cat((key.t(), value.t())).t().unsqueeze(1)

    def attend(self, query: Tensor, entries: ContextEntries) -> Tensor:
        assert self.tables is not None
        slots = [x.t().unflatten(0, (2, NUM_HEADS, -1)) for x in (*self._past, self.state[:, 0])]
        if query.device.type == "cpu" and not torch.is_grad_enabled():
            return attend_per_pixel(query, [x[0] for x in slots], [x[1] for x in slots], self.tables)
        keys, values = torch.stack(slots).unbind(1)
        return attend_per_pixel(query, keys, values, self.tables)


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


class StateMemory(TemporalMemory):
    """A memory of one frame's step whose states the caller holds, as the original's streaming class does.

    Args:
        past: of each frame before, or of several together, states (P, n, 2C) of the eight attentions; none at the
            video's first frame.
        frames_seen: the new frame's number.
    """

    def __init__(self, past: Sequence[Sequence[Tensor]], frames_seen: int = 0) -> None:
        super().__init__()
        self.frames_seen = frames_seen
        self._slots = sum(frames[0].shape[1] for frames in past) + 1
        self._of_attention = [StateAttention(frames) for frames in zip(*past)]

    def of_module(self, index: int) -> list[AttentionMemory]:
        while len(self._of_attention) < NUM_ATTENTIONS * (index + 1):
            self._of_attention.append(StateAttention([]))
        return [*self._of_attention[NUM_ATTENTIONS * index : NUM_ATTENTIONS * (index + 1)]]

    def next_entries(self, device: torch.device) -> ContextEntries:
        return range(self._slots)

    def states(self) -> list[Tensor]:
        """Of the new frame, (P, 1, 2C) of each attention."""
        return [memory.state for memory in self._of_attention]
