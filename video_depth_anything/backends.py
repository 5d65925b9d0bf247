"""What computes the network: PyTorch, or OpenVINO in its place. Both offer `encode`, `decode` and `step`."""

from __future__ import annotations

from pathlib import Path

from .device import Execution
from .network import Network
from .video_depth import VideoDepthAnything


def load_backend(model: VideoDepthAnything, execution: Execution, cache: Path | None = None) -> Network:
    """The network as `execution` wants it computed; `model` itself where that is PyTorch.

    Args:
        model: with its weights, on `execution.device`; they must not change any more.
        cache: OpenVINO's folder for converted models, made if missing; None takes the user's own.
    """
    if execution.openvino_device is None:
        return model
    from .openvino_cache import default_cache
    from .openvino_network import OpenVinoNetwork

    return OpenVinoNetwork(model, execution, cache or default_cache())
