"""Training samples: what they are, where they come from, and RGB-D folders as their source.

Shapes: T frames, H x W pixels.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, Protocol

import numpy as np
import torch
from torch import Tensor

from benchmark.rgbd import RgbdFolder
from training.augment import Augmentation, augment
from training.clips import Clip
from video_depth_anything.errors import InputError
from video_depth_anything.transform import preprocess


class Sample(NamedTuple):
    """One clip for the network.

    Attributes:
        inputs: normalised images (T, 3, H, W) float32 alone, or what else the network in training begins at.
        target: (T, H, W) float32, as `Clip.disparity`, in which 0 is sky, and unknown; or metres, 0 unknown.
        valid: (T, H, W) bool.
    """

    inputs: tuple[Tensor, ...]
    target: Tensor
    valid: Tensor


class Source(Protocol):
    """A set of samples."""

    def __len__(self) -> int: ...

    def sample(self, number: int, rng: np.random.Generator) -> Sample:
        """Make sample 0 .. len - 1, from nothing else than its files and the generator.

        Raises:
            InputError: if its files are gone or damaged.
        """


def sample_of_clip(clip: Clip, metric: bool) -> Sample:
    """A clip, whose sides are multiples of 14, as the network takes it."""
    size = clip.images.shape[1:3]
    images = torch.from_numpy(np.stack([preprocess(image, size) for image in clip.images]))
    if metric:
        known = clip.valid & np.isfinite(clip.depth)
        return Sample((images,), torch.from_numpy(np.where(known, clip.depth, np.float32(0))), torch.from_numpy(known))
    return Sample((images,), torch.from_numpy(clip.disparity), torch.from_numpy(clip.valid))


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
    """Windows of frames from recordings; every frame but a recording's last ones begins one.

    Args:
        folders: the recordings.
        frames: of a window.
        size: (H, W) that the network sees.
        augmentation: how windows are changed.
        metric: whether targets are metres.

    Raises:
        InputError: if a recording has fewer frames, or no known depth in any of eight frames.
    """

    def __init__(
        self,
        folders: Sequence[RgbdFolder],
        frames: int,
        size: tuple[int, int],
        augmentation: Augmentation,
        metric: bool = False,
    ) -> None:
        self._frames = frames
        self._size = size
        self._augmentation = augmentation
        self._metric = metric
        for folder in folders:
            if len(folder) < frames:
                raise InputError(f"{folder.path}: {len(folder)} frames, fewer than the {frames} of a clip")
            some = np.linspace(0, len(folder) - 1, min(len(folder), 8)).astype(int)
            if not any(folder.depth(i).any() for i in some):
                raise InputError(f"{folder.path}: its depth maps are 0 everywhere, which means unknown")
        self._windows = [(folder, first) for folder in folders for first in range(len(folder) - frames + 1)]

    def __len__(self) -> int:
        return len(self._windows)

    def sample(self, number: int, rng: np.random.Generator) -> Sample:
        folder, first = self._windows[number]
        clip = read_frames(folder, range(first, first + self._frames))
        return sample_of_clip(augment(clip, self._size, self._augmentation, rng), self._metric)
