"""Augmentation of clips: the same flip, crop and change of colours for all frames of a clip."""

from __future__ import annotations

from dataclasses import dataclass, replace

import cv2
import numpy as np
import numpy.typing as npt
import torch

from training.clips import Clip


@dataclass(frozen=True)
class Augmentation:
    """Strength of the augmentation.

    Attributes:
        flip: probability of mirroring a clip horizontally.
        crop: smallest size of a random crop, as a share of the largest window's sides; 1 for the largest window.
        colour: largest relative change of brightness, contrast and saturation; 0 for none. The hue shifts by up to a
            tenth of it, as a share of the colour circle.
    """

    flip: float = 0.5
    crop: float = 0.7
    colour: float = 0.3


def augment(clip: Clip, size: tuple[int, int], how: Augmentation, rng: np.random.Generator) -> Clip:
    """Draw a crop, a flip and a change of colours, and apply them to the whole clip, whose size becomes (H, W).

    The aspect ratio stays. Poses are dropped after a flip, because a mirrored pose is not a rotation.
    """
    share = rng.uniform(how.crop, 1) if how.crop < 1 else 1.0
    clip = resize_clip(_crop(clip, size, share, rng), size)
    if rng.random() < how.flip:
        clip = flip(clip)
    return replace(clip, images=change_colours(clip.images, how.colour, rng)) if how.colour > 0 else clip


def flip(clip: Clip) -> Clip:
    """Mirror image, left to right."""
    width = clip.images.shape[2]
    intrinsics = clip.intrinsics.copy()
    intrinsics[0, 2] = width - 1 - intrinsics[0, 2]
    return Clip(
        np.ascontiguousarray(clip.images[:, :, ::-1]), np.ascontiguousarray(clip.depth[:, :, ::-1]), intrinsics, None
    )


def _crop(clip: Clip, shape: tuple[int, int], share: float, rng: np.random.Generator) -> Clip:
    """Draw a window with the aspect ratio of `shape` (H, W) and sides of `share` times those of the largest one."""
    height, width = clip.images.shape[1:3]
    scale = share * min(height / shape[0], width / shape[1])
    h, w = (min(max(round(scale * side), 1), most) for side, most in zip(shape, (height, width)))
    top, left = int(rng.integers(height - h + 1)), int(rng.integers(width - w + 1))
    intrinsics = clip.intrinsics.copy()
    intrinsics[:2, 2] -= (left, top)
    window = (slice(None), slice(top, top + h), slice(left, left + w))
    return replace(clip, images=clip.images[window], depth=clip.depth[window], intrinsics=intrinsics)


def change_colours(images: npt.NDArray[np.uint8], strength: float, rng: np.random.Generator) -> npt.NDArray[np.uint8]:
    """Change brightness, contrast, saturation and hue by random factors, the same for all images (T, H, W, 3) uint8."""
    from torchvision.transforms import v2

    jitter = v2.ColorJitter(strength, strength, strength, hue=strength / 10)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(int(rng.integers(2**63)))
        changed = jitter(torch.from_numpy(images).permute(0, 3, 1, 2))
    return np.ascontiguousarray(changed.permute(0, 2, 3, 1).numpy())


def resize_clip(clip: Clip, size: tuple[int, int]) -> Clip:
    """Resize to (H, W): images by area or bicubically, depth by nearest neighbour, which invents no values."""
    height, width = clip.images.shape[1:3]
    if (height, width) == size:
        return clip
    shape = (size[1], size[0])
    how = cv2.INTER_AREA if size[0] < height else cv2.INTER_CUBIC
    images = np.stack([cv2.resize(image, shape, interpolation=how) for image in clip.images])
    depth = np.stack([cv2.resize(depth, shape, interpolation=cv2.INTER_NEAREST) for depth in clip.depth])
    fx, fy = size[1] / width, size[0] / height
    intrinsics = clip.intrinsics.copy()
    # Pixel centres are at whole numbers: x maps to (x + 0.5) f - 0.5.
    intrinsics[0, :2] *= fx
    intrinsics[1, :2] *= fy
    intrinsics[:2, 2] = (clip.intrinsics[:2, 2] + 0.5) * (fx, fy) - 0.5
    return Clip(images.astype(np.uint8), depth.astype(np.float32), intrinsics, clip.poses)
