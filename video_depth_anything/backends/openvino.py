"""The network computed by OpenVINO, piece by piece, each converted and compiled for each input size.

Used on CPUs, where it is faster than PyTorch, and on Intel's GPUs and NPUs. A piece is converted from the PyTorch
network itself, so there is one definition of the model. Streaming's temporal attention stays in PyTorch, which works
on the memory in place.

Shapes: N images or frames, C channels, H x W pixels.
"""

from __future__ import annotations

import logging
from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator, Sequence
from threading import Lock
from typing import Any

import numpy as np
import numpy.typing as npt
import openvino as ov
import torch
from torch import Tensor

from ..device import Execution, openvino_core
from ..transform import Image
from ..video_depth import VideoDepthAnything
from .openvino_convert import channels_first, channels_last, convert
from .openvino_int8 import Int8Encoder
from .pieces import PieceFunction, PiecewiseNetwork

logger = logging.getLogger(__name__)

# Frames computed side by side, if available. Each then has half of the threads, which wait for each other less: this
# saved 1 to 17 % on two cores, most in small pieces.
STREAMS = 2
# Pieces with large activations, of which all threads compute one frame at a time.
LARGE = ("refine", "finish")
# Input sizes whose five pieces are kept: the current one and the one before.
KEPT_SIZES = 2
PIECES_OF_A_SIZE = 5

Array = npt.NDArray[Any]
Shapes = tuple[tuple[int, ...], ...]


class CompiledPiece:
    """A compiled piece, which runs several calls side by side; calls from several threads take turns."""

    def __init__(self, compiled: ov.CompiledModel, num_requests: int) -> None:
        self._requests = [compiled.create_infer_request() for _ in range(num_requests)]
        self._lock = Lock()

    def __call__(self, calls: Sequence[Sequence[Tensor]]) -> tuple[Tensor, ...]:
        """Run it once for each list of inputs; outputs of all calls are joined along the first dimension."""
        with self._lock:
            joined: list[Array] = []
            for start in range(0, len(calls), len(self._requests)):
                arrays = [
                    [np.ascontiguousarray(channels_last(x.detach()).float().numpy()) for x in call]
                    for call in calls[start : start + len(self._requests)]
                ]
                for offset, outputs in enumerate(self._side_by_side(arrays), start):
                    joined = joined or [np.empty((len(calls) * len(x), *x.shape[1:]), x.dtype) for x in outputs]
                    for whole, part in zip(joined, outputs):
                        whole[offset * len(part) : (offset + 1) * len(part)] = part
        return tuple(channels_first(torch.from_numpy(x)) for x in joined)

    def _side_by_side(self, arrays: list[list[Array]]) -> Iterator[list[Array]]:
        """Run one call per request; yields outputs that the next call overwrites."""
        begun: list[ov.InferRequest] = []
        try:
            for request, inputs in zip(self._requests, arrays):
                begun.append(request)
                request.start_async(inputs, share_inputs=True)
            for request in begun:
                request.wait()
                yield [tensor.data for tensor in request.output_tensors]
        finally:
            # After Ctrl-C too: requests read the inputs in place, so these must not be freed earlier.
            for request in begun:
                request.wait()


class OpenVinoNetwork(PiecewiseNetwork):
    """The pieces of a network, converted and compiled for each shape when it first occurs.

    That takes seconds for each new input size. The pieces of the latest two sizes are kept.
    """

    def __init__(
        self,
        model: VideoDepthAnything,
        execution: Execution,
        calibration_frames: Callable[[], Iterable[Image]] | None = None,
    ) -> None:
        super().__init__(model)
        self._device = execution.openvino_device or "CPU"
        # A static number of pixels gives faster code than a dynamic one. On a CPU, 64 was the fastest of 32 to 512, or
        # close, for all widths of vits, by up to a quarter: activations stay in the cache. A GPU needs more work at
        # once. The number does not depend on the map, so motion modules are compiled once for all input sizes.
        self._pixels = 64 if self._device == "CPU" else 512
        self._precision = {None: "f32", torch.bfloat16: "bf16", torch.float16: "f16"}[execution.autocast_dtype]
        self._int8: Int8Encoder | None = None
        if execution.int8:
            self._int8 = Int8Encoder(model, lambda size: convert(model, self._encoder(size), [(1, *size, 3)]))
            if calibration_frames is not None:
                self._int8.calibrate(calibration_frames)
        self._pieces: OrderedDict[tuple[str, Shapes], CompiledPiece] = OrderedDict()  # in the order of use
        self._lock = Lock()

    def motion(self, index: int, maps: Tensor) -> Tensor:
        """Like the network's method; mixed pixels overwrite those that are no longer needed."""
        batch, length, channels = maps.shape[:3]
        norm = self._motion_module(index).temporal_transformer.norm
        normed = norm(maps.flatten(0, 1)).permute(0, 2, 3, 1).contiguous()
        for clip in normed.view(batch, length, -1, channels):
            for pixels in clip.split(self._pixels, dim=1):
                pixels.copy_(self._mix(index, pixels.transpose(0, 1), self._pixels).transpose(0, 1))
        return normed.permute(0, 3, 1, 2).unflatten(0, (batch, length)).add_(maps)

    def _pixels_at_once(self, total: int) -> int:
        return self._pixels

    def _run(self, name: str, function: PieceFunction, *inputs: Tensor) -> tuple[Tensor, ...]:
        # Only motion modules mix their inputs; the other pieces process single frames, one per call.
        count = 1 if name.startswith("mix") else len(inputs[0])
        calls = list(zip(*(x.chunk(count) for x in inputs)))
        return self._piece(name, function, calls[0], 1 if name in LARGE else min(count, STREAMS))(calls)

    def _piece(self, name: str, function: PieceFunction, inputs: Sequence[Tensor], num_requests: int) -> CompiledPiece:
        # Compiled for as many requests as the first call needs: a stream has single frames, a window pairs.
        shapes = tuple(tuple(channels_last(x).shape) for x in inputs)
        with self._lock:
            if (name, shapes) in self._pieces:
                self._pieces.move_to_end((name, shapes))
            else:
                if name == "encode":
                    _, height, width, _ = shapes[0]
                    text = "preparing the network for %dx%d with OpenVINO; this takes a few seconds"
                    logger.info(text, width, height)
                if name == "encode" and self._int8 is not None:
                    model = self._int8.at((height, width))
                else:
                    model = convert(self._model, function, shapes)
                self._pieces[name, shapes] = self._compile(name, model, num_requests)
                # Remove the least recently used piece, except motion modules, which serve all sizes.
                sized = [key for key in self._pieces if not key[0].startswith("mix")]
                for key in sized[: max(len(sized) - KEPT_SIZES * PIECES_OF_A_SIZE, 0)]:
                    del self._pieces[key]
            return self._pieces[name, shapes]

    def _compile(self, name: str, model: ov.Model, num_requests: int) -> CompiledPiece:
        # Half precision has too few levels for depth.
        precision = "f32" if name == "finish" else self._precision
        hint = "LATENCY" if num_requests == 1 else "THROUGHPUT"
        properties: dict[str, Any] = {"INFERENCE_PRECISION_HINT": precision, "PERFORMANCE_HINT": hint}
        if self._device == "CPU":
            properties |= {"INFERENCE_NUM_THREADS": torch.get_num_threads(), "NUM_STREAMS": num_requests}
        return CompiledPiece(openvino_core().compile_model(model, self._device, properties), num_requests)
