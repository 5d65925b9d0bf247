#!/usr/bin/env python3
"""What the network asks of a GPU for a frame, counted without one, as a Markdown table.

    python benchmark/speed/counted.py
    python benchmark/speed/counted.py --encoders vits --input_sizes 280 --size 1920x1080 --frames_at_once 8 4 1

The real network runs on tensors that have a device, a type and a size, but no values, so the numbers are the same on
any machine with the same PyTorch. Launches are operations that start a kernel; MB is what they read and write; copies
go between host and device, of which some make the host wait. Peak memory is what PyTorch's allocator is asked for: each
storage counts from the operation that makes it until nobody holds it. Fused attention is one launch and needs no memory
but its output's. Not in it: alignment, workspaces inside a kernel, and the driver's own part of a GPU's memory.
roofline.py measures where a GPU is at hand.
"""

from __future__ import annotations

import itertools
import sys
import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

if not __package__:  # run as a file: the repository is not on the path, but this folder is
    sys.path[0] = str(Path(__file__).resolve().parents[2])

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.flop_counter import flop_registry

from benchmark.speed import flags
from benchmark.speed.report import print_header, print_heading, print_row
from video_depth_anything import Execution, VideoDepthAnything
from video_depth_anything.backends.load import with_half_weights
from video_depth_anything.cli.console import run_script
from video_depth_anything.cli.parser import positive_int
from video_depth_anything.config import ENCODERS
from video_depth_anything.device import resolve_precision
from video_depth_anything.offline import resize_depth
from video_depth_anything.temporal_memory import TemporalMemory
from video_depth_anything.transform import network_size, prepare
from video_depth_anything.windows import INFER_LEN, STEP, window_matters

GIGA, MIB = 1e9, 2**20
TITLES = ("encoder", "input size", "precision", "way", "GFLOP", "launches", "MB", "copies", "waits", "peak, MiB")
ALLOCATIONS = ("empty", "empty_like", "new_empty", "empty_strided", "new_empty_strided")
COPIES = ("_to_copy", "copy_")


