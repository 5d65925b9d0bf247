"""Offline inference: a stream of frames in, aligned depth out, in memory that does not depend on the video's length."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import islice

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from torch import Tensor

from .aligner import WindowAligner
from .alignment import DepthMap
from .device import Execution
from .dpt_temporal import FrameFeatures
from .network import WindowNetwork
from .transform import network_size, prepare
from .windows import INFER_LEN, KEYFRAMES, STEP, window_matters

Frame = npt.NDArray[np.uint8]


def check_frame(frame: Frame, index: int, size: tuple[int, int] | None) -> tuple[int, int]:
    """Size (H, W) of a frame that is (H, W, 3) uint8 and as large as the first one (`size`, None for the first).

    Raises:
        ValueError: naming the frame's number and what is wrong with it.
    """
    if frame.ndim != 3 or frame.shape[2] != 3 or frame.dtype != np.uint8:
        raise ValueError(f"frame {index} must be (H, W, 3) uint8 RGB, got {frame.shape} {frame.dtype}")
    found = (frame.shape[0], frame.shape[1])
    if size is not None and found != size:
        raise ValueError(f"frame {index} is {found[1]}x{found[0]}, but the video began with {size[1]}x{size[0]}")
    return found


class FrameEncoder:
    """Iterator of per-frame features, each frame encoded once; knows the frame size and how many have come."""

    def __init__(self, model: WindowNetwork, frames: Iterable[Frame], input_size: int, execution: Execution) -> None:
        self.frame_size: tuple[int, int] | None = None  # (H, W), known after the first frame
        self.count = 0
        self._model = model
        self._frames = iter(frames)
        self._input_size = input_size
        self._execution = execution
        self._ready: list[FrameFeatures] = []

    def __iter__(self) -> Iterator[FrameFeatures]:
        return self

    def __next__(self) -> FrameFeatures:
        if not self._ready:
            self._ready = self._encode(list(islice(self._frames, self._execution.frames_at_once)))
            if not self._ready:
                raise StopIteration
        self.count += 1
        return self._ready.pop(0)

    def _encode(self, frames: list[Frame]) -> list[FrameFeatures]:
        for offset, frame in enumerate(frames):
            self.frame_size = check_frame(frame, self.count + offset, self.frame_size)
        if not frames or self.frame_size is None:
            return []
        size = network_size(*self.frame_size, self._input_size)
        with torch.inference_mode():
            images = prepare(frames, size, self._execution.device)
            with self._execution.autocast():
                return self._model.encode(images).split_frames()


def resize_depth(depth: Tensor, frame_size: tuple[int, int]) -> Tensor:
    """Resize depth (N, T, h, w) bilinearly to the frame's (H, W), in float32 as the end of the head is."""
    if depth.shape[-2:] == frame_size:
        return depth
    with torch.autocast(depth.device.type, enabled=False):
        return F.interpolate(depth, size=frame_size, mode="bilinear", align_corners=True)


@torch.inference_mode()
def decode_window(
    model: WindowNetwork,
    window: Sequence[FrameFeatures],
    num_slots: int,
    frame_size: tuple[int, int],
    execution: Execution,
) -> Tensor:
    """Depth (num_slots, H, W) float32 of a window's first slots, resized to the frame, on the device."""
    parts = []
    with execution.autocast():
        for depth in model.decode(window, range(num_slots), execution.frames_at_once):
            parts.append(resize_depth(depth, frame_size)[0])
    return torch.cat(parts)


class HostCopy:
    """Depth maps on their way to the host. On CUDA the copy runs while the device goes on with the next window."""

    def __init__(self, maps: Sequence[Tensor]) -> None:
        self._copied: torch.cuda.Event | None = None
        self._maps = list(maps)
        if maps and maps[0].device.type == "cuda" and torch.cuda.is_available():
            self._maps = [torch.empty_like(x, device="cpu", pin_memory=True).copy_(x, non_blocking=True) for x in maps]
            self._copied = torch.cuda.Event()
            self._copied.record()

    @property
    def ready(self) -> bool:
        """Whether waiting would cost nothing."""
        return self._copied is None or self._copied.query()

    def wait(self) -> Iterator[DepthMap]:
        """The maps (H, W) float32."""
        if self._copied is not None:
            self._copied.synchronize()
        for x in self._maps:
            yield x.cpu().numpy()


def infer_depth(
    model: WindowNetwork, frames: Iterable[Frame], input_size: int, execution: Execution
) -> Iterator[DepthMap]:
    """Depth of a video, frame by frame.

    Method: Chen et al., Video Depth Anything, arXiv:2501.12375, section 3.3. Held in memory are the features and the
    depth of one window and what the next needs of it; frames are read as they are needed, at most a window ahead of
    the depth that comes out.

    Args:
        model: network whose weights lie on `execution.device`.
        frames: (H, W, 3) uint8 RGB, all of one size.
        input_size: shorter side of the network's input in pixels; rounded to multiples of 14.

    Yields:
        One (H, W) float32 map per frame. Relative models: inverse depth up to scale and shift, >= 0, larger is nearer;
        metric models: metres.

    Raises:
        ValueError: if a frame has another size, shape or type.
    """
    source = FrameEncoder(model, frames, input_size, execution)
    aligner = WindowAligner(model.metric)
    window = list(islice(source, INFER_LEN))
    index = 0
    while window and window_matters(index, source.count) and source.frame_size is not None:
        # The video repeats its last frame past its end; those slots are mixed in, but nobody looks at their depth.
        window += window[-1:] * (INFER_LEN - len(window))
        num_slots = min(INFER_LEN, source.count - STEP * index)
        depth = HostCopy(aligner.add(decode_window(model, window, num_slots, source.frame_size, execution)))
        keyframes = [window[slot] for slot in KEYFRAMES]
        if depth.ready:
            yield from depth.wait()
            window = keyframes + list(islice(source, STEP))
        else:
            window = keyframes + list(islice(source, STEP))
            yield from depth.wait()
        index += 1
    yield from HostCopy(aligner.finish()).wait()
