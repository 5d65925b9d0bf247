"""A network that goes on with fewer frames at once when the device has run out of memory."""

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
    """Another network, whose per-frame halves get half as many frames at once after memory has run out once.

    It is halved once; who needs still fewer can say so by `--frames_at_once`. Only that number is remembered, so any
    number of videos may share the object. `frames_at_once` is the most that will be asked for.
    """

    def __init__(self, network: Network, frames_at_once: int) -> None:
        self.metric = network.metric
        self.frames_at_once = frames_at_once
        self._network = network
        self._given = frames_at_once

    def parameters(self) -> Iterator[nn.Parameter]:
        return self._network.parameters()

    def encode(self, images: Tensor) -> FrameFeatures:
        """As `VideoDepthAnything.encode`."""
        while True:
            at_once = min(self.frames_at_once, len(images))
            try:
                return FrameFeatures.concatenate([self._network.encode(part) for part in images.split(at_once)])
            except (MemoryError, RuntimeError) as error:
                self._halve(error, at_once)
            # Outside of `except` the error is gone, and with it what the failed call has left in its frames.
            release_unused()

    def decode(self, window: Sequence[FrameFeatures], slots: Sequence[int], frames_at_once: int) -> Iterator[Tensor]:
        """As `VideoDepthAnything.decode`; slots that came before memory ran out do not come again."""
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
        """As `VideoDepthAnything.step`; one frame has no half."""
        return self._network.step(features, memory)

    def _halve(self, error: Exception, at_once: int) -> None:
        """Take half of `at_once` from now on; raise the error if memory is not the reason, or was halved before."""
        if not is_out_of_memory(error) or at_once == 1 or self.frames_at_once < self._given:
            raise error
        self.frames_at_once = at_once // 2
        logger.warning(
            "out of memory with %d frames at once; continuing with %d (use --frames_at_once %d from the start)",
            *(at_once, self.frames_at_once, self.frames_at_once),
        )


def release_unused() -> None:
    """Give the device back what PyTorch keeps for later, so that pieces of memory become whole again."""
    torch.cuda.empty_cache()  # does nothing where CUDA is not in use
    if torch.backends.mps.is_available():
        torch.mps.empty_cache()
