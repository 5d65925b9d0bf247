"""From a benchmark's arguments to what takes turns in it: our variants, and the other tree if one is named."""

from __future__ import annotations

import argparse
import contextlib
import time
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor

from benchmark.speed import variants as backends
from benchmark.speed.against import OFFLINE_FILE, STREAM_FILE, Against
from benchmark.speed.clip import Frame
from benchmark.speed.flags import PLAIN, Variant, torch_device
from benchmark.speed.measure import Contender, Depths
from benchmark.speed.plain_inference import PlainStream
from benchmark.speed.weights import checkpoint_file
from video_depth_anything import DepthStream
from video_depth_anything.device import resolve_device

AGAINST = "against"


def timed_offline(infer: backends.Infer, frames: Frame) -> tuple[float, Depths]:
    """Seconds for a clip, and its depth (N, H, W)."""
    start = time.perf_counter()
    depths = np.stack(list(infer(frames)))
    return time.perf_counter() - start, depths


def other_device(device: str) -> str:
    """The name that another tree knows a device by: PyTorch's."""
    return resolve_device(torch_device(device)).type


def _against(
    stack: contextlib.ExitStack,
    args: argparse.Namespace,
    variants: Sequence[Variant],
    checkpoint: Path,
    file: Path,
    work: Callable[..., tuple[float, Depths]],
) -> list[Contender]:
    """The other tree in each precision, if one is named; its process ends with the stack."""
    if args.against is None:
        return []
    settings = {"encoder": args.encoder, "device": other_device(args.device), "input_size": args.input_size}
    tree = Against(args.against, file, checkpoint=checkpoint, threads=torch.get_num_threads(), **settings)
    stack.callback(tree.close)
    flags = {"fp32": True} if any(variant.precision == "fp32" for variant in variants) else {}
    if any(variant.precision != "fp32" for variant in variants):
        flags.setdefault(tree.half(streaming=file == STREAM_FILE), False)
    return [
        Contender(f"{AGAINST}:{precision}", precision, True, partial(work, tree, fp32=fp32))
        for precision, fp32 in flags.items()
    ]


@contextlib.contextmanager
def offline_contenders(args: argparse.Namespace) -> Iterator[list[Contender]]:
    """What takes turns offline; the other tree's process ends with the context.

    Args:
        args: variants, against, encoder, checkpoint, device and input_size.
    """
    variants = backends.resolve(args.variants, args.device)
    with contextlib.ExitStack() as stack:
        checkpoint = stack.enter_context(checkpoint_file(args.checkpoint, args.encoder))
        contenders = _against(stack, args, variants, checkpoint, OFFLINE_FILE, Against.offline)
        models = backends.Models(args.encoder, checkpoint, args.device)
        for variant in variants:
            work = partial(timed_offline, backends.offline(variant, models, args.input_size))
            contenders.append(Contender(variant.name, variant.precision, variant.backend == PLAIN, work))
        yield contenders


def warm_up(contenders: Sequence[Contender], frames: Frame) -> None:
    """Let each compile, allocate and read its weights on one frame; not `plain`, which only would do a whole window."""
    for contender in contenders:
        if not contender.name.startswith(f"{PLAIN}:"):
            contender.work(frames[:1])


class TimedStream:
    """A stream of ours that also notes, in seconds, how long each frame's encoding and its step took.

    A stream that is recorded as one CUDA graph has no such parts; the notes stay empty.
    """

    def __init__(self, variant: Variant, models: backends.Models, input_size: int) -> None:
        self.encoding: list[float] = []
        self.stepping: list[float] = []
        self._network, execution = backends.streaming(variant, models)
        self._device = execution.device
        recorded = execution.compile and execution.device.type == "cuda"
        self._stream = DepthStream(cast(Any, self._network if recorded else self), input_size, execution)

    def encode(self, images: Tensor) -> Any:
        """The network's, timed."""
        return self._timed(self.encoding, lambda: self._network.encode(images))

    def step(self, features: Any, memory: Any) -> Tensor:
        """The network's, timed."""
        depth: Tensor = self._timed(self.stepping, lambda: self._network.step(features, memory))
        return depth

    def __getattr__(self, name: str) -> Any:
        # Whatever else a stream asks of its network.
        return getattr(self.__dict__["_network"], name)

    @property
    def state_bytes(self) -> int:
        """Bytes kept between frames."""
        if isinstance(self._network, PlainStream):
            return self._network.num_bytes
        return self._stream.state_bytes

    def next_depth(self, frame: Frame) -> tuple[float, Depths]:
        """Seconds for the next frame (H, W, 3) as a whole, and its depth (H, W)."""
        start = time.perf_counter()
        depth = self._stream.step(frame)
        return time.perf_counter() - start, depth

    def _timed(self, times: list[float], work: Callable[[], Any]) -> Any:
        start = time.perf_counter()
        result = work()
        if self._device.type == "cuda":
            torch.cuda.synchronize(self._device)
        times.append(time.perf_counter() - start)
        return result


@contextlib.contextmanager
def streaming_contenders(args: argparse.Namespace) -> Iterator[tuple[list[Contender], dict[str, TimedStream]]]:
    """What takes turns frame by frame, and of our own variants the streams by name.

    Args:
        args: as for `offline_contenders`.
    """
    variants = backends.resolve(args.variants, args.device)
    with contextlib.ExitStack() as stack:
        checkpoint = stack.enter_context(checkpoint_file(args.checkpoint, args.encoder))
        contenders = _against(stack, args, variants, checkpoint, STREAM_FILE, Against.stream)
        models = backends.Models(args.encoder, checkpoint, args.device)
        streams = {}
        for variant in variants:
            stream = streams[variant.name] = TimedStream(variant, models, args.input_size)
            contenders.append(Contender(variant.name, variant.precision, variant.backend == PLAIN, stream.next_depth))
        yield contenders, streams
