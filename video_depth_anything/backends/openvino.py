"""The network computed by OpenVINO, piece by piece, each converted once for each input size.

Used on CPUs, where it is faster than PyTorch, and on Intel's GPUs and NPUs. A piece is converted from the PyTorch
network itself, so there is one definition of the model. Streaming's temporal attention stays in PyTorch, which works
on the memory where it lies.

Shapes: N images or frames, C channels, H x W pixels.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from threading import Lock
from typing import Any

import numpy as np
import numpy.typing as npt
import openvino as ov
import torch
from openvino.frontend import FrontEndManager
from openvino.frontend.pytorch.fx_decoder import TorchFXPythonDecoder
from openvino.frontend.pytorch.torchdynamo.export_decompositions import ops_to_not_decompose
from torch import Tensor, nn

from .. import dinov2, dpt, dpt_temporal
from ..device import Execution
from ..motion_module import motion_module
from ..video_depth import VideoDepthAnything
from .openvino_cache import ModelCache
from .pieces import PieceFunction, PiecewiseNetwork

# Frames computed side by side where more than one is at hand. Each has half of the threads then, which wait for each
# other less: 1 to 17 % was saved on two cores, most in small pieces.
STREAMS = 2
# What a converted piece depends on besides weights and shapes.
_SOURCES = (dinov2, dpt, dpt_temporal, motion_module)


class Piece(nn.Module):
    """A part of the network as a module of its own, to be exported; maps go in and come out with channels innermost."""

    def __init__(self, network: nn.Module, function: PieceFunction) -> None:
        super().__init__()
        self.network = network  # so that the export finds the weights
        self._function = function

    def forward(self, *inputs: Tensor) -> tuple[Tensor, ...]:
        result = self._function(*(_channels_first(x) for x in inputs))
        return tuple(_channels_last(x) for x in (result if isinstance(result, tuple) else (result,)))


def _channels_first(x: Tensor) -> Tensor:
    return x.permute(0, 3, 1, 2) if x.ndim == 4 else x


def _channels_last(x: Tensor) -> Tensor:
    return x.permute(0, 2, 3, 1) if x.ndim == 4 else x


class CompiledPiece:
    """A piece ready to run on a device, several calls of it side by side; calls from several threads take turns."""

    def __init__(self, compiled: ov.CompiledModel, num_requests: int) -> None:
        self._requests = [compiled.create_infer_request() for _ in range(num_requests)]
        self._lock = Lock()

    def __call__(self, calls: Sequence[Sequence[Tensor]]) -> tuple[Tensor, ...]:
        """Run it once for each of `calls`.

        Args:
            calls: the inputs of each: maps (N, C, .., ..) or other tensors, on the CPU.

        Returns:
            Its outputs, float32, those of all calls joined along the first dimension.
        """
        with self._lock:
            joined: list[npt.NDArray[np.float32]] = []
            for start in range(0, len(calls), len(self._requests)):
                arrays = [[_as_array(x) for x in call] for call in calls[start : start + len(self._requests)]]
                for offset, outputs in enumerate(self._side_by_side(arrays), start):
                    joined = joined or [np.empty((len(calls) * len(x), *x.shape[1:]), np.float32) for x in outputs]
                    for whole, part in zip(joined, outputs):
                        whole[offset * len(part) : (offset + 1) * len(part)] = part
        return tuple(_channels_first(torch.from_numpy(x)) for x in joined)

    def _side_by_side(self, arrays: list[list[npt.NDArray[np.float32]]]) -> Iterator[list[npt.NDArray[np.float32]]]:
        """One call for each request; yields outputs that the next call overwrites."""
        begun: list[ov.InferRequest] = []
        try:
            for request, inputs in zip(self._requests, arrays):
                begun.append(request)
                request.start_async(inputs, share_inputs=True)
            for request in begun:
                request.wait()
                yield [tensor.data for tensor in request.output_tensors]
        finally:
            # Should Ctrl-C strike: they read the inputs where they lie, which must not go before.
            for request in begun:
                request.wait()


def _as_array(x: Tensor) -> npt.NDArray[np.float32]:
    return np.ascontiguousarray(_channels_last(x.detach().float()).numpy())


class OpenVinoNetwork(PiecewiseNetwork):
    """The pieces of a network, converted and compiled for the shapes that come up.

    Args:
        model: network with its weights, on the CPU.
        execution: `openvino_device` says where to compute, `autocast_dtype` in which precision.
        cache: folder for converted pieces; None converts anew for each object.
    """

    def __init__(self, model: VideoDepthAnything, execution: Execution, cache: Path | None) -> None:
        super().__init__(model)
        self._device = execution.openvino_device or "CPU"
        # A static number compiles to faster code than any number. On a CPU this one was the fastest among 32 to 512 for
        # all widths of vits or nearly so, by up to a quarter: activations stay in the cache. A GPU has to be filled.
        self.pixels_at_once = 64 if self._device == "CPU" else 512
        self._precision = {None: "f32", torch.bfloat16: "bf16", torch.float16: "f16"}[execution.autocast_dtype]
        self._core = ov.Core()
        self._cache = ModelCache(self._core, cache)
        self._weights = _digest(model) if cache else ""
        self._pieces: dict[tuple[object, ...], CompiledPiece] = {}

    def _run(self, name: str, function: PieceFunction, *inputs: Tensor) -> tuple[Tensor, ...]:
        # Only motion modules mix what is given; the others see one frame alone, and so do their calls.
        count = 1 if name.startswith("mix") else len(inputs[0])
        calls = list(zip(*(x.chunk(count) for x in inputs)))
        return self._piece(name, function, calls[0], min(count, STREAMS))(calls)

    def _piece(self, name: str, function: PieceFunction, inputs: Sequence[Tensor], num_requests: int) -> CompiledPiece:
        shapes = tuple(tuple(x.shape) for x in inputs)
        # Compiled for as many requests as the first call has: a stream's frames come one by one, a window's in pairs.
        piece = self._pieces.get((name, shapes))
        if piece is None:
            example = tuple(torch.zeros_like(_channels_last(x), dtype=torch.float32).contiguous() for x in inputs)
            key = hashlib.sha256(repr((self._weights, name, shapes)).encode()).hexdigest()
            source = self._cache.find(key, lambda: _convert(Piece(self._model, function), example))
            # Depth has more levels than half precision.
            precision = "f32" if name == "finish" else self._precision
            compiled = self._core.compile_model(source, self._device, self._properties(precision, num_requests))
            piece = self._pieces[name, shapes] = CompiledPiece(compiled, num_requests)
        return piece

    def _properties(self, precision: str, num_requests: int) -> dict[str, Any]:
        hint = "LATENCY" if num_requests == 1 else "THROUGHPUT"
        properties: dict[str, Any] = {"INFERENCE_PRECISION_HINT": precision, "PERFORMANCE_HINT": hint}
        if self._device == "CPU":
            properties |= {"INFERENCE_NUM_THREADS": torch.get_num_threads(), "NUM_STREAMS": num_requests}
        return properties


def _convert(piece: Piece, example: tuple[Tensor, ...]) -> ov.Model:
    # Nothing of the caller's mode must get into the graph: not autocast's casts, nor tensors of inference mode.
    with torch.inference_mode(False), torch.no_grad(), torch.autocast("cpu", enabled=False):
        exported = torch.export.export(piece.eval(), tuple(x.clone() for x in example))
        decompositions = torch.export.default_decompositions()
        for operation in ops_to_not_decompose():
            decompositions.pop(operation, None)
        exported = exported.run_decompositions(decompositions)
    # `openvino.convert_model` does all this too, but reports the use of it to a statistics server.
    frontend = FrontEndManager().load_by_framework("pytorch")
    decoder = TorchFXPythonDecoder(exported.module(), dynamic_shapes=False)  # must live until the end
    return frontend.convert(frontend.load(decoder))


def _digest(model: nn.Module) -> str:
    """Hash of the weights and of the code that is converted."""
    digest = hashlib.sha256()
    for module in _SOURCES:
        digest.update(Path(str(module.__file__)).read_bytes())
    for key, value in model.state_dict().items():
        digest.update(key.encode())
        digest.update(np.ascontiguousarray(value.numpy()).data)
    return digest.hexdigest()
