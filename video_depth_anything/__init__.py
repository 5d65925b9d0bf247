"""Consistent depth for long videos: the Video Depth Anything model and its inference pipelines."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from .version import __version__ as __version__

if TYPE_CHECKING:
    from .backends.load import load_backend as load_backend
    from .checkpoint import choose_weights as choose_weights
    from .checkpoint import from_pretrained as from_pretrained
    from .checkpoint import load_model as load_model
    from .device import Execution as Execution
    from .device import choose_execution as choose_execution
    from .errors import CheckpointError as CheckpointError
    from .errors import DeviceError as DeviceError
    from .errors import UserError as UserError
    from .offline import infer_depth as infer_depth
    from .pipelines.infer import DepthVideo as DepthVideo
    from .pipelines.infer import infer as infer
    from .pipelines.options import ModelOptions as ModelOptions
    from .pipelines.setup import load_network as load_network
    from .pipelines.stop import Stop as Stop
    from .video_depth import VideoDepthAnything as VideoDepthAnything
    from .video_depth_stream import DepthStream as DepthStream

# Loaded on first use: importing torch takes seconds, and `--help` needs none of it.
_MODULES = {
    "load_backend": "backends.load",
    "CheckpointError": "errors",
    "choose_weights": "checkpoint",
    "from_pretrained": "checkpoint",
    "load_model": "checkpoint",
    "DeviceError": "errors",
    "Execution": "device",
    "choose_execution": "device",
    "infer_depth": "offline",
    "DepthVideo": "pipelines.infer",
    "infer": "pipelines.infer",
    "ModelOptions": "pipelines.options",
    "load_network": "pipelines.setup",
    "Stop": "pipelines.stop",
    "UserError": "errors",
    "VideoDepthAnything": "video_depth",
    "DepthStream": "video_depth_stream",
}
__all__ = [*_MODULES, "__version__"]


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f".{_MODULES[name]}", __name__), name)


def __dir__() -> list[str]:
    return sorted(__all__)
