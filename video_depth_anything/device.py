"""Device, backend and precision of a model: everything that differs between CUDA, MPS and CPU."""

from __future__ import annotations

import functools
import importlib.util
import os
import platform
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

from .config import BACKENDS, DEVICES, OPENVINO_DEVICES, PATCH_SIZE, PRECISIONS
from .errors import DeviceError

if TYPE_CHECKING:
    import openvino as ov

# In PyTorch on a CPU, 16:9 frames with more patches than this are computed one at a time.
PATCHES_AT_ONCE = 800


@dataclass(frozen=True)
class Execution:
    """Device, autocast type (None: float32), and how many frames are computed at once.

    With PyTorch on a CPU, larger batches only help with small frames, and otherwise cost cache misses and memory; a GPU
    needs them. `openvino_device` is OpenVINO's device ("CPU", "GPU", "NPU"); if it is None, PyTorch computes on
    `device`, compiled if `compile` is set, and streams as a CUDA graph if `graphs` is set. `int8`: OpenVINO computes
    the encoder's linear layers in 8-bit integers, and the rest in `autocast_dtype`.
    """

    device: torch.device
    autocast_dtype: torch.dtype | None
    frames_at_once: int
    openvino_device: str | None = None
    compile: bool = False
    int8: bool = False
    graphs: bool = False

    def autocast(self) -> torch.autocast:
        """Context in which the network runs."""
        # Weights are cast in advance, so there is nothing to cache; and a recorded graph must not read a cache that
        # no longer exists when it is replayed.
        enabled = self.autocast_dtype is not None
        return torch.autocast(self.device.type, dtype=self.autocast_dtype, enabled=enabled, cache_enabled=False)


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


def cpu_has(*features: str) -> bool:
    """Whether the CPU has one of these instruction sets, named as in `torch.cpu.get_capabilities`.

    False if PyTorch is too old to report them. ONEDNN_MAX_CPU_ISA hides newer sets here as it does from kernels.
    """
    if os.environ.get("ONEDNN_MAX_CPU_ISA", "").upper() in ("SSE41", "AVX", "AVX2"):
        return False
    capabilities: Mapping[str, object] = getattr(torch.cpu, "get_capabilities", dict)()
    return any(bool(capabilities.get(name)) for name in features)


def cpu_has_bf16() -> bool:
    """Whether the CPU multiplies bfloat16 in hardware; elsewhere it is emulated, slower than float32."""
    return cpu_has("avx512_bf16", "amx_bf16", "bf16")


def cpu_has_int8() -> bool:
    """Whether the CPU sums products of 8-bit integers in 32 bits; an x86 CPU without VNNI saturates them at 16."""
    return platform.machine() not in ("x86_64", "AMD64") or cpu_has("avx512_vnni", "avx_vnni", "amx_int8")


def resolve_precision(precision: str, device: torch.device) -> torch.dtype | None:
    """Autocast type of a precision name, None for float32.

    "auto" is fp16 on CUDA, as the original ran it, bf16 on a CPU that has it in hardware, fp32 otherwise. "int8" is as
    "auto": it says how the encoder's linear layers are computed, not the rest.

    Raises:
        DeviceError: if the name is unknown, or the GPU cannot compute in bf16.
    """
    if precision not in PRECISIONS:
        raise DeviceError(f"unknown precision {precision!r}; use one of {', '.join(PRECISIONS)}")
    if precision in ("auto", "int8"):
        if device.type == "cuda":
            return torch.float16
        return torch.bfloat16 if device.type == "cpu" and cpu_has_bf16() else None
    on_gpu = device.type == "cuda" and torch.cuda.is_available()
    if precision == "bf16" and on_gpu and not torch.cuda.is_bf16_supported(including_emulation=False):
        raise DeviceError("precision bf16 is not supported by this GPU; use fp16 or fp32")
    return {"fp32": None, "fp16": torch.float16, "bf16": torch.bfloat16}[precision]


