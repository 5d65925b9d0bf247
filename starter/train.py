#!/usr/bin/env python3
"""Train on caches of features: the image stage and the clip stage of the demo checkpoint.

    python -m starter.train --stage image --cache DIR --output runs/image --steps 10000
    python -m starter.train --stage clip --cache DIR --frames 16 --checkpoint runs/image/model.pth --output runs/clip

Everything else is as in `python -m training.train`.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from starter.flags import UNTRAINED, CacheSettings, add_scene_arguments
from training.flags import whole
from training.train import add_run_arguments, add_validation_arguments, complete, train
from video_depth_anything.cli.console import run_script
from video_depth_anything.cli.parser import Parser


def parser() -> Parser:
    description, _, _ = (__doc__ or "").partition("\n")
    result = Parser(prog="python -m starter.train", description=description)
    add_run_arguments(result, CacheSettings, UNTRAINED)
    group = result.add_argument_group("caches")
    group.add_argument("--cache", type=Path, nargs="+", required=True, metavar="DIR", help="caches of features")
    group = result.add_argument_group("validation")
    group.add_argument("--val_rgbd", type=Path, nargs="*", default=[], metavar="DIR", help="folders to validate on")
    add_validation_arguments(group)
    group.add_argument("--val_clips", type=whole, default=8, help="procedural clips to validate on")
    add_scene_arguments(result)
    return result


def parse(argv: Sequence[str] | None = None) -> argparse.Namespace:
    main_parser = parser()
    args = complete(main_parser, argv)
    if args.encoder_lr > 0 and not args.encoder_blocks:
        main_parser.error("--cache holds the features of a frozen encoder; leave --encoder_lr at 0")
    return args


def main(argv: Sequence[str] | None = None) -> int:
    args = parse(argv)
    from starter.run import CacheRun

    return train(CacheRun, args)


if __name__ == "__main__":
    sys.exit(run_script(main))
