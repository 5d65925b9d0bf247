"""Fills a feature cache: renders clips, encodes them, writes them; in this process or in several."""

from __future__ import annotations

import argparse
import functools
import shutil
from collections.abc import Iterator, Sequence

import numpy as np
import numpy.typing as npt
import torch
from torch.utils.data import DataLoader, Dataset

from starter.cache import CacheInfo, Floats, clip_name, create_cache, fingerprint, write_clip
from starter.flags import scene_options
from starter.network import encode_frozen
from starter.scenes.render import render_clip
from training.augment import Augmentation, augment
from training.network import frozen_encoder
from video_depth_anything.checkpoint import load_checkpoint
from video_depth_anything.config import PATCH_SIZE
from video_depth_anything.device import Execution, choose_execution
from video_depth_anything.errors import OutputError
from video_depth_anything.transform import preprocess
from video_depth_anything.video_depth import VideoDepthAnything

FRAMES_AT_ONCE = 8
FURTHER_VIEW = Augmentation(flip=1, crop=1, colour=0.3)


def prepare_cache(args: argparse.Namespace) -> None:
    """Make the cache's folder, or check that it was made with this encoder and these sizes."""
    model, _ = load_checkpoint(args.encoder, None, args.checkpoint, "cpu")
    own = fingerprint(frozen_encoder(model.state_dict(), args.encoder_blocks))
    create_cache(args.out, CacheInfo(args.encoder, own, args.frames, args.height, args.width, args.encoder_blocks))


def make_clips(args: argparse.Namespace, seeds: Sequence[int]) -> Iterator[int]:
    """Make the clips of these seeds that are not there; yields each seed when it is done."""
    several = args.workers > 1
    # Forked processes would inherit torch's threads in an unknown state.
    loader = DataLoader(
        ClipMaker(args, seeds),
        batch_size=None,
        num_workers=args.workers if several else 0,
        multiprocessing_context="spawn" if several else None,
    )
    for seed in loader:
        yield seed
        if shutil.disk_usage(args.out).free < args.min_free_gb * 1e9:
            raise OutputError(f"{args.out}: less than {args.min_free_gb} GB free; see --min_free_gb")


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
            rendered = render_clip(seed, scene_options(args, args.frames))
        size = (args.height, args.width)
        for view, path in missing.items():
            rng = np.random.default_rng([seed, view])
            clip = augment(rendered, size, FURTHER_VIEW, rng) if view else rendered
            tokens, stream = encode(model, clip.images, execution, args.encoder_blocks)
            write_clip(path, tokens, clip.disparity, clip.valid, clip.images, stream)
        return seed
