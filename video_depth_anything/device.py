"""Where and in which precision a model runs: everything that differs between CUDA, MPS and CPU."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch

from .config import DEVICES, PRECISIONS


class DeviceError(ValueError):
    """The wanted device or precision is not to be had on this machine."""


@dataclass(frozen=True)
class Execution:
    """Device, autocast type (None: float32) and how many frames go through the per-frame halves at once.

    A CPU gains nothing from larger batches and pays for them in cache misses and memory; a GPU needs them to be filled.
    """

    device: torch.device
    autocast_dtype: torch.dtype | None
    frames_at_once: int

    def autocast(self) -> torch.autocast:
        """Context in which the network runs."""
        return torch.autocast(self.device.type, dtype=self.autocast_dtype, enabled=self.autocast_dtype is not None)


def resolve_device(device: str | torch.device = "auto") -> torch.device:
    """The device of that name; "auto" is CUDA, else MPS, else the CPU.

    Raises:
        DeviceError: if it is unknown or not available here.
    """
    if device == "auto":
        name = "cuda" if torch.cuda.is_available() else "mps" if torch.backends.mps.is_available() else "cpu"
        return torch.device(name)
    try:
        resolved = torch.device(device)
    except RuntimeError as error:
        raise DeviceError(f"unknown device {device!r}; use one of {', '.join(DEVICES)}") from error
    if resolved.type == "cuda" and not torch.cuda.is_available():
        raise DeviceError("device cuda is not available: no NVIDIA GPU, or this PyTorch was built without CUDA")
    if resolved.type == "mps" and not torch.backends.mps.is_available():
        raise DeviceError("device mps is not available: it needs macOS on Apple silicon")
    return resolved


def cpu_has_bf16() -> bool:
    """Whether the CPU multiplies bfloat16 in hardware; elsewhere it is emulated, slower than float32.

    A PyTorch too old to tell counts as no.
    """
    capabilities: Mapping[str, object] = getattr(torch.cpu, "get_capabilities", dict)()
    return any(bool(capabilities.get(name)) for name in ("avx512_bf16", "amx_bf16", "bf16"))


def resolve_precision(precision: str, device: torch.device) -> torch.dtype | None:
    """Autocast type of a precision name, None for float32.

    "auto" is fp16 on CUDA, as the original ran it, bf16 on a CPU that has it in hardware, fp32 otherwise.

    Raises:
        DeviceError: if the name is unknown, or the GPU cannot compute in bf16.
    """
    if precision not in PRECISIONS:
        raise DeviceError(f"unknown precision {precision!r}; use one of {', '.join(PRECISIONS)}")
    if precision == "auto":
        if device.type == "cuda":
            return torch.float16
        return torch.bfloat16 if device.type == "cpu" and cpu_has_bf16() else None
    on_gpu = device.type == "cuda" and torch.cuda.is_available()
    if precision == "bf16" and on_gpu and not torch.cuda.is_bf16_supported(including_emulation=False):
        raise DeviceError("precision bf16 is not supported by this GPU; use fp16 or fp32")
    return {"fp32": None, "fp16": torch.float16, "bf16": torch.bfloat16}[precision]


def choose_execution(device: str | torch.device = "auto", precision: str = "auto") -> Execution:
    """Decide device, precision and batch size once, for a whole run.

    Raises:
        DeviceError: if device or precision cannot be had here.
    """
    resolved = resolve_device(device)
    return Execution(resolved, resolve_precision(precision, resolved), 1 if resolved.type == "cpu" else 8)