class Counter(TorchDispatchMode):
    """Counts what operations do on a device while it is active; a multiplication with an addition is two operations.

    Each adds `share`, the part of it that a frame pays for. `attention` is the fused attention's part of `flops`.
    """

    def __init__(self, device: str) -> None:
        super().__init__()
        self.device = device
        self.share = 1.0
        self.launches = self.moved = self.copies = self.waits = self.flops = self.attention = 0.0
        self.live = self.peak = 0
        self._known: set[int] = set()

    def __torch_dispatch__(
        self, func: Any, types: object, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        result = func(*args, **kwargs)
        inputs = [x for x in tree_leaves((args, kwargs)) if isinstance(x, Tensor)]
        outputs = [x for x in tree_leaves(result) if isinstance(x, Tensor)]
        for x in outputs:
            if x.device.type == self.device:
                self._hold(x.untyped_storage())
        packet = func.overloadpacket
        held = {x.untyped_storage()._cdata for x in inputs}
        changes = func._schema.is_mutable or any(x.untyped_storage()._cdata not in held for x in outputs)
        between = len({x.device.type for x in (*inputs, *outputs) if x.dim()}) > 1
        if between:
            self.copies += self.share
            self.waits += 0 if kwargs.get("non_blocking") or args[2:3] == (True,) else self.share
        if changes and packet.__name__ not in (*ALLOCATIONS, *(COPIES if between else ())):
            self.launches += self.share
            self.moved += self.share * sum(x.nbytes for x in (*inputs, *outputs))
        if packet in flop_registry:
            self.flops += self.share * flop_registry[packet](*args, **kwargs, out_val=result)
        return result

    def _hold(self, storage: torch.UntypedStorage) -> None:
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
    """Attention as the fused kernels do it that PyTorch takes on a device that is there: one launch, no scores."""

    def __init__(self, counter: Counter) -> None:
        super().__init__()
        self._counter = counter

    def __torch_function__(
        self, func: Callable[..., Any], types: object, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        if func is not F.scaled_dot_product_attention:
            return func(*args, **(kwargs or {}))
        batch, heads, length, width = args[0].shape
        result = args[0].new_empty(batch, length, heads, width).transpose(1, 2)
        counter, flops = self._counter, 4 * batch * heads * length * args[1].shape[2] * width
        counter.flops += counter.share * flops
        counter.attention += counter.share * flops
        counter.launches += counter.share
        counter.moved += counter.share * sum(x.nbytes for x in (*args[:3], result))
        return result


@contextmanager
def autocast_of(execution: Execution) -> Iterator[None]:
    """The execution's autocast, also for a GPU that is not there: the context switches itself off then."""
    kind, dtype = execution.device.type, execution.autocast_dtype
    before = torch.is_autocast_enabled(kind), torch.get_autocast_dtype(kind), torch.is_autocast_cache_enabled()
    torch.set_autocast_enabled(kind, dtype is not None)
    torch.set_autocast_dtype(kind, dtype or before[1])
    torch.set_autocast_cache_enabled(False)
    try:
        yield
    finally:
        torch.set_autocast_enabled(kind, before[0])
        torch.set_autocast_dtype(kind, before[1])
        torch.set_autocast_cache_enabled(before[2])


@contextmanager
def counted_network(encoder: str, execution: Execution) -> Iterator[tuple[VideoDepthAnything, Counter]]:
    """The network as `load_backend` leaves it, with weights without values on the device, and an active counter."""
    with torch.device("meta"):
        model = VideoDepthAnything(encoder).eval().requires_grad_(False)
    if execution.autocast_dtype is not None:
        model = with_half_weights(model, execution.autocast_dtype)
    types = {name: (x.shape, x.dtype) for name, x in model.state_dict().items()}  # held, the tensors would be counted
    counter, device = Counter(execution.device.type), execution.device
    # Networks on no device are among the inputs while they are given their weights.
    fake = FakeTensorMode(allow_non_fake_inputs=True)
    with torch.no_grad(), fake, counter, autocast_of(execution), FusedAttention(counter):
        counter.share = 0
        weights = {name: torch.empty(shape, dtype=dtype, device=device) for name, (shape, dtype) in types.items()}
        model.load_state_dict(weights, assign=True)
        del weights
        yield model, counter


def count_offline(encoder: str, input_size: int, frame_size: tuple[int, int], execution: Execution) -> Counter:
    """What offline inference does for a frame (height, width) in the middle of a long video.

    The window's depth in the frame's size is in the peak, what alignment keeps of the window before is too.
    """
    size, at_once = network_size(*frame_size, input_size), execution.frames_at_once
    black = np.zeros((*frame_size, 3), np.uint8)
    with counted_network(encoder, execution) as (model, counter):
        kept = torch.empty(10, *frame_size, device=execution.device)  # eight frames to blend, two references
        window = []
        counter.share = 1 / INFER_LEN  # in a long video each frame is encoded once
        for start in range(0, INFER_LEN, at_once):
            images = prepare([black] * min(at_once, INFER_LEN - start), size, execution.device)
            window += model.encode(images).split_frames()
            del images
        counter.share = 1 / STEP
        parts = [resize_depth(depth, frame_size)[0] for depth in model.decode(window, range(INFER_LEN), at_once)]
        depth = torch.cat(parts)
        del kept, depth, parts
    return counter


def count_streaming(encoder: str, input_size: int, frame_size: tuple[int, int], execution: Execution) -> Counter:
    """What streaming does for a frame, not of a stream's first; as `count_offline`."""
    size = network_size(*frame_size, input_size)
    black = np.zeros((*frame_size, 3), np.uint8)
    with counted_network(encoder, execution) as (model, counter):
        memory = TemporalMemory()
        for counter.share in (0, 0, 1):  # the memory has its final size after the first frame
            depth = model.step(model.encode(prepare([black], size, execution.device)), memory)
            resize_depth(depth.unsqueeze(0), frame_size)[0].cpu()
    return counter


@dataclass(frozen=True)
class Work:
    """GFLOP of the parts of the network at one input size.

    Encoder and `head_frame`, what precedes the motion modules, are of one frame; `attention` is what the encoder
    multiplies queries, keys and values by; `mixing` is of a window, `rendering` of each frame shown; `step` is
    streaming's for a frame.
    """

    encoder: float
    attention: float
    head_frame: float
    mixing: float
    rendering: float
    step: float

    @property
    def per_output_frame(self) -> float:
        """Of a long video offline: each frame encoded once, a window mixed and rendered for each 22 of them."""
        return self.encoder + self.head_frame + (self.mixing + INFER_LEN * self.rendering) / STEP

    @property
    def per_streamed_frame(self) -> float:
        """Of one frame of a stream."""
        return self.encoder + self.head_frame + self.step

    def of_clip(self, frames: int) -> float:
        """Of a whole clip offline."""
        total = frames * (self.encoder + self.head_frame)
        index = 0
        while window_matters(index, frames) and STEP * index < frames:
            total += self.mixing + min(INFER_LEN, frames - STEP * index) * self.rendering
            index += 1
        return total


def count_work(encoder: str, size: tuple[int, int]) -> Work:
    """Count the operations for an input of `size` (height, width), multiples of 14: matrix products and convolutions.

    Norms, activations, resizes and the streaming memory's element-wise attention are not in it.
    """
    with counted_network(encoder, Execution(torch.device("cpu"), None, 1)) as (model, counter):
        counter.share = 1 / GIGA

        def count(work: Callable[[], object]) -> float:
            before = counter.flops
            work()
            return counter.flops - before

        image = torch.empty(1, 3, *size)
        encoder_only = count(lambda: model.forward_features(image.unsqueeze(0)))
        attention = counter.attention
        both = count(lambda: model.encode(image))
        features, memory = model.encode(image), TemporalMemory()
        window = [features] * INFER_LEN
        one = count(lambda: list(model.decode(window, range(1), 1)))
        two = count(lambda: list(model.decode(window, range(2), 1)))
        model.step(features, memory)  # the first frame has no others to look at
        step = count(lambda: model.step(features, memory))
    return Work(encoder_only, attention, both - encoder_only, 2 * one - two, two - one, step)


def main() -> int:
    parser = flags.parser_for(__doc__, size="1280x720")
    parser.add_argument("--encoders", choices=ENCODERS, nargs="+", default=ENCODERS)
    parser.add_argument("--input_sizes", type=positive_int, nargs="+", default=[280, 518], metavar="PIXELS")
    parser.add_argument("--precisions", choices=("fp16", "bf16", "fp32"), nargs="+", default=["fp16", "fp32"])
    parser.add_argument("--frames_at_once", type=positive_int, nargs="+", default=[8, 4, 1], metavar="N")
    what = "what the work is counted for, which need not be there; the code differs by it (default: cuda)"
    parser.add_argument("--device", choices=("cuda", "cpu"), default="cuda", help=what)
    args = parser.parse_args()
    print_heading(f"Counted on {args.device}: frames of {args.size[1]}x{args.size[0]}")
    print_header(TITLES)
    for encoder, input_size, precision in itertools.product(args.encoders, args.input_sizes, args.precisions):
        dtype = resolve_precision(precision, torch.device("cpu"))
        ways = [(f"offline, {count} at once", count_offline, count) for count in args.frames_at_once]
        for way, count, at_once in (*ways, ("streaming", count_streaming, 1)):
            found = count(encoder, input_size, args.size, Execution(torch.device(args.device), dtype, at_once))
            cells = [encoder, input_size, precision, way, f"{found.flops / GIGA:.1f}", f"{found.launches:.0f}"]
            cells += [f"{found.moved / 1e6:.0f}", f"{found.copies:.1f}", f"{found.waits:.1f}"]
            print_row([*cells, f"{found.peak / MIB:.0f}"])
    return 0


if __name__ == "__main__":
    sys.exit(run_script(main))
