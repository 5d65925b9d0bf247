"""Training samples from caches of features."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch

from starter.cache import clip_names, open_cache, read_clip
from training.sources import Sample
from video_depth_anything.errors import InputError


class CacheSource:
    """Clips of `frames` frames from caches of features, as far as these are filled by now.

    `info` describes the first cache.
    """

    def __init__(self, paths: Sequence[Path], frames: int, fingerprint: str, encoder_blocks: int = 0) -> None:
        self.info = open_cache(paths[0])
        self._frames = frames
        self._samples: list[tuple[Path, int, int]] = []  # clip, first frame, how many more it may start at
        for path in paths:
            info = open_cache(path)
            if info.encoder_blocks != encoder_blocks:
                raise InputError(f"{path}: was made with --encoder_blocks {info.encoder_blocks}, not {encoder_blocks}")
            if info.fingerprint != fingerprint:
                raise InputError(f"{path}: was made with another encoder than --checkpoint has; make a new cache")
            if info.frames < frames:
                raise InputError(f"{path}: its clips have {info.frames} frames, fewer than --frames {frames}")
            if (info.height, info.width) != (self.info.height, self.info.width):
                raise InputError(f"{path}: its frames are {info.width}x{info.height}, those of {paths[0]} are not")
            for name in clip_names(path):
                starts = range(0, info.frames - frames + 1, frames)
                self._samples += [(path / name, start, info.frames % frames) for start in starts]
        if not self._samples:
            raise InputError(f"{paths[0]}: the cache holds no clips yet")

    def __len__(self) -> int:
        return len(self._samples)

    def sample(self, number: int, rng: np.random.Generator) -> Sample:
        clip, start, spare = self._samples[number]
        # What a whole number of samples leaves over is spread, so that every frame is seen at times.
        frames = read_clip(clip, start + int(rng.integers(spare + 1)), self._frames, self.info.encoder_blocks)
        inputs = tuple(torch.from_numpy(x) for x in frames.inputs)
        return Sample(inputs, torch.from_numpy(frames.disparity), torch.from_numpy(frames.valid))
