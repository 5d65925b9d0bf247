"""Command line arguments that the training programs share. Imports nothing heavy."""

from __future__ import annotations

import argparse
from pathlib import Path

from video_depth_anything.cli.parser import positive_int
from video_depth_anything.config import DEVICES, ENCODERS, MODEL_CONFIGS, OPENVINO_DEVICES, PATCH_SIZE, PRECISIONS


def side(text: str) -> int:
    """Argument type: a number of pixels that is a multiple of the patch size."""
    value = positive_int(text)
    if value % PATCH_SIZE:
        raise argparse.ArgumentTypeError(f"{text} is not a multiple of {PATCH_SIZE}")
    return value


def share(text: str) -> float:
    """Argument type: a number from 0 to 1."""
    value = float(text)
    if not 0 <= value <= 1:
        raise argparse.ArgumentTypeError(f"{text} is not between 0 and 1")
    return value


def not_negative(text: str) -> float:
    """Argument type: a number, zero or above."""
    value = float(text)
    if not 0 <= value < float("inf"):
        raise argparse.ArgumentTypeError(f"{text} is not zero or above")
    return value


def whole(text: str) -> int:
    """Argument type: a whole number, zero or above."""
    value = int(text)
    if value < 0:
        raise argparse.ArgumentTypeError(f"{text} is not zero or above")
    return value


def add_model_arguments(parser: argparse.ArgumentParser, default: Path | None = None) -> None:
    """Add the arguments of starting weights, device and precision."""
    group = parser.add_argument_group("model")
    group.add_argument("--encoder", choices=ENCODERS, default="vits", help="encoder of --checkpoint")
    what = "number of the encoder's last blocks to train; 0: all or none, by --encoder_lr"
    group.add_argument("--encoder_blocks", type=whole, default=0, metavar="N", help=what)
    what = "weights to start from"
    group.add_argument("--checkpoint", type=Path, required=default is None, default=default, help=what)
    group.add_argument("--device", choices=[x for x in DEVICES if x not in OPENVINO_DEVICES], default="auto")
    group.add_argument(
        "--precision", choices=[x for x in PRECISIONS if x != "int8"], default="auto", help="autocast type"
    )
    group.add_argument(
        "--threads", type=positive_int, help="number of PyTorch's CPU threads (default: PyTorch's choice)"
    )


def check_encoder_blocks(parser: argparse.ArgumentParser, args: argparse.Namespace) -> None:
    """Reject more trained blocks than leave one token map for the cache."""
    config = MODEL_CONFIGS[args.encoder]
    most = config.depth - config.taps[0] - 2
    if args.encoder_blocks > most:
        parser.error(f"--encoder_blocks must be at most {most} for {args.encoder}")
