#!/usr/bin/env python3
"""Fine-tune a checkpoint on RGB-D recordings: on clips with the motion modules, or on single images without them.

    python -m training.train --stage clip --rgbd DIR --checkpoint FILE --output runs/mine
    torchrun --nproc_per_node 2 -m training.train ...

The output folder holds model.pth (a full checkpoint, averaged weights), state.pth (for --resume), log.jsonl and
tensorboard/.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from training.flags import add_model_arguments, check_encoder_blocks, share, side, whole
from training.settings import Settings
from video_depth_anything.cli.arguments import add_option
from video_depth_anything.cli.console import run_script
from video_depth_anything.cli.parser import Parser, positive_float, positive_int
from video_depth_anything.options import options_of

if TYPE_CHECKING:
    from training.run import Run

# Learning rate of the encoder's last blocks as a share of the head's: pretrained weights should change slowly.
LIVE_BLOCKS_RATE = 0.1


def parser() -> Parser:
    description, _, _ = (__doc__ or "").partition("\n")
    result = Parser(prog="python -m training.train", description=description)
    add_run_arguments(result)
    group = result.add_argument_group("data")
    what = "folders with rgb/, depth/ and intrinsics.txt"
    group.add_argument("--rgbd", type=Path, nargs="+", required=True, metavar="DIR", help=what)
    what = "shorter side of the network's input, as in inference; the aspect ratio is that of the first recording"
    group.add_argument("--input_size", type=positive_int, default=518, help=what)
    group.add_argument("--height", type=side, help="input height in pixels; with --width, replaces --input_size")
    group.add_argument("--width", type=side, help="input width in pixels")
    group.add_argument("--flip", type=share, default=0.5, help="probability of mirroring a clip")
    what = "smallest random crop, as a share of the sides; 1: none (default: 0.7; metric weights 1)"
    group.add_argument("--crop", type=share, help=what)
    group.add_argument("--colour", type=share, default=0.3, help="strength of random colour changes; 0: none")
    group = result.add_argument_group("validation")
    what = "folders for validation; default: the last of --rgbd, or its last frames, which are not used for training"
    group.add_argument("--val_rgbd", type=Path, nargs="*", metavar="DIR", help=what)
    add_validation_arguments(group)
    return result


def add_run_arguments(
    result: argparse.ArgumentParser, settings: type[Settings] = Settings, checkpoint: Path | None = None
) -> None:
    """Add the arguments that do not depend on the source of samples."""
    result.add_argument("--output", type=Path, required=True, metavar="DIR", help="the run's folder")
    result.add_argument("--resume", action="store_true", help="continue the run in --output, if there is one")
    result.add_argument("--half", action="store_true", help="save model.pth in float16")
    result.add_argument("--save_every", type=positive_int, default=500, metavar="STEPS", help="save every N steps")
    result.add_argument("--log_every", type=positive_int, default=20, metavar="STEPS", help="log every N steps")
    result.add_argument("--max_minutes", type=positive_float, help="save and stop after this time; --resume continues")
    result.add_argument("--stop_after", type=positive_int, metavar="STEPS", help="save and stop after this many steps")
    result.add_argument(
        "--tensorboard", action=argparse.BooleanOptionalAction, default=True, help="log for TensorBoard"
    )
    what = "processes that prepare batches; 0: none"
    result.add_argument("--workers", type=whole, default=0, help=what)
    add_model_arguments(result, checkpoint)
    what = "whether the weights predict metres (default: as recorded in the file, else by its name)"
    result.add_argument("--metric", action=argparse.BooleanOptionalAction, help=what)
    group = result.add_argument_group("recipe")
    for setting in options_of(settings):
        add_option(group, setting)
    result.set_defaults(batch_size=None, frames=None, encoder_lr=None, scale_weight=None)  # they depend on others
    what = "compute a batch in N parts; a step takes a third longer"
    group.add_argument("--accumulate", type=positive_int, default=1, metavar="N", help=what)
    what = "recompute activations in the backward pass: less memory, a third more time"
    group.add_argument("--activation_checkpointing", action="store_true", help=what)
    what = "checkpoint whose depth, averaged over patches, should not change while edges become sharper"
    group.add_argument("--keep", type=Path, metavar="FILE", help=what)


def add_validation_arguments(group: argparse._ArgumentGroup) -> None:
    """Add the arguments of validation."""
    group.add_argument("--val_frames", type=positive_int, default=8, help="frames per recording")
    group.add_argument("--val_every", type=positive_int, default=500, metavar="STEPS", help="validate every N steps")


def parse(argv: Sequence[str] | None = None) -> argparse.Namespace:
    """Parse the arguments."""
    return complete(parser(), argv)


def complete(parser: argparse.ArgumentParser, argv: Sequence[str] | None) -> argparse.Namespace:
    """Parse the arguments of `add_run_arguments` and others, and set the defaults that depend on others."""
    args = parser.parse_args(argv)
    args.batch_size = args.batch_size or (8 if args.stage == "image" else 1)
    args.frames = args.frames or (1 if args.stage == "image" else 8)
    check_encoder_blocks(parser, args)
    if args.encoder_lr is None:
        args.encoder_lr = args.lr * LIVE_BLOCKS_RATE if args.encoder_blocks else 0.0
    if (args.height is None) != (args.width is None):
        parser.error("--height and --width must be given together")
    if not 2 <= args.frames <= 32 and args.stage == "clip":
        parser.error("--stage clip needs --frames 2 to 32")
    if args.lr == 0 and args.encoder_lr == 0 and (args.stage == "image" or args.motion_lr == 0):
        parser.error("all learning rates are 0, so nothing would be trained")
    return args


def train(kind: type[Run], args: argparse.Namespace) -> int:
    """Train with a class of run; returns the exit code."""
    from training.processes import process_group
    from video_depth_anything.device import choose_execution

    execution = choose_execution(args.device, args.precision)
    with process_group(execution.device.type) as group:
        return kind(args, execution, group).run()


def main(argv: Sequence[str] | None = None) -> int:
    args = parse(argv)
    from training.run import Run

    return train(Run, args)


if __name__ == "__main__":
    sys.exit(run_script(main))
