"""The network computed by OpenVINO: the same pieces as `VideoDepthAnything`, converted once for each input size.

Used on CPUs, where it is faster than PyTorch, and on Intel's GPUs and NPUs. A piece is converted from the PyTorch
network itself, so there is one definition of the model. Streaming's temporal attention stays in PyTorch, which works
on the memory where it lies.

Shapes: N images or frames, C channels, H x W pixels.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from threading import Lock
from typing import Any, cast

import numpy as np
import openvino as ov
import torch
from openvino.frontend import FrontEndManager
from openvino.frontend.pytorch.fx_decoder import TorchFXPythonDecoder
from openvino.frontend.pytorch.torchdynamo.export_decompositions import ops_to_not_decompose
from torch import Tensor, nn

from . import decoding, dinov2, dpt, dpt_temporal, motion_module
from .config import PATCH_SIZE
from .device import Execution
from .dpt_temporal import FrameFeatures
from .motion_module import AttentionMemory, MotionModule, TemporalMemory
from .openvino_cache import ModelCache
from .video_depth import VideoDepthAnything

# Pixels that go through a motion module together. A static number compiles to faster code than any number, and this
# one keeps the widest activation of vits at 32 MiB.
PIXELS_AT_ONCE = 512
# What a converted piece depends on besides weights and shapes.
_SOURCES = (dinov2, dpt, dpt_temporal, motion_module)


class Piece(nn.Module):
    """A part of the network as a module of its own, to be exported; maps go in and come out with channels innermost."""

    def __init__(self, network: nn.Module, function: Callable[..., Any]) -> None:
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
    """A piece ready to run on a device; calls from several threads take turns."""

    def __init__(self, compiled: ov.CompiledModel) -> None:
        self._request = compiled.create_infer_request()
        self._lock = Lock()

    def __call__(self, *inputs: Tensor) -> tuple[Tensor, ...]:
        """Run it: maps (N, C, .., ..) or other tensors, on the CPU, to the same; float32."""
        arrays = [np.ascontiguousarray(_channels_last(x.detach().float()).numpy()) for x in inputs]
        with self._lock:
            # Inputs are read where they lie; outputs are copied, since the next call overwrites them.
            results = self._request.infer(arrays, share_inputs=True)
        return tuple(_channels_first(torch.from_numpy(results[i])) for i in range(len(results)))


class OpenVinoNetwork:
    """Stand-in for a `VideoDepthAnything` in `infer_depth` and `DepthStream`.

    Args:
        model: network with its weights, on the CPU.
        execution: `openvino_device` says where to compute, `autocast_dtype` in which precision.
        cache: folder for converted pieces; None converts anew for each object.
    """

    def __init__(self, model: VideoDepthAnything, execution: Execution, cache: Path | None) -> None:
        self.metric = model.metric
        self._model = model.eval().requires_grad_(False)
        self._device = execution.openvino_device or "CPU"
        self._precision = {None: "f32", torch.bfloat16: "bf16", torch.float16: "f16"}[execution.autocast_dtype]
        self._core = ov.Core()
        self._cache = ModelCache(self._core, cache)
        self._weights = _digest(model) if cache else ""
        self._pieces: dict[tuple[object, ...], CompiledPiece] = {}

    def parameters(self) -> Iterator[nn.Parameter]:
        return self._model.parameters()

    def encode(self, images: Tensor) -> FrameFeatures:
        """As `VideoDepthAnything.encode`."""
        encoder, head = self._model.pretrained, self._model.head
        grid = (images.shape[-2] // PATCH_SIZE, images.shape[-1] // PATCH_SIZE)

        def function(images: Tensor) -> FrameFeatures:
            return head.encode(encoder(images, position), grid)

        with torch.inference_mode(False), torch.no_grad():
            # OpenVINO's bicubic resize leaves a side alone that keeps its length, whatever scale factor is asked for.
            position = encoder.position_embedding(*grid)
        return FrameFeatures(*self._run("encode", function, images))

    def decode(
        self, window: Sequence[FrameFeatures], slots: Sequence[int], frames_at_once: int = 1
    ) -> Iterator[Tensor]:
        """As `VideoDepthAnything.decode`; a piece is compiled for each number of frames at once that comes up."""
        return decoding.decode(self, window, slots, frames_at_once)

    def step(self, features: FrameFeatures, memory: TemporalMemory) -> Tensor:
        """As `VideoDepthAnything.step`."""
        return decoding.step(self, features, memory)

    def coarse(self, map3: Tensor, map4: Tensor) -> tuple[Tensor, Tensor]:
        path, skip = self._run("coarse", self._model.head.coarse, map3, map4)
        return path, skip

    def fine(self, path: Tensor, skip: Tensor) -> Tensor:
        return self._run("fine", self._model.head.fine, path, skip)[0]

    def refine(self, path: Tensor, skip2: Tensor, skip1: Tensor) -> Tensor:
        return self._run("refine", self._model.head.refine, path, skip2, skip1)[0]

    def finish(self, maps: Tensor) -> Tensor:
        # Depth has more levels than half precision.
        return self._run("finish", self._model.head.finish, maps, precision="f32")[0]

    def motion(self, index: int, maps: Tensor) -> Tensor:
        transformer = cast(MotionModule, self._model.head.motion_modules[index]).temporal_transformer

        def mix(pixels: Tensor) -> Tensor:
            missing = PIXELS_AT_ONCE - len(pixels)
            padded = torch.cat((pixels, pixels.new_zeros(missing, *pixels.shape[1:]))) if missing else pixels
            return self._run(f"mix{index}", transformer.mix, padded)[0][: len(pixels)]

        return transformer.mix_chunks(maps, mix, PIXELS_AT_ONCE)

    def motion_step(
        self, index: int, maps: Tensor, memories: Sequence[AttentionMemory], entries: Sequence[int]
    ) -> Tensor:
        return self._model.head.motion_step(index, maps, memories, entries)

    def _run(
        self, name: str, function: Callable[..., Any], *inputs: Tensor, precision: str | None = None
    ) -> tuple[Tensor, ...]:
        """Run a piece, converted and compiled for these shapes when they come up first."""
        shapes = tuple(tuple(x.shape) for x in inputs)
        piece = self._pieces.get((name, shapes))
        if piece is None:
            example = tuple(torch.zeros_like(_channels_last(x), dtype=torch.float32).contiguous() for x in inputs)
            key = hashlib.sha256(repr((self._weights, name, shapes)).encode()).hexdigest()
            source = self._cache.find(key, lambda: _convert(Piece(self._model, function), example))
            compiled = self._core.compile_model(source, self._device, self._properties(precision or self._precision))
            piece = self._pieces[name, shapes] = CompiledPiece(compiled)
        return piece(*inputs)

    def _properties(self, precision: str) -> dict[str, Any]:
        properties: dict[str, Any] = {"INFERENCE_PRECISION_HINT": precision, "PERFORMANCE_HINT": "LATENCY"}
        if self._device == "CPU":
            properties["INFERENCE_NUM_THREADS"] = torch.get_num_threads()
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
