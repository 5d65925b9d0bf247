"""Floating point operations of the network, counted, not estimated: by PyTorch's counter, on the meta device.

A multiplication with an addition is two operations. Matrix products and convolutions are counted; norms, activations,
resizes and the streaming memory's element-wise attention are not.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

import torch
from torch.utils.flop_counter import FlopCounterMode

from video_depth_anything import VideoDepthAnything
from video_depth_anything.temporal_memory import TemporalMemory
from video_depth_anything.windows import INFER_LEN, STEP, window_matters

GIGA = 1e9
Result = TypeVar("Result")


@dataclass(frozen=True)
class Work:
    """GFLOP of the parts of the network at one input size.

    Attributes:
        encoder: of one frame.
        attention: of it, the products q k and (softmax) v.
        head_frame: what of the head is done once a frame, before the motion modules.
        mixing: all that mixes the 32 frames of a window.
        rendering: the head's fine end, for each frame that is shown.
        step: streaming's counterpart of both, for one frame.
    """

    encoder: float
    attention: float
    head_frame: float
    mixing: float
    rendering: float
    step: float

    @property
    def per_output_frame(self) -> float:
        """Of a long video offline: each frame encoded once, a window mixed and rendered for each 22 of them."""
        return self.encoder + self.head_frame + (self.mixing + INFER_LEN * self.rendering) / STEP

    @property
    def per_output_frame_original(self) -> float:
        """The same where each window encodes all its frames."""
        return (INFER_LEN * (self.encoder + self.head_frame + self.rendering) + self.mixing) / STEP

    @property
    def per_streamed_frame(self) -> float:
        """Of one frame of a stream."""
        return self.encoder + self.head_frame + self.step

    def of_clip(self, frames: int) -> float:
        """Of a whole clip offline."""
        total = frames * (self.encoder + self.head_frame)
        index = 0
        while window_matters(index, frames) and STEP * index < frames:
            total += self.mixing + min(INFER_LEN, frames - STEP * index) * self.rendering
            index += 1
        return total


@torch.no_grad()
def count(work: Callable[[], Result]) -> tuple[Result, FlopCounterMode]:
    """Do the work under a counter."""
    counter = FlopCounterMode(display=False)
    with counter:
        result = work()
    return result, counter


def count_work(encoder: str, size: tuple[int, int]) -> Work:
    """Count the network's work for an input of `size` (height, width), multiples of 14. Nothing is computed."""
    with torch.device("meta"):
        model = VideoDepthAnything(encoder).eval().requires_grad_(False)
        image = torch.empty(1, 3, *size)
    _, counter = count(lambda: model.encode(image))
    # Attention is the one place of the encoder where both factors depend on the image: batched, or fused.
    kinds = counter.get_flop_counts()["Global"].items()
    attention = sum(flops for kind, flops in kinds if "bmm" in str(kind) or "scaled_dot_product" in str(kind))
    encoded = counter.get_total_flops()
    features, counter = count(lambda: model.encode(image))
    both = counter.get_total_flops()

    def decode(slots: int) -> int:
        _, counter = count(lambda: list(model.decode([features] * INFER_LEN, range(slots), 1)))
        return counter.get_total_flops()

    one = decode(1)
    rendering = decode(2) - one
    memory = TemporalMemory()
    model.step(features, memory)  # the first frame has no others to look at
    _, counter = count(lambda: model.step(features, memory))
    parts = (encoded, attention, both - encoded, one - rendering, rendering, counter.get_total_flops())
    return Work(*(part / GIGA for part in parts))
