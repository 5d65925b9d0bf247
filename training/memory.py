"""Peak memory of a training step, counted on fake tensors, which have a size but no values.

    python -m training.memory --encoder vitl --input_size 518 --frames 8 --activation_checkpointing

It counts what is requested from PyTorch's allocator: weights, gradients, optimizer, averages, activations. A device's
libraries take a few hundred MiB more.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext

import torch
from torch._subclasses.fake_tensor import FakeTensorMode

from benchmark.speed.counted import Counter
from training.batches import Batch
from training.network import TrainingNetwork
from training.processes import ProcessGroup
from training.settings import Settings
from training.trainer import Trainer
from video_depth_anything.cli.arguments import add_option
from video_depth_anything.cli.console import run_script
from video_depth_anything.cli.parser import Parser, positive_int
from video_depth_anything.config import ENCODERS, EncoderName
from video_depth_anything.device import Execution
from video_depth_anything.options import made, options_of
from video_depth_anything.transform import network_size
from video_depth_anything.video_depth import VideoDepthAnything

GIB = 2**30


class _FusedNetwork(TrainingNetwork):
    """Attention as on a GPU: a fused kernel, which keeps no scores."""

    def temporal_attention(self, device_type: str) -> AbstractContextManager[object]:
        return nullcontext()


def step_peak(
    encoder: EncoderName,
    size: tuple[int, int],
    settings: Settings,
    accumulate: int = 1,
    recompute: bool = False,
    dtype: torch.dtype | None = torch.bfloat16,
) -> int:
    """Peak bytes of a step in one process; arguments are those of `Trainer` and `TrainingNetwork`."""
    with torch.device("meta"):
        model = VideoDepthAnything(encoder)
    shapes = {name: x.shape for name, x in model.state_dict().items()}
    execution = Execution(torch.device("cpu"), dtype, 1)
    counter = Counter("cpu")
    with FakeTensorMode(allow_non_fake_inputs=True), counter:
        model.load_state_dict({name: torch.empty(shape) for name, shape in shapes.items()}, assign=True)
        network = _FusedNetwork(model, settings.stage, recompute)
        trainer = Trainer(network, settings, execution, ProcessGroup(), accumulate)
        moments = [torch.empty_like(p) for p in trainer.trained.values() for _ in range(2)]
        shape = (settings.batch_size, settings.frames)
        maps = torch.empty(*shape, *size)
        trainer.gradients(Batch((torch.empty(*shape, 3, *size),), maps, maps > 0))
        del moments
    return counter.peak


def main(argv: Sequence[str] | None = None) -> int:
    parser = Parser(prog="python -m training.memory", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--encoder", choices=ENCODERS, default="vits")
    parser.add_argument("--input_size", type=positive_int, default=518)
    for setting in options_of(Settings):
        if setting.name in ("frames", "render", "batch_size", "encoder_lr"):
            add_option(parser, setting)
    parser.set_defaults(frames=8, batch_size=1)
    parser.add_argument("--accumulate", type=positive_int, default=1)
    parser.add_argument("--activation_checkpointing", action="store_true")
    args = parser.parse_args(argv)
    settings = made(Settings, vars(args) | {"stage": "clip"})
    size = network_size(720, 1280, args.input_size)
    peak = step_peak(args.encoder, size, settings, args.accumulate, args.activation_checkpointing)
    print(f"{args.encoder}, {args.frames} frames of {size[1]}x{size[0]}: {peak / GIB:.1f} GiB")
    return 0


if __name__ == "__main__":
    sys.exit(run_script(main))
