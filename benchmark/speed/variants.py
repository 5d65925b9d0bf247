"""From the name of a variant to something that computes depth: the one place that knows the backends."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import torch

from benchmark.speed.clip import Frame
from benchmark.speed.flags import COMPILED, PLAIN, Variant
from benchmark.speed.plain import PlainNetwork
from benchmark.speed.plain_inference import PlainStream, infer_plain
from video_depth_anything import Execution, VideoDepthAnything, choose_execution, infer_depth, load_backend, load_model
from video_depth_anything.alignment import DepthMap
from video_depth_anything.backends.load import calibrate_network
from video_depth_anything.pipelines.setup import calibration_frames

# Depth of a clip (N, H, W, 3), map by map.
Infer = Callable[[Frame], Iterable[DepthMap]]


def precision_name(execution: Execution) -> str:
    """`fp32`, `bf16`, `fp16` or `int8`, whatever name led there."""
    if execution.int8:
        return "int8"
    return {None: "fp32", torch.bfloat16: "bf16", torch.float16: "fp16"}[execution.autocast_dtype]


class Models:
    """The weights that all variants are made from, loaded once for each device that one of them computes on.

    Args:
        device: what `--device` says; a backend may take `auto` differently from another.
    """

    def __init__(self, encoder: str, checkpoint: Path, device: str) -> None:
        self.device = device
        self._encoder = encoder
        self._checkpoint = checkpoint
        self._loaded: dict[torch.device, VideoDepthAnything] = {}

    def on(self, device: torch.device) -> VideoDepthAnything:
        """The network with its weights on that device."""
        if device not in self._loaded:
            self._loaded[device] = load_model(self._encoder, checkpoint=self._checkpoint, device=device)
        return self._loaded[device]


def execution_of(variant: Variant, device: str, input_size: int | None = None) -> Execution:
    """Where and how a variant computes; `input_size` as for `choose_execution`.

    Raises:
        DeviceError: if its backend, its precision or the device is not to be had.
    """
    backend = "torch" if variant.backend in (PLAIN, COMPILED) else variant.backend
    return choose_execution(device, variant.precision, backend, variant.backend == COMPILED, input_size)


def resolve(variants: Iterable[Variant], device: str) -> list[Variant]:
    """The variants with the backend and the precision that `auto` means, each once.

    Raises:
        DeviceError: as `execution_of`.
    """
    return list(dict.fromkeys(_resolve(variant, execution_of(variant, device)) for variant in variants))


def _resolve(variant: Variant, execution: Execution) -> Variant:
    backend = variant.backend
    if backend == "auto":
        backend = "torch" if execution.openvino_device is None else "openvino"
    return Variant(backend, precision_name(execution))


def load_network(variant: Variant, model: VideoDepthAnything, execution: Execution) -> Any:
    """The network of a variant: its methods are those of `VideoDepthAnything`, unless it is plain.

    Args:
        variant: what is wanted.
        model: as `load_model` gives it, on the device of `execution`; left as it is.
        execution: from `execution_of`.
    """
    if variant.backend == PLAIN:
        return PlainNetwork(model.state_dict(), model.config, model.metric)
    network = load_backend(model, execution)
    calibrate_network(network, execution, calibration_frames)
    return network


def offline(variant: Variant, models: Models, input_size: int) -> Infer:
    """Offline inference with a variant; the network is loaded now."""
    execution = execution_of(variant, models.device, input_size)
    model = models.on(execution.device)
    network = load_network(variant, model, execution)
    if isinstance(network, PlainNetwork):
        return lambda frames: infer_plain(network, frames, input_size, execution)

    def infer(frames: Frame) -> Iterator[DepthMap]:
        return infer_depth(network, frames, input_size, execution)

    return infer


def streaming(variant: Variant, models: Models) -> tuple[Any, Execution]:
    """The network of one stream, `encode` and `step` as `DepthStream` calls them, and how it computes."""
    execution = execution_of(variant, models.device)
    network = load_network(variant, models.on(execution.device), execution)
    return (PlainStream(network) if isinstance(network, PlainNetwork) else network), execution
