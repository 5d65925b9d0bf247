"""The memory of streaming: projected keys and values of past frames, in a ring buffer."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext

import torch
import torch.nn.functional as F
from torch import Tensor

NUM_HEADS = 8
NUM_ATTENTIONS = 2  # per motion module

# Streaming keeps frame 0 for ever, and the latest `RING` frames.
LATEST = 29  # frames before the new one that it attends to
OLDEST = 41  # distance of the one other frame that it attends to, besides frame 0
RING = OLDEST + 1
ANCHOR = RING  # the entry of frame 0, after the ring


# Entries ordered by position slot, on the host, or (slots,) int64 on a device.
ContextEntries = Sequence[int] | Tensor


def context_entries(frame: int) -> list[int]:
    """The memory's entries in position slots 0, 1, .. for the new `frame` (from 0), its own last.

    Frame 0 attends to itself; later ones to frame 0, frame - 41, the latest 29 and themselves. Frames before frame 0
    are replaced by frame 0, which initially fills the whole ring, so no entry is in two slots. The ring has 42 entries
    because frame - 41 is still needed when the new frame is written.

    Source: the streaming mode of the original implementation, which keeps a list of states and drops its second one.
    """
    if frame == 0:
        return [ANCHOR]
    return [ANCHOR, *(past % RING for past in (frame - OLDEST, *range(frame - LATEST, frame + 1)))]


def context_entries_on_device(frame: Tensor) -> Tensor:
    """`context_entries` for a frame number after 0 that is on a device, as (32,) int64 on that device."""
    offsets = torch.arange(-LATEST, 1, device=frame.device)
    past = torch.cat((frame.view(1) - OLDEST, frame + offsets)) % RING
    return F.pad(past, (1, 0), value=ANCHOR)


def float32_region(device_type: str) -> AbstractContextManager[object]:
    """Context without autocast; meta devices do not support it at all."""
    if torch.amp.is_autocast_available(device_type):
        return torch.autocast(device_type, enabled=False)
    return nullcontext()


def by_heads(x: Tensor) -> Tensor:
    """View of (P, C) as (heads, C / heads, P)."""
    return x.t().unflatten(0, (NUM_HEADS, -1))


def attend_per_pixel(
    query: Tensor, keys: Sequence[Tensor] | Tensor, values: Sequence[Tensor] | Tensor, tables: tuple[Tensor, Tensor]
) -> Tensor:
    """Attention of one query per pixel to the frames in position slots 0, 1, .., accumulated in float32.

    Args:
        query: (P, C).
        keys: (heads, C / heads, P) of each slot, without positions; or one tensor, for devices where starting an
            operation costs more than gathering. Its products keep its type, which halves their traffic.
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

    They are stored without positions, which change from frame to frame: the projections are linear, without bias, so
    the positions' share is added when they are used.

    Pixels are the innermost dimension, because a pixel has one query, and 32 keys that no other pixel shares: too small
    for matrix routines, but vector arithmetic along the pixels reads each entry once, in place. (37x66 patches of
    vits, two cores: 60 ms a frame; batched matrix products 95, masked SDPA 150, SDPA on gathered keys 550.)

    keys, values: (RING + 1, heads, C / heads, P) in the type the projections have; empty before the first frame.
    tables: for keys and values, the projected positions (heads, C / heads, slots) float32; None until they are known.
    """

    def __init__(self) -> None:
        self.keys = self.values = torch.empty(0)
        self.tables: tuple[Tensor, Tensor] | None = None

    @property
    def num_bytes(self) -> int:
        """Size in bytes."""
        return sum(x.nbytes for x in (self.keys, self.values, *(self.tables or ())))

    def write(self, entries: ContextEntries, key: Tensor, value: Tensor) -> None:
        """Store the projections (P, C) of the new frame in the last of `entries`; frame 0 fills all entries."""
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
    """A memory whose states the caller holds: keys and values (P, n, 2C) of past frames, in slot order."""

    def __init__(self, past: Sequence[Tensor]) -> None:
        super().__init__()
        self._past = [frames[:, t] for frames in past for t in range(frames.shape[1])]
        self.state = torch.empty(0)  # (P, 1, 2C) of the new frame

    def write(self, entries: ContextEntries, key: Tensor, value: Tensor) -> None:
        # Pixels are innermost in memory, as attention reads them.
        self.state = torch.cat((key.t(), value.t())).t().unsqueeze(1)

    def attend(self, query: Tensor, entries: ContextEntries) -> Tensor:
        assert self.tables is not None
        slots = [x.t().unflatten(0, (2, NUM_HEADS, -1)) for x in (*self._past, self.state[:, 0])]
        if query.device.type == "cpu" and not torch.is_grad_enabled():
            return attend_per_pixel(query, [x[0] for x in slots], [x[1] for x in slots], self.tables)
        keys, values = torch.stack(slots).unbind(1)
        return attend_per_pixel(query, keys, values, self.tables)


class TemporalMemory:
    """The memory of one streamed video. The network itself has no state."""

    def __init__(self) -> None:
        self.frames_seen = 0
        # The same number on the network's device, unless that is a CPU, so that a recorded graph can read it.
        self.position: Tensor | None = None
        self._attentions: dict[int, list[AttentionMemory]] = {}

    def of_module(self, index: int) -> list[AttentionMemory]:
        """The memories of one motion module's attentions."""
        return self._attentions.setdefault(index, [AttentionMemory() for _ in range(NUM_ATTENTIONS)])

    def next_entries(self, device: torch.device) -> ContextEntries:
        """The entries in position slots 0, 1, .. for the next frame; on the device unless it is a CPU."""
        if device.type == "cpu" or self.frames_seen == 0:
            return context_entries(self.frames_seen)
        if self.position is None:
            self.position = torch.tensor(self.frames_seen, device=device)
        return context_entries_on_device(self.position)

    def advance(self) -> None:
        """Count a new frame."""
        self.frames_seen += 1
        if self.position is not None:
            self.position += 1

    def rewind(self, frames_seen: int) -> None:
        """Reset the frame count; the frames since then must follow again, because what they overwrote is lost."""
        self.frames_seen = frames_seen
        if self.position is not None:
            self.position.fill_(frames_seen)

    def widen(self) -> None:
        """Convert the memory to float32, so that later entries are stored in it too."""
        for memory in self.attentions():
            memory.keys, memory.values = memory.keys.float(), memory.values.float()

    def attentions(self) -> list[AttentionMemory]:
        """All memories, module by module."""
        return [memory for module in self._attentions.values() for memory in module]

    @property
    def num_bytes(self) -> int:
        """Size in bytes, which does not change after the first frame."""
        return sum(memory.num_bytes for memory in self.attentions())


class StateMemory(TemporalMemory):
    """A memory for one step whose states the caller holds, as in the original's streaming class.

    Args:
        past: states (P, n, 2C) of the eight attentions, for each earlier frame or several together; empty at the
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
        """The new frame's states, (P, 1, 2C) for each attention."""
        return [memory.state for memory in self._of_attention]