def frames_for_cpu(input_size: int | None) -> int:
    """How many frames PyTorch computes at once on a CPU; one if the input size is unknown.

    Batches of small frames amortise the cost of starting operations: vits in fp32 on one core takes 38 ms per frame one
    at a time and 23 in batches of eight at 56, and 80 and 62 at 98 (`process_time`, busy machine).
    """
    if input_size is None:
        return 1
    patches = max(input_size // PATCH_SIZE, 1)
    return min(max(PATCHES_AT_ONCE // (patches * patches * 16 // 9), 1), 8)


def choose_execution(
    device: str | torch.device = "auto",
    precision: str = "auto",
    backend: str = "torch",
    compile: bool = False,
    input_size: int | None = None,
) -> Execution:
    """Choose device, precision, backend and batch size for a whole run.

    Args:
        device: "auto", "cuda", "cuda:1", "mps", "cpu", "intel-gpu", "intel-npu", or a torch device.
        precision: "auto", "fp32", "fp16", "bf16" or "int8".
        backend: "torch", "openvino" or "auto", which is OpenVINO on a CPU if it is installed, and on devices that only
            OpenVINO supports.
        compile: whether PyTorch compiles the network; "auto" is then PyTorch.
        input_size: shorter side of the network's input in pixels, if known; small frames are computed in batches.

    Raises:
        DeviceError: if device, precision or backend are not available.
    """
    if backend not in BACKENDS:
        raise DeviceError(f"unknown backend {backend!r}; use one of {', '.join(BACKENDS)}")
    if compile and (backend == "openvino" or device in OPENVINO_DEVICES):
        raise DeviceError("--compile is for PyTorch; OpenVINO always compiles")
    if precision == "int8":
        _check_int8(device, backend)
    if device in OPENVINO_DEVICES:
        if backend == "torch":
            raise DeviceError(f"device {device} needs --backend openvino; PyTorch's devices are cuda, mps and cpu")
        return _openvino_execution(OPENVINO_DEVICES[str(device)], precision)
    resolved = torch.device("cpu") if device == "auto" and backend == "openvino" else resolve_device(device)
    if backend == "openvino" and resolved.type != "cpu":
        raise DeviceError(f"backend openvino does not support {resolved.type}; use --device cpu or intel-gpu")
    if resolved.type == "cpu" and (backend == "openvino" or (backend == "auto" and not compile and has_openvino())):
        return _openvino_execution("CPU", precision)
    frames_at_once = frames_for_cpu(input_size) if resolved.type == "cpu" else 8
    dtype, graphs = resolve_precision(precision, resolved), resolved.type == "cuda"
    return Execution(resolved, dtype, frames_at_once, compile=compile, graphs=graphs)


def has_openvino() -> bool:
    """Whether the optional package is installed."""
    return importlib.util.find_spec("openvino") is not None


def _check_int8(device: str | torch.device, backend: str) -> None:
    if (
        backend == "torch"
        or str(device) not in ("auto", "cpu")
        or ((device, backend) == ("auto", "auto") and resolve_device().type != "cpu")
    ):
        raise DeviceError("precision int8 needs OpenVINO on a CPU: use --device cpu, and --backend openvino or auto")
    if not cpu_has_int8():
        raise DeviceError(
            "precision int8 needs a CPU with VNNI; on this one 8-bit sums overflow, so depth would be wrong, and "
            "slower than fp32; use --precision fp32 or auto"
        )
    if not has_openvino() or not all(importlib.util.find_spec(name) for name in ("nncf", "platformdirs")):
        raise DeviceError("precision int8 is not installed; run `pip install 'video-depth-anything[int8]'`")


@functools.cache
def openvino_core() -> ov.Core:
    """The only OpenVINO core of this process.

    On CPUs with AMX, each core replaces the signal stack and restores the previous one at its end. If several do not
    end in reverse order, the stack is freed memory, and Ctrl-C becomes a segmentation fault.
    """
    import openvino as ov

    return ov.Core()


def _openvino_execution(name: str, precision: str) -> Execution:
    if not has_openvino():
        raise DeviceError("backend openvino is not installed; run `pip install 'video-depth-anything[openvino]'`")
    available = openvino_core().available_devices
    if not any(device.split(".")[0] == name for device in available):
        raise DeviceError(f"OpenVINO finds no {name} here, only {', '.join(available)}; it needs Intel's driver")
    cpu = torch.device("cpu")
    # Intel's GPUs and NPUs compute in half precision at twice the speed or better.
    dtype = torch.float16 if precision == "auto" and name != "CPU" else resolve_precision(precision, cpu)
    # On a CPU two frames are computed side by side.
    frames_at_once = 2 if name == "CPU" and torch.get_num_threads() > 1 else 1
    return Execution(cpu, dtype, frames_at_once, name, int8=precision == "int8")
