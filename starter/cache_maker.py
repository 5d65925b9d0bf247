"""Fills a feature cache: renders clips, encodes them, writes them; in this process or in several."""

from __future__ import annotations

import argparse
import multiprocessing
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import replace
from multiprocessing.queues import SimpleQueue
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch

from starter.cache import CacheInfo, clip_name, create_cache, fingerprint, write_clip
from starter.flags import scene_options
from starter.network import encode_frozen
from starter.scenes.render import render_clip
from training.augment import VIEW, augment
from training.clips import Clip
from training.network import frozen_encoder
from training.start import load_for_training
from video_depth_anything.config import PATCH_SIZE
from video_depth_anything.device import Execution, choose_execution
from video_depth_anything.errors import OutputError
from video_depth_anything.transform import preprocess
from video_depth_anything.video_depth import VideoDepthAnything

FRAMES_AT_ONCE = 8


def prepare_cache(args: argparse.Namespace) -> None:
    """Make the cache's folder, or check that it was made with this encoder and these sizes.

    Raises:
        CheckpointError, OutputError: if the weights or the folder do not fit.
    """
    model = load_for_training(args.encoder, args.checkpoint, 0)
    own = fingerprint(frozen_encoder(model.state_dict(), args.encoder_blocks))
    info = CacheInfo(args.encoder, own, args.frames, args.height, args.width, args.storage)
    create_cache(args.out, replace(info, encoder_blocks=args.encoder_blocks))


def make_clips(args: argparse.Namespace, seeds: Sequence[int]) -> Iterator[int]:
    """Make the clips of these seeds that are not there; yields each seed when it is done."""
    if args.workers == 1:
        maker = ClipMaker(args)
        yield from (maker.make(seed) for seed in seeds)
        return
    # Forked processes would inherit torch's threads in an unknown state.
    context = multiprocessing.get_context("spawn")
    done: SimpleQueue[int | Exception] = context.SimpleQueue()
    shares = [seeds[k :: args.workers] for k in range(args.workers)]
    workers = [context.Process(target=_work, args=(args, share, done), daemon=True) for share in shares]
    for worker in workers:
        worker.start()
    try:
        for _ in seeds:
            result = done.get()
            if isinstance(result, Exception):
                raise result
            yield result
    finally:
        for worker in workers:
            worker.terminate()
            worker.join()


def _work(args: argparse.Namespace, seeds: Sequence[int], done: SimpleQueue[int | Exception]) -> None:
    try:
        maker = ClipMaker(args)
        for seed in seeds:
            done.put(maker.make(seed))
    except Exception as error:
        done.put(error)


def encode(
    model: VideoDepthAnything, images: npt.NDArray[np.uint8], execution: Execution, blocks: int
) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32] | None]:
    """What a cache keeps of images.

    Args:
        model: the network.
        images: (T, H, W, 3) uint8 RGB, sides multiples of 14.
        execution: device and precision.
        blocks: how many of the encoder's last blocks are live in training.

    Returns:
        Token maps (T, K, h, w, C) float32, and with live blocks the stream (T, 1 + h w, C) float32.
    """
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


class ClipMaker:
    """Makes one clip after the other; holds the encoder."""

    def __init__(self, args: argparse.Namespace) -> None:
        threads = args.threads or (1 if args.workers > 1 else None)
        if threads:
            torch.set_num_threads(threads)
        self._args = args
        self._execution = choose_execution(args.device, args.precision)
        model = load_for_training(args.encoder, args.checkpoint, 0).eval().requires_grad_(False)
        self._model = model.to(self._execution.device)
        self._options = scene_options(args, args.frames)

    def make(self, seed: int) -> int:
        """Render the clip of that seed and write the views of it that are not there; returns the seed.

        Raises:
            OutputError: if the disk is nearly full.
        """
        folder: Path = self._args.out
        missing = [view for view in range(self._args.views) if not (folder / clip_name(seed, view)).exists()]
        if not missing:
            return seed
        if shutil.disk_usage(folder).free < self._args.min_free_gb * 1e9:
            raise OutputError(f"{folder}: less than {self._args.min_free_gb} GB free; see --min_free_gb")
        clip = render_clip(seed, self._options)
        for view in missing:
            shown = clip if view == 0 else augment(clip, VIEW, np.random.default_rng([seed, view]))
            self._write(folder / clip_name(seed, view), shown)
        return seed

    def _write(self, path: Path, clip: Clip) -> None:
        tokens, stream = encode(self._model, clip.images, self._execution, self._args.encoder_blocks)
        write_clip(path, tokens, clip.disparity, clip.valid, clip.images, self._args.storage, stream)
