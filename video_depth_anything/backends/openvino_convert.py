"""From a part of the PyTorch network to a model of OpenVINO, in tenths of a second, so that nothing is kept on disk.

`torch.export` analyses Python, guards and shapes, for seconds a piece. The pieces have no control flow, so one run
over tensors without content records all that they do.

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
    """A part of the network with channels innermost in all maps that go in or come out."""

    def __init__(self, network: nn.Module, function: PieceFunction) -> None:
        super().__init__()
        self.network = network  # so that the recording finds the weights
        self._function = function

    def forward(self, *inputs: Tensor) -> tuple[Tensor, ...]:
        result = self._function(*(channels_first(x) for x in inputs))
        return tuple(channels_last(x) for x in (result if isinstance(result, tuple) else (result,)))


def channels_first(x: Tensor) -> Tensor:
    """View of a map (N, H, W, C) as (N, C, H, W); other tensors come back unchanged."""
    return x.permute(0, 3, 1, 2) if x.ndim == 4 else x


def channels_last(x: Tensor) -> Tensor:
    """The opposite view."""
    return x.permute(0, 2, 3, 1) if x.ndim == 4 else x


def convert(network: nn.Module, function: PieceFunction, shapes: Sequence[Sequence[int]]) -> ov.Model:
    """The model of a function of maps (N, C, H, W), for float32 inputs of static shapes, its maps as (N, H, W, C).

    Its constants share the memory of `network`, which holds the weights that the function uses.
    """
    # Nothing of the caller's mode must get into the graph: not autocast's casts, nor tensors of inference mode.
    with torch.inference_mode(False), torch.no_grad(), torch.autocast("cpu", enabled=False):
        record = make_fx(_Piece(network, function), tracing_mode="fake", _allow_non_fake_inputs=True)
        graph = record(*(torch.empty(tuple(shape)) for shape in shapes))
    # `openvino.convert_model` does this too, but reports the use of it to a statistics server.
    frontend = FrontEndManager().load_by_framework("pytorch")
    decoder = TorchFXPythonDecoder(graph, dynamic_shapes=False)  # must live until the end
    return frontend.convert(frontend.load(decoder))
