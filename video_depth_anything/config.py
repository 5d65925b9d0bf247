"""Names and dimensions as data: variants, checkpoints, devices, precisions. Imports nothing heavy."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Literal, get_args

EncoderName = Literal["vits", "vitb", "vitl"]
DeviceName = Literal["auto", "cuda", "mps", "cpu", "intel-gpu", "intel-npu"]
BackendName = Literal["auto", "torch", "openvino"]
PrecisionName = Literal["auto", "fp32", "fp16", "bf16", "int8"]
ENCODERS: tuple[EncoderName, ...] = get_args(EncoderName)
BACKENDS: tuple[BackendName, ...] = get_args(BackendName)
DEVICES: tuple[DeviceName, ...] = get_args(DeviceName)
PRECISIONS: tuple[PrecisionName, ...] = get_args(PrecisionName)
# Devices that only OpenVINO supports, and its names for them.
OPENVINO_DEVICES: Mapping[str, str] = MappingProxyType({"intel-gpu": "GPU", "intel-npu": "NPU"})

PATCH_SIZE = 14
# The grid the position embeddings are stored for: 518 / 14, the resolution DINOv2 was trained at.
POSITION_GRID = 37


@dataclass(frozen=True)
class ModelConfig:
    """Dimensions of one variant; `taps` are the indices of the encoder blocks whose tokens the head reads."""

    embed_dim: int
    depth: int
    num_heads: int
    taps: tuple[int, int, int, int]
    features: int
    out_channels: tuple[int, int, int, int]


MODEL_CONFIGS: Mapping[EncoderName, ModelConfig] = MappingProxyType(
    {
        "vits": ModelConfig(384, 12, 6, (2, 5, 8, 11), 64, (48, 96, 192, 384)),
        "vitb": ModelConfig(768, 12, 12, (2, 5, 8, 11), 128, (96, 192, 384, 768)),
        "vitl": ModelConfig(1024, 24, 16, (4, 11, 17, 23), 256, (256, 512, 1024, 1024)),
    }
)


def checkpoint_name(encoder: EncoderName, metric: bool) -> str:
    """File name of the public checkpoint, as get_weights.sh stores it."""
    return f"{'metric_' if metric else ''}video_depth_anything_{encoder}.pth"


def encoder_name(encoder: str) -> EncoderName:
    """Return the name of a variant; ValueError, listing the known ones, if it is unknown."""
    for name in ENCODERS:
        if name == encoder:
            return name
    raise ValueError(f"unknown encoder {encoder!r}; choose one of {', '.join(ENCODERS)}")


def get_config(encoder: str) -> ModelConfig:
    """Look up a variant; ValueError, listing the known ones, if it is unknown."""
    return MODEL_CONFIGS[encoder_name(encoder)]


def check_published(given: Mapping[str, object], published: Mapping[str, object]) -> None:
    """Raise ValueError for constructor arguments of the original with values that no published network has."""
    for name, value in given.items():
        if name not in published or value != published[name]:
            known = f"the published networks have {published[name]!r}" if name in published else "it is not known"
            raise ValueError(f"{name}={value!r}: {known}; other values are not implemented")
