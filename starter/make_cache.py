#!/usr/bin/env python3
"""Render procedural clips, run the frozen encoder on them once, and keep its token maps for training.

    python -m starter.make_cache --out DIR --clips 1000 --frames 4

Clips that are there are skipped, so a run that was ended goes on where it stopped; another `--seed` adds to the cache.
Training may start while it grows; it takes the clips that are there when it starts.
"""

from __future__ import annotations

import argparse
import functools
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from torch.utils.data import DataLoader, Dataset
from tqdm import tqdm

from starter.cache import UNTRAINED, CacheInfo, Floats, clip_name, create_cache, fingerprint, write_clip
from starter.network import encode_frozen
from starter.scenes.render import MIX, SceneOptions, render_clip
from training.augment import Augmentation, augment
from training.flags import add_model_arguments, check_encoder_blocks, not_negative, side, whole
from training.network import frozen_encoder
from video_depth_anything.checkpoint import load_checkpoint
from video_depth_anything.cli.console import run_script
from video_depth_anything.cli.parser import Parser, positive_float, positive_int
from video_depth_anything.config import PATCH_SIZE
from video_depth_anything.device import Execution, choose_execution
from video_depth_anything.errors import OutputError
from video_depth_anything.transform import preprocess
from video_depth_anything.video_depth import VideoDepthAnything

FRAMES_AT_ONCE = 8
FURTHER_VIEW = Augmentation(flip=1, crop=1, colour=0.3)


def encode(
    model: VideoDepthAnything, images: npt.NDArray[np.uint8], execution: Execution, blocks: int
) -> tuple[Floats, Floats | None]:
    """Of images (T, H, W, 3) the token maps (T, K, h, w, C), and with live blocks the stream (T, 1 + L, C)."""
    height, width = images.shape[1:3]
    grid = (height // PATCH_SIZE, width // PATCH_SIZE)
    maps, streams = [], []
    for start in range(0, len(images), FRAMES_AT_ONCE):
        frames = np.stack([preprocess(image, (height, width)) for image in images[start : start + FRAMES_AT_ONCE]])
        with torch.inference_mode(), execution.autocast():
            kept = list(encode_frozen(model, torch.from_numpy(frames).to(execution.device), blocks))
        if blocks:
            streams.append(kept.pop().float().cpu().numpy())
        maps.append(torch.stack(kept, dim=1).float().unflatten(2, grid).cpu().numpy())
    return np.concatenate(maps), np.concatenate(streams) if blocks else None


class ClipMaker(Dataset[int]):
    """Makes the clip of a seed when it is asked for; each process that does so holds an encoder."""

    def __init__(self, args: argparse.Namespace, seeds: Sequence[int]) -> None:
        self._args = args
        self._seeds = seeds
        self._options = SceneOptions(
            args.frames, args.height, args.width, tuple(args.kinds), furniture=args.furniture, fps=args.fps
        )

    def __len__(self) -> int:
        return len(self._seeds)

    @functools.cached_property
    def _encoder(self) -> tuple[VideoDepthAnything, Execution]:
        args = self._args
        if args.threads:
            torch.set_num_threads(args.threads)
        execution = choose_execution(args.device, args.precision)
        model, _ = load_checkpoint(args.encoder, None, args.checkpoint, "cpu")
        return model.to(execution.device), execution

    def __getitem__(self, index: int) -> int:
        args, seed = self._args, self._seeds[index]
        paths = {view: args.out / clip_name(seed, view) for view in range(args.views)}
        missing = {view: path for view, path in paths.items() if not path.exists()}
        if missing:
            model, execution = self._encoder
            rendered = render_clip(seed, self._options)
        size = (args.height, args.width)
        for view, path in missing.items():
            rng = np.random.default_rng([seed, view])
            clip = augment(rendered, size, FURTHER_VIEW, rng) if view else rendered
            tokens, stream = encode(model, clip.images, execution, args.encoder_blocks)
            write_clip(path, tokens, clip.disparity, clip.valid, clip.images, stream)
        return seed


def main(argv: Sequence[str] | None = None) -> int:
    own_parser = _parser()
    args = own_parser.parse_args(argv)
    check_encoder_blocks(own_parser, args)
    model, _ = load_checkpoint(args.encoder, None, args.checkpoint, "cpu")
    own = fingerprint(frozen_encoder(model.state_dict(), args.encoder_blocks))
    create_cache(args.out, CacheInfo(args.encoder, own, args.frames, args.height, args.width, args.encoder_blocks))
    several = args.workers > 1
    # Forked processes would inherit torch's threads in an unknown state.
    loader = DataLoader(
        ClipMaker(args, range(args.seed, args.seed + args.clips)),
        batch_size=None,
        num_workers=args.workers if several else 0,
        multiprocessing_context="spawn" if several else None,
    )
    for _ in tqdm(loader, desc=args.out.name, unit="clip", file=sys.stderr, dynamic_ncols=True):
        if shutil.disk_usage(args.out).free < args.min_free_gb * 1e9:
            raise OutputError(f"{args.out}: less than {args.min_free_gb} GB free; see --min_free_gb")
    return 0


def _parser() -> Parser:
    description = (__doc__ or "").partition("\n")[0]
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
    group = result.add_argument_group("procedural scenes")
    group.add_argument("--height", type=side, default=252, help="of the network's input in pixels")
    group.add_argument("--width", type=side, default=336, help="of the network's input in pixels")
    what = "kinds of scenes to draw from (default: all, rooms more often)"
    group.add_argument("--kinds", nargs="+", metavar="KIND", default=MIX, help=what)
    group.add_argument("--fps", type=positive_float, help="frames a second of a clip (default: 8 to 30, drawn)")
    group.add_argument("--furniture", type=Path, metavar="DIR", help="furniture models to place in rooms")
    return result


if __name__ == "__main__":
    sys.exit(run_script(main))
