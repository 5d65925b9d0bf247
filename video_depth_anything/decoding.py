"""The temporal half of the network, piece by piece: for a window of frames, and for a stream's next frame.

Shapes: B clips, T frames, C channels, h x w patches.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Protocol

import torch
from torch import Tensor

from .frame_features import FrameFeatures
from .temporal_memory import AttentionMemory, ContextEntries, TemporalMemory


class HeadPieces(Protocol):
    """Interface of `DPTHeadTemporal` and its backends. All parts but the motion modules process single frames."""

    def coarse(self, map3: Tensor, map4: Tensor) -> tuple[Tensor, Tensor]: ...

    def fine(self, path: Tensor, skip: Tensor) -> Tensor: ...

    def refine(self, path: Tensor, map2: Tensor, map1: Tensor) -> Tensor: ...

    def finish(self, maps: Tensor) -> Tensor: ...

    def motion(self, index: int, maps: Tensor) -> Tensor: ...

    def motion_step(
        self, index: int, maps: Tensor, memories: Sequence[AttentionMemory], entries: ContextEntries
    ) -> Tensor: ...


def decode(
    head: HeadPieces,
    window: Sequence[FrameFeatures],
    slots: Sequence[int],
    frames_at_once: int,
    motion: Callable[[int, Tensor], Tensor] | None = None,
) -> Iterator[Tensor]:
    """Yield depth (B, n, 14h, 14w) float32 of selected slots of a window, n <= frames_at_once at a time.

    Other slots only take part in the temporal mixing. `frames_at_once` go through the per-frame pieces together, which
    bounds memory. `motion` replaces the head's own method.
    """
    motion = motion or head.motion
    # No references to used maps are kept: the maps of all frames are the peak of a window's memory.
    path, skip = _per_frame(
        head.coarse,
        frames_at_once,
        motion(0, stack_frames([features.map3 for features in window])),
        motion(1, stack_frames([features.map4 for features in window])),
    )
    path = motion(2, path)
    (path,) = _per_frame(head.fine, frames_at_once, path, skip)
    del skip
    path = motion(3, path)
    for start in range(0, len(slots), frames_at_once):
        chosen = list(slots[start : start + frames_at_once])
        first, end = chosen[0], chosen[-1] + 1
        # A list as an index would be copied to the device, and the host would wait.
        shown = path[:, first:end] if chosen == list(range(first, end)) else stack_frames([path[:, s] for s in chosen])
        map2 = stack_frames([window[slot].map2 for slot in chosen])
        map1 = stack_frames([window[slot].map1 for slot in chosen])
        (maps,) = _per_frame(head.refine, len(chosen), shown, map2, map1)
        yield _per_frame(head.finish, len(chosen), maps)[0]


def step(head: HeadPieces, features: FrameFeatures, memory: TemporalMemory) -> Tensor:
    """Compute depth (B, 14h, 14w) float32 of a video's next frame, given the memory of earlier ones.

    The frame is added to the memory. After an error, the memory is unchanged as far as later calls can tell.
    """
    entries = memory.next_entries(features.map3.device)

    def motion(index: int, maps: Tensor) -> Tensor:
        return head.motion_step(index, maps, memory.of_module(index), entries)

    path, skip = head.coarse(motion(0, features.map3), motion(1, features.map4))
    path = motion(3, head.fine(motion(2, path), skip))
    depth = head.finish(head.refine(path, features.map2, features.map1))
    memory.advance()
    return depth


def stack_frames(maps: Sequence[Tensor]) -> Tensor:
    """Stack T maps (B, C, .., ..) to (B, T, C, .., ..), with the channels innermost in memory.

    That is the fastest layout for convolutions, and gives the motion modules their rows of channels.
    """
    return torch.stack([x.permute(0, 2, 3, 1) for x in maps], dim=1).permute(0, 1, 4, 2, 3)


def _per_frame(
    piece: Callable[..., Tensor | tuple[Tensor, ...]], frames_at_once: int, *maps: Tensor
) -> tuple[Tensor, ...]:
    """Apply a piece for (N, ..) to maps (B, T, ..), some frames at a time, and join the results."""
    batch, length = maps[0].shape[:2]
    parts = []
    for start in range(0, length, frames_at_once):
        result = piece(*(x[:, start : start + frames_at_once].flatten(0, 1) for x in maps))
        outputs = result if isinstance(result, tuple) else (result,)
        parts.append([x.unflatten(0, (batch, -1)) for x in outputs])
    if len(parts) == 1:
        return tuple(parts[0])
    return tuple(torch.cat(frames, dim=1) for frames in zip(*parts))
