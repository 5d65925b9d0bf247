"""Training samples from caches of features."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch

from starter.cache import CacheInfo, clip_names, open_cache, read_clip
from training.sources import Sample
from video_depth_anything.errors import InputError


class CacheSource:
    """Frames of caches of features; a part is a cached clip. Clips may be added while training runs."""

    def __init__(self, paths: Sequence[Path], frames: int, fingerprint: str, encoder_blocks: int = 0) -> None:
        self._paths = list(paths)
        self._frames = frames
        self._info = [open_cache(path) for path in paths]
        for path, info in zip(paths, self._info):
            if info.encoder_blocks != encoder_blocks:
                raise InputError(f"{path}: was made with --encoder_blocks {info.encoder_blocks}, not {encoder_blocks}")
            if info.fingerprint != fingerprint:
                raise InputError(f"{path}: was made with another encoder than --checkpoint has; make a new cache")
            if info.frames < frames:
                raise InputError(f"{path}: its clips have {info.frames} frames, fewer than --frames {frames}")
            if (info.height, info.width) != (self._info[0].height, self._info[0].width):
                raise InputError(f"{path}: its frames are {info.width}x{info.height}, those of {paths[0]} are not")

    @property
    def info(self) -> CacheInfo:
        """Description of the first cache."""
        return self._info[0]

    def parts(self) -> list[str]:
        return [f"{index}/{name}" for index, path in enumerate(self._paths) for name in clip_names(path)]

    def samples(self, part: str) -> int:
        return self._info[int(part.split("/")[0])].frames // self._frames

    def sample(self, part: str, number: int, rng: np.random.Generator) -> Sample:
        index, name = part.split("/")
        # What a whole number of clips leaves over is spread, so that every frame is seen at times.
        spare = self._info[int(index)].frames % self._frames
        start = number * self._frames + int(rng.integers(spare + 1))
        frames = read_clip(self._paths[int(index)] / name, start, self._frames, self.info.encoder_blocks)
        inputs = tuple(torch.from_numpy(x) for x in frames.inputs)
        return Sample(inputs, torch.from_numpy(frames.disparity), torch.from_numpy(frames.valid))
