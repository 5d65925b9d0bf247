"""What a device does during a piece of work: how long kernels run, how many are started, how much memory they had."""

from __future__ import annotations

import resource
import sys
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch.profiler import ProfilerActivity, profile

# How the names of CUDA's functions begin that give the device something to do.
LAUNCHES = ("cudaLaunch", "cuLaunch", "cudaGraphLaunch", "cudaMemcpyAsync", "cudaMemsetAsync")


@dataclass(frozen=True)
class DeviceWork:
    """busy: seconds in which at least one kernel or copy ran; launches: how often the host has started some.

    A recorded graph is one launch. On a CPU operators stand for kernels: seconds inside PyTorch's outermost operators,
    and the number of those.
    """

    busy: float
    launches: int


def union_seconds(spans: list[tuple[float, float]]) -> float:
    """Seconds that spans (start, end) in microseconds cover together."""
    covered, end = 0.0, float("-inf")
    for start, stop in sorted(spans):
        covered += max(stop - max(start, end), 0.0)
        end = max(end, stop)
    return covered / 1e6


def profiled(work: Callable[[], object], device: torch.device) -> DeviceWork:
    """Do the work once under PyTorch's profiler, which slows the host down but not the kernels."""
    on_gpu = device.type == "cuda"
    with profile(activities=[ProfilerActivity.CUDA if on_gpu else ProfilerActivity.CPU], acc_events=True) as recorded:
        work()
        synchronize(device)
    events = list(recorded.events() or [])
    if on_gpu:
        work_done = [event for event in events if event.device_type.name == "CUDA"]
        launches = sum(event.device_type.name == "CPU" and event.name.startswith(LAUNCHES) for event in events)
    else:
        work_done = [event for event in events if event.cpu_parent is None and event.name.startswith("aten::")]
        launches = len(work_done)
    return DeviceWork(union_seconds([(e.time_range.start, e.time_range.end) for e in work_done]), launches)


def synchronize(device: torch.device) -> None:
    """Wait until the device has done all that it was given."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def reset_peak(device: torch.device) -> None:
    """Begin anew to look for the most memory."""
    if device.type == "cuda":
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats(device)


def peak_mib(device: torch.device) -> float:
    """Most MiB that tensors have held on a GPU since `reset_peak`; on a CPU, that this process has held in all."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device) / 2**20
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (2**20 if sys.platform == "darwin" else 2**10)
