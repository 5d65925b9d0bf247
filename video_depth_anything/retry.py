"""Continues with fewer frames at once when the device runs out of memory."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence

import torch
from torch import Tensor, nn

from .errors import is_out_of_memory
from .frame_features import FrameFeatures
from .network import Network
from .temporal_memory import TemporalMemory

logger = logging.getLogger(__name__)


class RetryingNetwork:
    """Wraps a network; after it runs out of memory once, its per-frame halves get half as many frames at once.

    The number is halved once; `--frames_at_once` can set a smaller one. It is the only state, so any number of videos
    may share the object. `frames_at_once` is the maximum that will be requested.
    """

    def __init__(self, network: Network, frames_at_once: int) -> None:
        self.metric = network.metric
        self.frames_at_once = frames_at_once
        self._network = network
        self._given = frames_at_once

    def parameters(self) -> Iterator[nn.Parameter]:
        return self._network.parameters()

    def encode(self, images: Tensor) -> FrameFeatures:
        """See `VideoDepthAnything.encode`."""
        while True:
            at_once = min(self.frames_at_once, len(images))
            try:
                return FrameFeatures.concatenate([self._network.encode(part) for part in images.split(at_once)])
            except (MemoryError, RuntimeError) as error:
                self._halve(error, at_once)
            # Outside of `except`, the error is released, and with it the tensors in the failed call's stack frames.
            release_unused()

    def decode(self, window: Sequence[FrameFeatures], slots: Sequence[int], frames_at_once: int) -> Iterator[Tensor]:
        """See `VideoDepthAnything.decode`; slots yielded before memory ran out are not repeated."""
        done = 0
        while done < len(slots):
            at_once = min(self.frames_at_once, frames_at_once)
            try:
                for depth in self._network.decode(window, slots[done:], at_once):
                    done += depth.shape[1]
                    yield depth
            except (MemoryError, RuntimeError) as error:
                self._halve(error, at_once)
            else:
                return
            release_unused()

    def step(self, features: FrameFeatures, memory: TemporalMemory) -> Tensor:
        """See `VideoDepthAnything.step`; one frame cannot be halved."""
        return self._network.step(features, memory)

    def _halve(self, error: Exception, at_once: int) -> None:
        """Use half of `at_once` from now on; re-raise the error if it is not about memory, or this happened before."""
        if not is_out_of_memory(error) or at_once == 1 or self.frames_at_once < self._given:
            raise error
        self.frames_at_once = at_once // 2
        logger.warning(
            "out of memory with %d frames at once; continuing with %d (use --frames_at_once %d from the start)",
            *(at_once, self.frames_at_once, self.frames_at_once),
        )


def release_unused() -> None:
    """Release PyTorch's cached device memory, to reduce fragmentation."""
    torch.cuda.empty_cache()  # does nothing without CUDA
    if torch.backends.mps.is_available():
        torch.mps.empty_cache()
