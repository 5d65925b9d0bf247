"""What takes turns: from the names of variants to seconds and depth, and how far one depth lies from another."""

from __future__ import annotations

import argparse
import contextlib
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch

from benchmark.speed.against import Against
from benchmark.speed.clip import Frame
from benchmark.speed.flags import COMPILED, Variant, torch_device
from benchmark.speed.weights import checkpoint_file
from video_depth_anything import DepthStream, Execution, VideoDepthAnything, choose_execution, infer_depth, load_model
from video_depth_anything.backends.load import load_backend
from video_depth_anything.device import resolve_device
from video_depth_anything.network import Network
from video_depth_anything.pipelines.setup import calibration_frames

Depths = npt.NDArray[np.float32]
# After each turn: threads that it has woken look for work for a while before they sleep.
PAUSE_SECONDS = 0.02


@dataclass
class Contender:
    """Something that is measured, or the other tree that is its yardstick; its work returns seconds and depth."""

    name: str
    precision: str
    yardstick: bool
    work: Callable[[npt.NDArray[np.uint8]], tuple[float, Depths]]
    seconds: list[float] = field(default_factory=list)
    depths: Depths | None = None

    def take_turn(self, frames: npt.NDArray[np.uint8]) -> None:
        """Do the work once and note what came."""
        seconds, self.depths = self.work(frames)
        self.seconds.append(seconds)
        time.sleep(PAUSE_SECONDS)

    @property
    def median(self) -> float:
        """Median seconds of a turn."""
        return float(np.median(self.seconds))


def take_turns(contenders: Sequence[Contender], frames: npt.NDArray[np.uint8], repeats: int) -> None:
    """Each once, then each once more, so that other load hits all alike; every second round goes backwards."""
    for turn in range(repeats):
        for contender in contenders[:: 1 if turn % 2 == 0 else -1]:
            contender.take_turn(frames)


def reference_of(contenders: Sequence[Contender]) -> Contender:
    """What depth is compared with: the first in fp32, other trees before ours; the first of all if none is."""
    ordered = sorted(contenders, key=lambda contender: (contender.precision != "fp32", not contender.yardstick))
    return ordered[0]


def speedups(contender: Contender, contenders: Sequence[Contender], first: int = 0) -> list[str]:
    """Cells: how many times as fast as the other tree in fp32, and as it with `fp32=False`; blank without one."""
    own = np.median(contender.seconds[first:])
    others = {c.precision == "fp32": np.median(c.seconds[first:]) for c in contenders if c.yardstick}
    return [f"{others[fp32] / own:.2f}" if fp32 in others else "" for fp32 in (True, False)]


@dataclass
class Difference:
    """How far depth lies from a reference, over any number of maps."""

    largest: float = 0.0
    low: float = np.inf
    high: float = -np.inf
    squares: float = 0.0
    reference_squares: float = 0.0

    def add(self, depth: Depths, reference: Depths) -> None:
        """Take more maps; raises ValueError if the shapes differ."""
        if depth.shape != reference.shape:
            raise ValueError(f"depth {depth.shape} cannot be compared with {reference.shape}")
        difference = depth.astype(np.float64) - reference
        self.largest = max(self.largest, float(np.abs(difference).max()))
        self.low, self.high = min(self.low, float(reference.min())), max(self.high, float(reference.max()))
        self.squares += float(np.square(difference).sum())
        self.reference_squares += float(np.square(reference.astype(np.float64)).sum())

    @property
    def of_range(self) -> float:
        """Largest difference, as a share of the range that the reference's values span."""
        return self.largest / max(self.high - self.low, 1e-12)

    @property
    def of_norm(self) -> float:
        """Euclidean norm of the difference, as a share of the reference's."""
        return float(np.sqrt(self.squares / max(self.reference_squares, 1e-24)))


def execution_of(variant: Variant, device: str, input_size: int | None = None) -> Execution:
    """Where and how a variant computes; raises DeviceError if that is not available."""
    backend = "torch" if variant.backend == COMPILED else variant.backend
    return choose_execution(device, variant.precision, backend, variant.backend == COMPILED, input_size)


def resolve(variants: Iterable[Variant], device: str) -> list[Variant]:
    """The variants with the backend and the precision that `auto` means, each once."""
    found: dict[Variant, None] = {}
    for variant in variants:
        execution = execution_of(variant, device)
        backend = "torch" if execution.openvino_device is None else "openvino"
        precision = {None: "fp32", torch.bfloat16: "bf16", torch.float16: "fp16"}[execution.autocast_dtype]
        resolved = Variant(
            backend if variant.backend == "auto" else variant.backend, "int8" if execution.int8 else precision
        )
        found[resolved] = None
    return list(found)


class Networks:
    """The networks of all variants, from weights that are loaded once for each device."""

    def __init__(self, encoder: str, checkpoint: Path) -> None:
        self._encoder = encoder
        self._checkpoint = checkpoint
        self._models: dict[torch.device, VideoDepthAnything] = {}

    def network(self, execution: Execution) -> Network:
        """The network as `execution` wants it computed."""
        if execution.device not in self._models:
            # On the CPU: `load_backend` sends a GPU the weights in the type that it needs.
            self._models[execution.device] = load_model(self._encoder, checkpoint=self._checkpoint, device="cpu")
        return load_backend(self._models[execution.device], execution, calibration_frames)


def timed_frame(stream: DepthStream, frame: Frame) -> tuple[float, Depths]:
    """Seconds for a stream's next frame (H, W, 3), and its depth (H, W)."""
    start = time.perf_counter()
    depth = stream.step(frame)
    return time.perf_counter() - start, depth


def timed_clip(network: Network, input_size: int, execution: Execution, frames: Frame) -> tuple[float, Depths]:
    """Seconds for a clip (N, H, W, 3), and its depth (N, H, W)."""
    start = time.perf_counter()
    depths = np.stack(list(infer_depth(network, frames, input_size, execution)))
    return time.perf_counter() - start, depths


@contextlib.contextmanager
def contenders(
    args: argparse.Namespace, streaming: bool = False
) -> Iterator[tuple[list[Contender], dict[str, DepthStream]]]:
    """What takes turns: the other tree if one is named, whose process ends with the context, then our variants.

    Turns are whole clips, or frames of a stream: our streams by name come too then.
    """
    variants = resolve(args.variants, args.device)
    found: list[Contender] = []
    streams: dict[str, DepthStream] = {}
    with contextlib.ExitStack() as stack:
        checkpoint = stack.enter_context(checkpoint_file(args.checkpoint, args.encoder))
        if args.against is not None:
            device = resolve_device(torch_device(args.device)).type
            settings = {"encoder": args.encoder, "checkpoint": checkpoint, "input_size": args.input_size}
            tree = Against(args.against, streaming, **settings, device=device, threads=torch.get_num_threads())
            stack.callback(tree.close)
            for fp32 in sorted({variant.precision == "fp32" for variant in variants}, reverse=True):
                name, precision = f"against:fp32={fp32}", "fp32" if fp32 else "half"
                found.append(Contender(name, precision, True, partial(tree.infer, fp32=fp32)))
        networks = Networks(args.encoder, checkpoint)
        for variant in variants:
            execution = execution_of(variant, args.device, None if streaming else args.input_size)
            network = networks.network(execution)
            work = partial(timed_clip, network, args.input_size, execution)
            if streaming:
                streams[variant.name] = DepthStream(network, args.input_size, execution)
                work = partial(timed_frame, streams[variant.name])
            found.append(Contender(variant.name, variant.precision, False, work))
        yield found, streams
