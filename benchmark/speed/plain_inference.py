"""Offline and streaming inference in the original's order of work.

Offline, each window encodes its 32 frames together, also those that the window before encoded, and renders them all;
all depth is kept and aligned at the end. Streaming keeps the states of past frames as they were before the
projections, and for each new frame joins and projects all 32 of its context again.

The host's share of the work, under 2 % of the original's time, is done with this project's functions.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from benchmark.speed.clip import Frame
from benchmark.speed.plain import PlainFeatures, PlainNetwork
from video_depth_anything.alignment import DepthMap, compute_scale_and_shift, get_interpolate_frames
from video_depth_anything.device import Execution
from video_depth_anything.offline import resize_depth
from video_depth_anything.transform import network_size, preprocess
from video_depth_anything.windows import ALIGN_LEN, INTERP_LEN, KEYFRAMES, OVERLAP, window_schedule

# Of a new frame's context in streaming: the first two states of the list, and the latest ones.
OLDEST_STATES = 2
LATEST_STATES = 29
# Until this frame the list of states only grows, from 32 copies of the first one.
FULL_AFTER = 10


@torch.inference_mode()
def infer_plain(
    network: PlainNetwork, frames: Sequence[Frame] | Frame, input_size: int, execution: Execution
) -> list[DepthMap]:
    """Depth of a whole video, one (H, W) float32 map per frame; as `video_depth_anything.offline.infer_depth`."""
    frame_size = (frames[0].shape[0], frames[0].shape[1])
    size = network_size(*frame_size, input_size)
    images: Tensor | None = None
    windows: list[DepthMap] = []
    for slots in window_schedule(len(frames)):
        shown = slots if images is None else slots[len(KEYFRAMES) :]
        new = [torch.from_numpy(preprocess(frames[min(frame, len(frames) - 1)], size)) for frame in shown]
        kept = [] if images is None else [images[slot] for slot in KEYFRAMES]
        images = torch.stack([*kept, *new])
        with execution.autocast():
            depth = network.decode(network.encode(images.to(execution.device)))
        windows.append(resize_depth(depth.unsqueeze(1), frame_size)[:, 0].cpu().numpy())
    return join_windows(windows, network.metric)[: len(frames)]


def join_windows(windows: Sequence[DepthMap], metric: bool) -> list[DepthMap]:
    """Windows (32, H, W) as one sequence: each aligned to the one before by its first two slots, and cross-faded."""
    joined = list(windows[0])
    first, second = windows[0][0], windows[0][KEYFRAMES[1]]
    for window in windows[1:]:
        if not metric:
            target = np.stack([first, second])
            scale, shift = compute_scale_and_shift(window[:ALIGN_LEN], target, np.ones_like(target))
            window = np.maximum(window * np.float32(scale) + np.float32(shift), 0)
        second = window[KEYFRAMES[1]]
        faded = get_interpolate_frames(joined[-INTERP_LEN:], list(window[ALIGN_LEN:OVERLAP]))
        joined[-INTERP_LEN:] = [np.asarray(depth, dtype=np.float32) for depth in faded]
        joined += list(window[OVERLAP:])
    return joined


class PlainStream:
    """The network in streaming, with the states of one video; its `encode` and `step` are what `DepthStream` calls."""

    def __init__(self, network: PlainNetwork) -> None:
        self._network = network
        self._states: dict[str, list[Tensor]] = {}
        self._frame = 0

    @property
    def num_bytes(self) -> int:
        """Bytes of the states."""
        kept = {id(state): state for states in self._states.values() for state in states}
        return sum(state.nbytes for state in kept.values())

    def encode(self, images: Tensor) -> PlainFeatures:
        """Token maps of the next frame (1, 3, H, W)."""
        return self._network.encode(images)

    def step(self, features: PlainFeatures, memory: object) -> Tensor:
        """Depth (1, 14h, 14w) of the next frame; what it remembers is here and not in `memory`."""
        depth = self._network.decode(features, self._attend)
        self._frame += 1
        return depth

    def _attend(self, name: str, x: Tensor) -> Tensor:
        states = self._states.setdefault(name, [])
        window = torch.cat([*states[:OLDEST_STATES], *states[-LATEST_STATES:], x]) if states else x
        states += [x] if states else [x] * 32
        if self._frame > FULL_AFTER:
            del states[1]
        return self._network.attend(name, x, window)
