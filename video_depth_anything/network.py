"""Interfaces of the network that inference needs, for all backends."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Protocol

from torch import Tensor, nn

from .frame_features import FrameFeatures
from .temporal_memory import TemporalMemory


class WindowNetwork(Protocol):
    """Its two halves, for offline inference; `VideoDepthAnything` documents the methods."""

    metric: bool

    def encode(self, images: Tensor) -> FrameFeatures: ...

    def decode(
        self, window: Sequence[FrameFeatures], slots: Sequence[int], frames_at_once: int
    ) -> Iterator[Tensor]: ...


class StreamNetwork(Protocol):
    """Its per-frame half, and the temporal half for one new frame, for streaming."""

    def encode(self, images: Tensor) -> FrameFeatures: ...

    def step(self, features: FrameFeatures, memory: TemporalMemory) -> Tensor: ...

    def parameters(self) -> Iterator[nn.Parameter]: ...


class Network(WindowNetwork, StreamNetwork, Protocol):
    """The whole network."""
