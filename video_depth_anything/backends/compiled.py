"""The network compiled by `torch.compile`, piece by piece, with static shapes."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from ..video_depth import VideoDepthAnything
from .pieces import PieceFunction, PiecewiseNetwork


class CompiledNetwork(PiecewiseNetwork):
    """The pieces of a network under `torch.compile`; compiling takes a minute or so at each new input size.

    What it is for: on a GPU the encoder is bound by its matrix products, which are not touched; the head is bound by
    memory (an eager vits head at 518 moves about 0.5 GB a frame, as long as its encoder takes at an H100's peak), and
    fusing its elementwise operations saves a good part of that.

    Args:
        model: network with its weights.
        compiler: `torch.compile`'s backend.
    """

    # The motion modules' widest activation: 512 MiB in half precision for vits, less than a window's features.
    pixels_at_once = 1 << 14

    def __init__(self, model: VideoDepthAnything, compiler: str = "inductor") -> None:
        super().__init__(model)
        self._compiler = compiler
        self._compiled: dict[tuple[object, ...], Callable[..., Any]] = {}

    def _pixels_at_once(self, total: int) -> int:
        return math.ceil(total / math.ceil(total / self.pixels_at_once))  # the parts are as equal as they can be

    def _run(self, name: str, function: PieceFunction, *inputs: Tensor) -> tuple[Tensor, ...]:
        # One compiled function for each shape: torch.compile gives up after a few shapes of one function.
        key = (name, *(tuple(x.shape) for x in inputs))
        if key not in self._compiled:
            self._compiled[key] = torch.compile(function, dynamic=False, backend=self._compiler)
        result = self._compiled[key](*inputs)
        return tuple(result) if isinstance(result, tuple) else (result,)
