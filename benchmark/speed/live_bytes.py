"""Peak memory of a network's work, counted and not measured: on tensors that have a device and a size, but no values.

Each storage counts from the operation that makes it until nobody holds it, so what is found is what PyTorch's allocator
is asked for. Not in it: what an operation needs inside (a convolution's workspace), pieces that lie unused, and the
driver's own part of a GPU's memory.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from video_depth_anything import Execution, VideoDepthAnything
from video_depth_anything.backends.load import with_half_weights
from video_depth_anything.offline import resize_depth
from video_depth_anything.temporal_memory import TemporalMemory
from video_depth_anything.transform import network_size
from video_depth_anything.windows import INFER_LEN

MIB = 2**20


class LiveBytes(TorchDispatchMode):
    """Counts the bytes of the storages that operations make while it is active."""

    def __init__(self) -> None:
        super().__init__()
        self.live = 0
        self.peak = 0
        self._known: set[int] = set()

    def __torch_dispatch__(
        self, func: Callable[..., Any], types: object, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        result = func(*args, **(kwargs or {}))
        for x in tree_leaves(result):
            if isinstance(x, Tensor):
                self._note(x.untyped_storage())
        return result

    def _note(self, storage: torch.UntypedStorage) -> None:
        key = storage._cdata
        if key not in self._known:
            self._known.add(key)
            self.live += storage.nbytes()
            self.peak = max(self.peak, self.live)
            weakref.finalize(storage, self._forget, key, storage.nbytes())

    def _forget(self, key: int, num_bytes: int) -> None:
        self._known.discard(key)
        self.live -= num_bytes


class FusedAttention(TorchFunctionMode):
    """Attention needs no more than its output, as in the fused kernels that PyTorch takes on a device that is there."""

    def __torch_function__(
        self, func: Callable[..., Any], types: object, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        if func is F.scaled_dot_product_attention:
            batch, heads, length, width = args[0].shape
            return args[0].new_empty(batch, length, heads, width).transpose(1, 2)
        return func(*args, **(kwargs or {}))


@contextmanager
def autocast_of(execution: Execution) -> Iterator[None]:
    """The execution's autocast, also for a GPU that is not there: the context switches itself off then."""
    kind, dtype = execution.device.type, execution.autocast_dtype
    before = torch.is_autocast_enabled(kind), torch.get_autocast_dtype(kind)
    torch.set_autocast_enabled(kind, dtype is not None)
    torch.set_autocast_dtype(kind, dtype or before[1])
    cached = torch.is_autocast_cache_enabled()
    torch.set_autocast_cache_enabled(False)
    try:
        yield
    finally:
        torch.set_autocast_cache_enabled(cached)
        torch.set_autocast_enabled(kind, before[0])
        torch.set_autocast_dtype(kind, before[1])


@contextmanager
def _counting(execution: Execution) -> Iterator[LiveBytes]:
    # Networks on no device are among the inputs while they are given their weights.
    fake = FakeTensorMode(allow_non_fake_inputs=True)
    with torch.no_grad(), fake, LiveBytes() as counter, autocast_of(execution), FusedAttention():
        yield counter


def _without_weights(encoder: str, execution: Execution) -> VideoDepthAnything:
    """The network as `load_backend` leaves it, on no device."""
    with torch.device("meta"):
        model = VideoDepthAnything(encoder).eval().requires_grad_(False)
    return model if execution.autocast_dtype is None else with_half_weights(model, execution.autocast_dtype)


def _give_weights(model: VideoDepthAnything, device: torch.device) -> None:
    """Weights without values on the device, in the types that they have when they come there."""
    types = {name: (x.shape, x.dtype) for name, x in model.state_dict().items()}  # held, the tensors would be counted
    weights = {name: torch.empty(shape, dtype=dtype, device=device) for name, (shape, dtype) in types.items()}
    model.load_state_dict(weights, assign=True)


def offline_peak(encoder: str, input_size: int, frame_size: tuple[int, int], execution: Execution) -> float:
    """Most MiB that offline inference holds on the device, weights included, for a video of any length.

    The window's depth in the frame's size is in it, what alignment keeps of the window before is too.

    Args:
        encoder: a name of `config.ENCODERS`.
        input_size: shorter side of the network's input in pixels.
        frame_size: (height, width) of the video's frames.
        execution: device, which need not be there, precision and frames at once.
    """
    size = network_size(*frame_size, input_size)
    at_once = execution.frames_at_once
    model = _without_weights(encoder, execution)
    with _counting(execution) as counter:
        _give_weights(model, execution.device)
        kept = torch.empty(10, *frame_size, device=execution.device)  # eight frames to blend, two references
        window = []
        for start in range(0, INFER_LEN, at_once):
            images = torch.empty(min(at_once, INFER_LEN - start), 3, *size, device=execution.device)
            window += model.encode(images).split_frames()
        parts = [resize_depth(depth, frame_size)[0] for depth in model.decode(window, range(INFER_LEN), at_once)]
        depth = torch.cat(parts)
        del kept, depth
    return counter.peak / MIB


def streaming_peak(encoder: str, input_size: int, frame_size: tuple[int, int], execution: Execution) -> float:
    """Most MiB that streaming holds on the device, weights and the video's memory included; as `offline_peak`."""
    size = network_size(*frame_size, input_size)
    model = _without_weights(encoder, execution)
    with _counting(execution) as counter:
        _give_weights(model, execution.device)
        memory = TemporalMemory()
        for _ in range(3):  # the memory has its final size after the first frame
            depth = model.step(model.encode(torch.empty(1, 3, *size, device=execution.device)), memory)
            resize_depth(depth.unsqueeze(0), frame_size)
    return counter.peak / MIB
