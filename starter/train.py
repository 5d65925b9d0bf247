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
from dataclasses import dataclass
from pathlib import Path

from starter.cache import UNTRAINED, CacheSource, fingerprint
from starter.network import CachedNetwork
from starter.scenes.render import SceneOptions, render_clip
from training.flags import whole
from training.network import frozen_encoder
from training.run import Run
from training.settings import Settings
from training.train import add_run_arguments, add_validation_arguments, complete, train
from training.validation import FixedClip, fixed_clip
from video_depth_anything.cli.console import run_script
from video_depth_anything.cli.parser import Parser
from video_depth_anything.errors import UsageError
from video_depth_anything.options import option
from video_depth_anything.video_depth import VideoDepthAnything

# Of the clips that are validated on; far above any training seed.
FIRST_SEED = 1_000_000_000
MAX_DEPTH = 80.0


@dataclass(frozen=True)
class CacheSettings(Settings):
    """As `Settings`, on caches of features."""

    coarse: bool = option(
        False, "compute depth at two pixels a patch and side only: for a start, at a quarter of the time"
    )


class CacheRun(Run):
    """As `Run`, on caches of features, validated on procedural clips."""

    settings_type = CacheSettings
    source: CacheSource

    def network(self, model: VideoDepthAnything) -> CachedNetwork:
        args = self.args
        return CachedNetwork(model, args.stage, args.activation_checkpointing, args.coarse, args.encoder_blocks)

    def open_source(self, model: VideoDepthAnything) -> CacheSource:
        args = self.args
        if model.metric:
            raise UsageError(f"--checkpoint {args.checkpoint}: caches hold disparity, metric weights need metres")
        own = fingerprint(frozen_encoder(model.state_dict(), args.encoder_blocks))
        return CacheSource(args.cache, args.frames, own, args.encoder_blocks)

    def fixed_clips(self) -> list[FixedClip]:
        args, info = self.args, self.source.info
        frames = args.val_frames if args.stage == "clip" else 1
        options = SceneOptions(frames, info.height, info.width, furniture=args.furniture)
        clips = (render_clip(FIRST_SEED + index, options) for index in range(args.val_clips))
        return [fixed_clip("scenes", clip, MAX_DEPTH) for clip in clips]

    def tell_use(self) -> None:
        pass


def parse(argv: Sequence[str] | None = None) -> argparse.Namespace:
    description = (__doc__ or "").partition("\n")[0]
    parser = Parser(prog="python -m starter.train", description=description)
    add_run_arguments(parser, CacheSettings, UNTRAINED)
    group = parser.add_argument_group("caches")
    group.add_argument("--cache", type=Path, nargs="+", required=True, metavar="DIR", help="caches of features")
    group = parser.add_argument_group("validation")
    add_validation_arguments(group)
    group.add_argument("--val_clips", type=whole, default=8, help="procedural clips to validate on")
    group.add_argument("--furniture", type=Path, metavar="DIR", help="furniture models to place in these")
    parser.set_defaults(height=None, width=None)
    args = complete(parser, argv)
    if args.encoder_lr > 0 and not args.encoder_blocks:
        parser.error("--cache holds the features of a frozen encoder; leave --encoder_lr at 0")
    return args


def main(argv: Sequence[str] | None = None) -> int:
    return train(CacheRun, parse(argv))


if __name__ == "__main__":
    sys.exit(run_script(main))
