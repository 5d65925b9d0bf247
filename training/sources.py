"""Where training samples come from: the procedural generator, RGB-D folders, caches of features.

A source names its parts, says how many samples each has, and makes the sample of a part and a number, from a random
generator that is handed in and nothing else. Shapes: T frames, H x W pixels, h x w patches, C encoder width.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, Protocol

import numpy as np
import torch
from torch import Tensor

from benchmark.rgbd import RgbdFolder, open_rgbd_folder
from training.augment import Augmentation, augment, resize_clip
from training.cache import CacheInfo, clip_names, open_cache, read_clip
from training.clips import Clip
from video_depth_anything.errors import InputError
from video_depth_anything.transform import preprocess

if TYPE_CHECKING:
    # The renderer's libraries are loaded by those who render; training on recordings needs none of them.
    from training.scenes.render import SceneOptions


class Sample(NamedTuple):
    """One clip for the network.

    Attributes:
        inputs: normalised images (T, 3, H, W) float32 alone, or what a cache holds, as `CachedFrames.inputs`.
        disparity: (T, H, W) float32, as `Clip.disparity`; 0 is sky, and unknown.
        valid: (T, H, W) bool.
    """

    inputs: tuple[Tensor, ...]
    disparity: Tensor
    valid: Tensor


class Source(Protocol):
    """A set of samples that may grow."""

    @property
    def endless(self) -> bool:
        """Whether sample numbers go on for ever, none twice."""

    def parts(self) -> list[str]:
        """Names of the parts that are there by now."""

    def samples(self, part: str) -> int:
        """How many samples a part has."""

    def sample(self, part: str, number: int, rng: np.random.Generator) -> Sample:
        """Make one sample.

        Raises:
            InputError: if its files are gone or damaged.
        """


def sample_of_clip(clip: Clip, size: tuple[int, int]) -> Sample:
    """A clip, resized to (H, W), as the network takes it."""
    clip = resize_clip(clip, size)
    images = torch.from_numpy(np.stack([preprocess(image, size) for image in clip.images]))
    return Sample((images,), torch.from_numpy(clip.disparity), torch.from_numpy(clip.valid))


@dataclass(frozen=True)
class SceneSource:
    """Clips rendered as they are needed; number n is seed `first_seed` + n, none is shown twice."""

    options: SceneOptions
    augmentation: Augmentation
    first_seed: int = 0
    endless: bool = True

    def parts(self) -> list[str]:
        return ["scenes"]

    def samples(self, part: str) -> int:
        return 1

    def sample(self, part: str, number: int, rng: np.random.Generator) -> Sample:
        from training.scenes.render import render_clip

        clip = augment(render_clip(self.first_seed + number, self.options), self.augmentation, rng)
        return sample_of_clip(clip, (self.options.height, self.options.width))


def read_frames(folder: RgbdFolder, indices: Sequence[int]) -> Clip:
    """Frames of a recording as a clip.

    Raises:
        InputError: if a file cannot be read, or depth and image differ in size.
    """
    images, depths = [folder.image(i) for i in indices], [folder.depth(i) for i in indices]
    for index, image, depth in zip(indices, images, depths):
        if image.shape[:2] != images[0].shape[:2] or depth.shape != images[0].shape[:2]:
            raise InputError(f"{folder.depths[index]}: image and depth must have one size, the same for all frames")
    poses = None if folder.poses is None else folder.poses[list(indices)]
    return Clip(np.stack(images), np.stack(depths), folder.intrinsics, poses)


class RgbdSource:
    """Windows of frames from RGB-D folders, a part each; sample n of a part begins at its frame n."""

    endless = False

    def __init__(self, folders: Sequence[Path], frames: int, size: tuple[int, int], augmentation: Augmentation) -> None:
        self._folders = [open_rgbd_folder(path) for path in folders]
        self._frames = frames
        self._size = size
        self._augmentation = augmentation
        for folder in self._folders:
            if len(folder) < frames:
                raise InputError(f"{folder.path}: {len(folder)} frames, fewer than the {frames} of a clip")

    def parts(self) -> list[str]:
        return [str(index) for index in range(len(self._folders))]

    def samples(self, part: str) -> int:
        return len(self._folders[int(part)]) - self._frames + 1

    def sample(self, part: str, number: int, rng: np.random.Generator) -> Sample:
        clip = read_frames(self._folders[int(part)], range(number, number + self._frames))
        return sample_of_clip(augment(clip, self._augmentation, rng), self._size)


class CacheSource:
    """Frames of caches of features; a part is a cached clip. Clips may be added while training runs."""

    endless = False

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
