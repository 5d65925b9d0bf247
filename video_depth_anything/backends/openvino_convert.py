"""Converts parts of the PyTorch network to OpenVINO models, in tenths of a second, so no cache on disk is needed.

`torch.export` analyses Python, guards and shapes, which takes seconds per piece. The pieces have no control flow, so
one run over fake tensors records everything.

Shapes: N images or frames, C channels, H x W pixels.
"""

from __future__ import annotations

from collections.abc import Sequence

import openvino as ov
import torch
from openvino.frontend import FrontEndManager
from openvino.frontend.pytorch.fx_decoder import TorchFXPythonDecoder
from torch import Tensor, nn
from torch.fx.experimental.proxy_tensor import make_fx

from .pieces import PieceFunction


class _Piece(nn.Module):
    """A part of the network with channels innermost in all input and output maps."""

    def __init__(self, network: nn.Module, function: PieceFunction) -> None:
        super().__init__()
        self.network = network  # so that tracing finds the weights
        self._function = function

    def forward(self, *inputs: Tensor) -> tuple[Tensor, ...]:
        result = self._function(*(channels_first(x) for x in inputs))
        return tuple(channels_last(x) for x in (result if isinstance(result, tuple) else (result,)))


def channels_first(x: Tensor) -> Tensor:
    """View a map (N, H, W, C) as (N, C, H, W); other tensors are returned unchanged."""
    return x.permute(0, 3, 1, 2) if x.ndim == 4 else x


def channels_last(x: Tensor) -> Tensor:
    """The inverse of `channels_first`."""
    return x.permute(0, 2, 3, 1) if x.ndim == 4 else x


def convert(network: nn.Module, function: PieceFunction, shapes: Sequence[Sequence[int]]) -> ov.Model:
    """Convert a function of maps (N, C, H, W), for float32 inputs of static shapes; the model's maps are (N, H, W, C).

    Its constants share the memory of `network`, which holds the weights that the function uses.
    """
    # The caller's mode must not affect the graph: neither autocast's casts nor inference tensors.
    with torch.inference_mode(False), torch.no_grad(), torch.autocast("cpu", enabled=False):
        record = make_fx(_Piece(network, function), tracing_mode="fake", _allow_non_fake_inputs=True)
        graph = record(*(torch.empty(tuple(shape)) for shape in shapes))
    # `openvino.convert_model` does the same, but reports its use to a statistics server.
    frontend = FrontEndManager().load_by_framework("pytorch")
    decoder = TorchFXPythonDecoder(graph, dynamic_shapes=False)  # must outlive the conversion
    return frontend.convert(frontend.load(decoder))
