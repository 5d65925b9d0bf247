"""The network compiled by `torch.compile`, piece by piece, with static shapes."""

from __future__ import annotations

import math
from collections.abc import Callable
from types import FunctionType
from typing import Any

import torch
from torch import Tensor

from ..video_depth import VideoDepthAnything
from .pieces import PieceFunction, PiecewiseNetwork


class CompiledNetwork(PiecewiseNetwork):
    """The pieces of a network under `torch.compile`; compiling takes a minute or so at each new input size.

    On a GPU the encoder is bound by its matrix products, which stay the same; the head is bound by memory (an eager
    vits head at 518 moves about 0.5 GB per frame, which takes as long as its encoder at an H100's peak), and fusing its
    elementwise operations saves a good part of that. `compiler` is `torch.compile`'s backend.
    """

    # The motion modules' widest activation: 512 MiB in half precision for vits, less than a window's features.
    pixels_at_once = 1 << 14

    def __init__(self, model: VideoDepthAnything, compiler: str | Callable[..., Any] = "inductor") -> None:
        super().__init__(model)
        self._compiler = compiler
        # By piece, number of frames, and the shapes of one frame's inputs.
        self._compiled: dict[tuple[Any, ...], Callable[..., Any]] = {}

    def _pixels_at_once(self, total: int) -> int:
        return math.ceil(total / math.ceil(total / self.pixels_at_once))  # parts of nearly equal size

    def _run(self, name: str, function: PieceFunction, *inputs: Tensor) -> tuple[Tensor, ...]:
        count = len(inputs[0])
        size = self._group_size(name, inputs)
        if size > count:  # pad a video's last group
            inputs = tuple(torch.cat((x, x[-1:].expand(size - count, *x.shape[1:]))) for x in inputs)
        key = (name, size, *(tuple(x.shape[1:]) for x in inputs))
        if key not in self._compiled:
            self._compiled[key] = torch.compile(_own_code(function), dynamic=False, backend=self._compiler)
        try:
            result = self._compiled[key](*inputs)
        except (MemoryError, RuntimeError):
            del self._compiled[key]  # if memory ran out, smaller groups must not be padded to this size
            raise
        outputs = tuple(result) if isinstance(result, tuple) else (result,)
        return tuple(x[:count] for x in outputs) if size > count else outputs

    def _group_size(self, name: str, inputs: tuple[Tensor, ...]) -> int:
        """Size of the group to compute: the given one, or the next larger compiled one; one frame stays alone."""
        count, shapes = len(inputs[0]), tuple(tuple(x.shape[1:]) for x in inputs)
        compiled = [key[1] for key in self._compiled if key[0] == name and key[2:] == shapes and key[1] >= count]
        return min(compiled, default=count) if count > 1 else count


def _own_code(function: PieceFunction) -> Callable[..., Any]:
    """Copy a function with its own code object: torch.compile gives up after eight shapes of one code object."""

    def call(*inputs: Tensor) -> Any:
        return function(*inputs)

    return FunctionType(call.__code__.replace(), call.__globals__, call.__name__, None, call.__closure__)
