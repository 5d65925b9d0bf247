"""Chooses the network's backend, PyTorch or OpenVINO, both with `encode`, `decode` and `step`."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import torch
from torch import nn

from ..device import Execution
from ..network import Network
from ..transform import Image
from ..video_depth import VideoDepthAnything
from .compiled import CompiledNetwork


def load_backend(
    model: VideoDepthAnything, execution: Execution, frames: Callable[[], Iterable[Image]] | None = None
) -> Network:
    """Wrap the network for `execution`; returns `model` itself for PyTorch in float32.

    Args:
        model: with its weights on `execution.device` or the CPU; they must not change afterwards. If they are on the
            CPU, a GPU receives them in the required type, and never holds them in float32 and half precision at once.
        frames: returns (H, W, 3) RGB frames similar to the video's, for int8's calibration; called if no earlier run
            has stored a calibration of these weights.
    """
    if execution.openvino_device is None:
        if execution.autocast_dtype is not None:
            model = with_half_weights(model, execution.autocast_dtype)
        model = model.to(execution.device)
        return CompiledNetwork(model) if execution.compile else model
    from .openvino import OpenVinoNetwork

    return OpenVinoNetwork(model, execution, frames)


def with_half_weights(model: VideoDepthAnything, dtype: torch.dtype) -> VideoDepthAnything:
    """Copy the network with those weights cast that autocast would cast at every call; the others are shared.

    Results are those of autocast. Norms, gains, position embeddings and the end of the head stay as they are.
    """
    exact = set(model.head.scratch.output_conv2.modules())
    cast = {
        f"{name}.{part}"
        for name, module in model.named_modules()
        if isinstance(module, (nn.Linear, nn.Conv2d, nn.ConvTranspose2d)) and module not in exact
        for part in ("weight", "bias")
    }
    with torch.device("meta"):
        config = model.config
        half = VideoDepthAnything(model.encoder, config.features, config.out_channels, metric=model.metric)
    state_dict = {key: value.to(dtype) if key in cast else value for key, value in model.state_dict().items()}
    half.load_state_dict(state_dict, strict=True, assign=True)
    return half.eval().requires_grad_(False)
