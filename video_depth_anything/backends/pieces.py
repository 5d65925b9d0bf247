"""A network whose pieces are computed by something else than PyTorch's modules: the base of the other backends."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from functools import lru_cache
from typing import Any, cast

import torch
from torch import Tensor, nn

from .. import decoding
from ..config import PATCH_SIZE
from ..frame_features import FrameFeatures
from ..motion_module.motion_module import TemporalModule
from ..temporal_memory import AttentionMemory, ContextEntries, TemporalMemory
from ..video_depth import VideoDepthAnything

# From tensors to a tensor or a tuple of them, by PyTorch's modules.
PieceFunction = Callable[..., Any]


class PiecewiseNetwork(ABC):
    """Stand-in for a `VideoDepthAnything` in `infer_depth` and `DepthStream`, with the same methods.

    Streaming's temporal attention stays in PyTorch, which works on the memory in place.
    """

    def __init__(self, model: VideoDepthAnything) -> None:
        self.metric = model.metric
        self._model = model.eval().requires_grad_(False)
        self._position = lru_cache(maxsize=2)(self._position_of)

    @abstractmethod
    def _run(self, name: str, function: PieceFunction, *inputs: Tensor) -> tuple[Tensor, ...]:
        """Run `function` on this backend; `name` and the inputs' shapes identify it."""

    @abstractmethod
    def _pixels_at_once(self, total: int) -> int:
        """How many of a map's `total` pixels a motion module processes together."""

    def parameters(self) -> Iterator[nn.Parameter]:
        return self._model.parameters()

    def encode(self, images: Tensor) -> FrameFeatures:
        """See `VideoDepthAnything.encode`."""
        return FrameFeatures(*self._run("encode", self._encoder((images.shape[-2], images.shape[-1])), images))

    def _encoder(self, size: tuple[int, int]) -> PieceFunction:
        """The function that `encode` runs for images of that (height, width)."""
        encoder, head = self._model.pretrained, self._model.head
        grid = (size[0] // PATCH_SIZE, size[1] // PATCH_SIZE)

        # A constant of the piece. (OpenVINO's bicubic resize ignores the scale factor of a side that keeps its length.)
        position = self._position(grid)

        def function(images: Tensor) -> FrameFeatures:
            taps = encoder.get_intermediate_layers(images, encoder.taps, return_class_token=True, position=position)
            return head.encode(taps, grid)

        return function

    def _position_of(self, grid: tuple[int, int]) -> Tensor:
        with torch.inference_mode(False), torch.no_grad():
            return self._model.pretrained.position_embedding(*grid)

    def decode(
        self, window: Sequence[FrameFeatures], slots: Sequence[int], frames_at_once: int = 1
    ) -> Iterator[Tensor]:
        """See `VideoDepthAnything.decode`; each number of frames at once is another shape to compile."""
        return decoding.decode(self, window, slots, frames_at_once)

    def step(self, features: FrameFeatures, memory: TemporalMemory) -> Tensor:
        """See `VideoDepthAnything.step`."""
        return decoding.step(self, features, memory)

    def coarse(self, map3: Tensor, map4: Tensor) -> tuple[Tensor, Tensor]:
        path, skip = self._run("coarse", self._model.head.coarse, map3, map4)
        return path, skip

    def fine(self, path: Tensor, skip: Tensor) -> Tensor:
        return self._run("fine", self._model.head.fine, path, skip)[0]

    def refine(self, path: Tensor, map2: Tensor, map1: Tensor) -> Tensor:
        return self._run("refine", self._model.head.refine, path, map2, map1)[0]

    def finish(self, maps: Tensor) -> Tensor:
        return self._run("finish", self._model.head.finish, maps)[0]

    def motion(self, index: int, maps: Tensor) -> Tensor:
        size = self._pixels_at_once(maps.shape[0] * maps.shape[-2] * maps.shape[-1])
        return self._motion_module(index).temporal_transformer.mix_chunks(
            maps, lambda pixels: self._mix(index, pixels, size), size
        )

    def _mix(self, index: int, pixels: Tensor, size: int) -> Tensor:
        """Mix (P, T, C) to the same shape; P is padded to `size`, so that only one shape is compiled."""
        missing = size - len(pixels)
        padded = torch.cat((pixels, pixels.new_zeros(missing, *pixels.shape[1:]))) if missing else pixels
        return self._run(f"mix{index}", self._motion_module(index).temporal_transformer.mix, padded)[0][: len(pixels)]

    def _motion_module(self, index: int) -> TemporalModule:
        return cast(TemporalModule, self._model.head.motion_modules[index])

    def motion_step(
        self, index: int, maps: Tensor, memories: Sequence[AttentionMemory], entries: ContextEntries
    ) -> Tensor:
        return self._model.head.motion_step(index, maps, memories, entries)
