"""Time and memory of streaming inference over a stream's life, as a Markdown table.

    python benchmark/speed/streaming.py --input_size 280 --frames 120 --plain

Weights are random unless a checkpoint is named: speed does not depend on them.
"""

from __future__ import annotations

import argparse
import resource
import sys
import time
from collections.abc import Callable, Iterator
from itertools import islice, pairwise
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from torch import Tensor, nn

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from video_depth_anything import DepthStream, Execution, VideoDepthAnything, choose_execution, load_model
from video_depth_anything.config import DEVICES, ENCODERS, PRECISIONS
from video_depth_anything.dpt_temporal import FrameFeatures
from video_depth_anything.temporal_memory import LATEST, NUM_HEADS, TemporalMemory

Frame = npt.NDArray[np.uint8]


class PlainModel:
    """The network with the original's order of work in streaming; one object per video.

    States of past frames are kept as they were before the projections; for each new frame, all that take part are
    joined and projected again.
    """

    def __init__(self, model: VideoDepthAnything) -> None:
        self.encode = model.encode
        self.parameters = model.parameters
        self._head = model.head
        self._states: dict[Any, list[Tensor]] = {}

    def step(self, features: FrameFeatures, memory: TemporalMemory) -> Tensor:
        """As `VideoDepthAnything.step`; of `memory` it only counts the frames."""

        def motion(index: int, maps: Tensor) -> Tensor:
            return self._mix(self._head.motion_modules[index], maps, memory.frames_seen)

        head = self._head
        path, skip = head.coarse(motion(0, features.map3), motion(1, features.map4))
        path = motion(3, head.fine(motion(2, path), skip))
        depth = head.finish(head.refine(path, features.skip2, features.skip1))
        memory.frames_seen += 1
        return depth

    def _mix(self, module: Any, maps: Tensor, frame: int) -> Tensor:
        transformer = module.temporal_transformer
        (block,) = transformer.transformer_blocks
        batch, channels, height, width = maps.shape
        x = transformer.proj_in(transformer.norm(maps).permute(0, 2, 3, 1).reshape(-1, 1, channels))  # (P, 1, C)
        for attention, norm in zip(block.attention_blocks, block.norms):
            x = x + self._attend(attention, norm(x), frame)
        x = transformer.proj_out(x + block.ff(block.ff_norm(x)))
        return maps + x.view(batch, height, width, channels).permute(0, 3, 1, 2)

    def _attend(self, attention: Any, x: Tensor, frame: int) -> Tensor:
        states = self._states.setdefault(attention, [])
        window = torch.cat([*states[:2], *states[-LATEST:], x], dim=1) if states else x
        window = window + attention.pos_encoder.pe[:, : window.shape[1]].to(x.dtype)
        q, k, v = (
            proj(y).unflatten(-1, (NUM_HEADS, -1)).transpose(1, 2)
            for proj, y in ((attention.to_q, window[:, -1:]), (attention.to_k, window), (attention.to_v, window))
        )
        states += [x] if states else [x] * 32
        if frame > 10:
            del states[1]
        return attention.to_out[0](F.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2))


class TimedStream:
    """A stream that notes, in milliseconds, how long each frame took: as a whole, its encoding, and its step."""

    def __init__(self, model: VideoDepthAnything | PlainModel, input_size: int, execution: Execution) -> None:
        self.parameters = model.parameters
        self.whole: list[float] = []
        self.encoding: list[float] = []
        self.stepping: list[float] = []
        self._model = model
        self._device = execution.device
        self.stream = DepthStream(self, input_size, execution)

    def encode(self, images: Tensor) -> FrameFeatures:
        return self._timed(self.encoding, lambda: self._model.encode(images))

    def step(self, features: FrameFeatures, memory: TemporalMemory) -> Tensor:
        return self._timed(self.stepping, lambda: self._model.step(features, memory))

    def depth(self, frame: Frame) -> npt.NDArray[np.float32]:
        return self._timed(self.whole, lambda: self.stream.step(frame))

    def _timed(self, times: list[float], work: Callable[[], Any]) -> Any:
        start = time.perf_counter()
        result = work()
        if self._device.type == "cuda":
            torch.cuda.synchronize(self._device)
        times.append(1e3 * (time.perf_counter() - start))
        return result


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--encoder", choices=ENCODERS, default="vits")
    parser.add_argument("--checkpoint", type=Path, help="a .pth file (default: random weights)")
    parser.add_argument("--input_size", type=int, default=280, help="shorter side of the network's input")
    parser.add_argument("--size", default="540x960", metavar="HxW", help="height and width of synthetic frames")
    parser.add_argument("--input_video", type=Path, help="take frames from this file, from its start again at its end")
    parser.add_argument("--frames", type=int, default=120)
    parser.add_argument("--device", choices=DEVICES, default="auto")
    parser.add_argument("--precision", choices=PRECISIONS, default="auto")
    parser.add_argument("--plain", action="store_true", help="also time the original's order of work, frame by frame")
    return parser.parse_args()


