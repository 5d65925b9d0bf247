"""A stream's frame as one CUDA graph: recorded once, then launched with one call instead of hundreds."""

from __future__ import annotations

from collections.abc import Callable
from threading import Lock

import torch
from torch import Tensor

from ..temporal_memory import TemporalMemory

# Libraries choose kernels and allocate workspaces in their first calls, which must not be recorded.
WARM_UP = 3
# CUDA records one graph at a time in a process, whatever the device.
RECORDING = Lock()


class RecordedStep:
    """The recorded encoding and step of the next frame of one video, after at least one frame.

    vits at 280 takes an H100 about 0.3 ms per frame, but launching its several hundred kernels one by one takes the CPU
    about 2 ms. A graph uses fixed addresses: the image is copied to the recorded one, the memory's tensors are modified
    in place, and the entries to attend to are computed on the device from the frame's number. `run` computes depth of
    an image and advances the memory; it is called several times with the same frame.
    """

    def __init__(self, run: Callable[[Tensor], Tensor], image: Tensor, memory: TemporalMemory) -> None:
        self._memory = memory
        self._image = image.clone()
        frame = memory.frames_seen
        memory.next_entries(image.device)  # its counter must exist before the recording
        side = torch.cuda.Stream(image.device)
        side.wait_stream(torch.cuda.current_stream(image.device))
        with torch.cuda.stream(side):
            for _ in range(WARM_UP):
                run(self._image)
                memory.rewind(frame)
        torch.cuda.current_stream(image.device).wait_stream(side)
        self._graph = torch.cuda.CUDAGraph()
        # Other threads may allocate or synchronise meanwhile; they are not recorded, and must not end the recording.
        # Without a stream of the image's device, PyTorch would record on the current device.
        recording = torch.cuda.graph(self._graph, stream=side, capture_error_mode="thread_local")
        with RECORDING, torch.cuda.device(image.device), recording:
            self._depth = run(self._image)
        # Recording runs nothing on the device, so only the host's count has advanced.
        memory.frames_seen = frame

    def __call__(self, image: Tensor) -> Tensor:
        """Compute depth of the next frame, in a tensor that the next call overwrites."""
        self._image.copy_(image)
        self._graph.replay()
        self._memory.frames_seen += 1
        return self._depth
