#!/usr/bin/env python3
"""Render procedural clips, run the frozen encoder on them once, and keep its token maps for training.

    python -m starter.make_cache --out DIR --clips 1000 --frames 4

Clips that are there are skipped, so a run that was ended goes on where it stopped; another `--seed` adds to the cache.
Training may start while it grows; it takes the clips that are there when it starts.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

from starter.flags import UNTRAINED, add_scene_arguments
from training.flags import add_model_arguments, check_encoder_blocks, not_negative, whole
from video_depth_anything.cli.console import run_script
from video_depth_anything.cli.parser import Parser, positive_int


def parser() -> Parser:
    description, _, _ = (__doc__ or "").partition("\n")
    result = Parser(prog="python -m starter.make_cache", description=description)
    result.add_argument("--out", type=Path, required=True, metavar="DIR", help="the cache's folder")
    result.add_argument("--clips", type=positive_int, required=True, help="how many clips to render")
    result.add_argument("--frames", type=positive_int, default=4, help="frames a clip")
    result.add_argument("--seed", type=whole, default=0, help="of the first clip; the next has seed + 1")
    what = "samples made of a clip: as it is, then mirrored and recoloured"
    result.add_argument("--views", type=positive_int, default=1, help=what)
    result.add_argument("--workers", type=positive_int, default=1, help="processes")
    what = "stop when the disk has less left"
    result.add_argument("--min_free_gb", type=not_negative, default=5.0, help=what)
    add_model_arguments(result, UNTRAINED)
    add_scene_arguments(result)
    return result


def main(argv: Sequence[str] | None = None) -> int:
    own_parser = parser()
    args = own_parser.parse_args(argv)
    check_encoder_blocks(own_parser, args)
    from tqdm import tqdm

    from starter.cache_maker import make_clips, prepare_cache

    prepare_cache(args)
    seeds = range(args.seed, args.seed + args.clips)
    with tqdm(total=args.clips, desc=args.out.name, unit="clip", file=sys.stderr, dynamic_ncols=True) as bar:
        for _ in make_clips(args, seeds):
            bar.update()
    return 0


if __name__ == "__main__":
    sys.exit(run_script(main))