def build_model(encoder: str, checkpoint: Path | None, device: torch.device) -> VideoDepthAnything:
    if checkpoint is not None:
        return load_model(encoder, checkpoint=checkpoint, device=device)
    torch.manual_seed(0)
    model = VideoDepthAnything(encoder)
    for name, weight in model.named_parameters():
        if name.endswith("proj_out.weight"):  # initially zero, which would hide a difference between the two modes
            nn.init.normal_(weight, std=weight.shape[1] ** -0.5)
    return model.to(device).to(memory_format=torch.channels_last).eval().requires_grad_(False)


def synthetic_frames(size: str) -> Iterator[Frame]:
    """Smooth noise that drifts over the picture."""
    height, width = (int(side) for side in size.lower().split("x"))
    coarse = np.random.default_rng(0).integers(0, 256, (height // 8 + 1, width // 8 + 1, 3)).astype(np.uint8)
    picture = np.asarray(cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC), dtype=np.uint8)
    while True:
        yield picture
        picture = np.roll(picture, (1, 3), axis=(0, 1))


def video_frames(path: Path) -> Iterator[Frame]:
    while True:
        capture = cv2.VideoCapture(str(path))
        good, picture = capture.read()
        if not good:
            sys.exit(f"{path} cannot be read as a video")
        while good:
            yield np.asarray(picture[..., ::-1], dtype=np.uint8)
            good, picture = capture.read()
        capture.release()


def peak_mib(device: torch.device) -> float:
    """Peak memory of the process so far; on a GPU, that of its allocator."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device) / 2**20
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / (2**20 if sys.platform == "darwin" else 2**10)


def blocks(count: int) -> list[range]:
    """Frames (from 0) in blocks: the first, the memory's start, until the ring is full, the rest in two halves."""
    edges = sorted({min(edge, count) for edge in (0, 1, 10, 41, (41 + count + 1) // 2, count)})
    return [range(start, stop) for start, stop in pairwise(edges)]


def print_table(ring: TimedStream, plain: TimedStream | None) -> None:
    def median(times: list[float], block: range) -> float:
        return float(np.median(times[block.start : block.stop]))

    header = ["frames", "median ms", "95 % ms", "encode", "motion and rest"]
    if plain is not None:
        header += ["plain: median ms", "motion and rest", "plain / ring"]
    print("| " + " | ".join(header) + " |")
    print("|" + "---|" * len(header))
    for block in blocks(len(ring.whole)):
        whole = ring.whole[block.start : block.stop]
        numbers = [median(ring.whole, block), float(np.percentile(whole, 95))]
        numbers += [median(ring.encoding, block), median(ring.stepping, block)]
        cells = [f"{block.start + 1}-{block.stop}", *(f"{number:.1f}" for number in numbers)]
        if plain is not None:
            times = median(plain.whole, block), median(plain.stepping, block)
            cells += [f"{times[0]:.1f}", f"{times[1]:.1f}", f"{times[0] / numbers[0]:.2f}"]
        print("| " + " | ".join(cells) + " |")


def main() -> None:
    arguments = parse_arguments()
    execution = choose_execution(arguments.device, arguments.precision)
    model = build_model(arguments.encoder, arguments.checkpoint, execution.device)
    ring = TimedStream(model, arguments.input_size, execution)
    plain = TimedStream(PlainModel(model), arguments.input_size, execution) if arguments.plain else None
    frames = video_frames(arguments.input_video) if arguments.input_video else synthetic_frames(arguments.size)
    difference = early_peak = 0.0
    for index, frame in enumerate(islice(frames, arguments.frames)):
        depth = ring.depth(frame)
        if plain is not None:
            other = plain.depth(frame)
            difference = max(difference, float(np.abs(depth - other).max() / max(np.ptp(other), 1e-6)))
        if index < 10:
            early_peak = peak_mib(execution.device)
    precision = str(execution.autocast_dtype or torch.float32).removeprefix("torch.")
    print(f"{arguments.encoder}, input size {arguments.input_size}, {execution.device}, {precision}")
    print(f"{torch.get_num_threads()} threads, frames of {depth.shape[1]}x{depth.shape[0]}\n")
    print_table(ring, plain)
    print(f"\nState: {ring.stream.state_bytes / 2**20:.0f} MiB ({ring.stream.state_bytes} bytes).")
    both = " (both modes in one process)" if plain is not None else ""
    print(f"Peak memory: {early_peak:.0f} MiB after frame 10, {peak_mib(execution.device):.0f} MiB at the end{both}.")
    if plain is not None:
        print(f"Largest difference between the modes: {difference:.1e} of the depth's range.")


if __name__ == "__main__":
    main()
