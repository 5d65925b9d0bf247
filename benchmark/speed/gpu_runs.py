"""The runs behind gpu.py: one network on one device, offline and streaming."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial

import numpy as np
import torch
import torch.nn.functional as F

from benchmark.speed.clip import Frame, take_frames
from benchmark.speed.flops import count_work
from benchmark.speed.peak import DTYPES, least_seconds, torch_kernels
from benchmark.speed.profile_device import peak_mib, profiled, reset_peak, synchronize
from benchmark.speed.weights import random_state_dict
from video_depth_anything import DepthStream, Execution, VideoDepthAnything, choose_execution, infer_depth, load_backend
from video_depth_anything.transform import network_size
from video_depth_anything.windows import STEP

# A clip of n windows: the last one is full enough to matter, so each costs the same.
FRAMES_OF_LAST = 10
# Of a stream under the profiler, which takes long to read what it has noted.
PROFILED_FRAMES = 10


@dataclass(frozen=True)
class Measured:
    """One way through one network: seconds, GFLOP and launches a frame, the device's idle share, and its memory."""

    way: str
    seconds: float
    host_share: float
    peak_mib: float
    gigaflop: float
    launches: float


def best_kernels(precision: str, side: int, device: torch.device) -> Iterator[tuple[str, float]]:
    """Names and GFLOP/s of the network's larger kernels, and of a square matrix product that fills a GPU."""
    for kernel in torch_kernels(precision, device):
        yield kernel.name, 1e-9 * kernel.flops / least_seconds(kernel.run, 0.05, device)
    x, weight = (torch.randn(side, side, device=device).to(DTYPES[precision]) for _ in range(2))
    seconds = least_seconds(partial(F.linear, x, weight), 0.2, device)
    yield f"linear {side}x{side}x{side}", 2e-9 * side**3 / seconds


class Bench:
    """A network with random weights, ready on a device.

    Args:
        encoder: a name of `config.ENCODERS`.
        device: where.
        precision: "fp32", "fp16" or "bf16".
    """

    def __init__(self, encoder: str, device: torch.device, precision: str) -> None:
        self._encoder = encoder
        self._execution = choose_execution(device, precision)
        with torch.device("meta"):
            model = VideoDepthAnything(encoder).eval()
        model.load_state_dict(random_state_dict(encoder), assign=True)
        self._network = load_backend(model.requires_grad_(False), self._execution)

    def offline(self, input_size: int, frame_size: tuple[int, int], windows: int) -> Measured:
        """Whole clips, each from the first frame read to the last depth on the host; the median of three."""
        device = self._execution.device
        frames = take_frames(None, frame_size, STEP * windows + FRAMES_OF_LAST)

        def work() -> None:
            for _ in infer_depth(self._network, frames, input_size, self._execution):
                pass
            synchronize(device)

        work()  # libraries choose their kernels
        reset_peak(device)
        seconds = [_timed(work) for _ in range(3)]
        peak = peak_mib(device)
        found = profiled(work, device)
        gigaflop = count_work(self._encoder, network_size(*frame_size, input_size)).of_clip(len(frames))
        per_frame = float(np.median(seconds)) / len(frames)
        idle = 1 - found.busy / len(frames) / per_frame
        ways = (peak, gigaflop / len(frames), found.launches / len(frames))
        return Measured("offline", per_frame, max(idle, 0.0), *ways)

    def streaming(self, input_size: int, frame_size: tuple[int, int], warm_up: int, frames: int) -> Iterator[Measured]:
        """Streams whose memory is full, frame by frame; on CUDA also as one recorded graph."""
        clip = take_frames(None, frame_size, warm_up + frames + PROFILED_FRAMES)
        yield self._stream("streaming", self._execution, input_size, clip, warm_up)
        if self._execution.device.type == "cuda":
            recorded = Execution(self._execution.device, self._execution.autocast_dtype, 1, compile=True)
            yield self._stream("streaming, recorded graph", recorded, input_size, clip, warm_up)

    def _stream(self, way: str, execution: Execution, input_size: int, clip: Frame, warm_up: int) -> Measured:
        device = execution.device
        reset_peak(device)
        stream = DepthStream(self._network, input_size, execution)
        for frame in clip[:warm_up]:
            stream.step(frame)
        seconds = [_timed(partial(stream.step, frame)) for frame in clip[warm_up:-PROFILED_FRAMES]]
        peak = peak_mib(device)
        found = profiled(lambda: [stream.step(frame) for frame in clip[-PROFILED_FRAMES:]], device)
        per_frame = float(np.median(seconds))
        idle = 1 - found.busy / PROFILED_FRAMES / per_frame
        size = network_size(clip.shape[1], clip.shape[2], input_size)
        gigaflop = count_work(self._encoder, size).per_streamed_frame
        return Measured(way, per_frame, max(idle, 0.0), peak, gigaflop, found.launches / PROFILED_FRAMES)


def _timed(work: Callable[[], object]) -> float:
    start = time.perf_counter()
    work()
    return time.perf_counter() - start
