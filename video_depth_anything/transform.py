"""From a video frame to the network's input: the size rule, resizing, normalisation."""

from __future__ import annotations

import logging
import math
import os
from collections.abc import Sequence

import cv2
import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from torch import Tensor

from .config import PATCH_SIZE

logger = logging.getLogger(__name__)

Image = npt.NDArray[np.uint8 | np.float32]

# Frames more elongated than 16:9 get a smaller input, so that they have about as many tokens as a 16:9 frame.
MAX_RATIO = 1.78
RATIO_16_9 = 1.777
# Mean and standard deviation of ImageNet, which DINOv2 was trained with.
MEAN = np.array([0.485, 0.456, 0.406], dtype=np.float32)
STD = np.array([0.229, 0.224, 0.225], dtype=np.float32)


def adjusted_input_size(height: int, width: int, input_size: int) -> int:
    """The input size, reduced to a multiple of 14 for frames whose sides differ by more than 16:9; at least 14."""
    ratio = max(height, width) / min(height, width)
    if ratio <= MAX_RATIO:
        return input_size
    return max(round(int(input_size * RATIO_16_9 / ratio) / PATCH_SIZE), 1) * PATCH_SIZE


def network_size(height: int, width: int, input_size: int) -> tuple[int, int]:
    """Size (height, width) of the network's input for a frame: multiples of 14, the shorter side about `input_size`."""
    if min(height, width, input_size) < 1:
        raise ValueError(f"frame {width}x{height} at input size {input_size}: all must be positive")
    target = adjusted_input_size(height, width, input_size)
    scale = max(target / width, target / height)
    return _patch_multiple(height * scale, target), _patch_multiple(width * scale, target)


def _patch_multiple(side: float, minimum: int) -> int:
    nearest = round(side / PATCH_SIZE) * PATCH_SIZE
    return nearest if nearest >= minimum else math.ceil(side / PATCH_SIZE) * PATCH_SIZE


def refuse_path(frames: object) -> None:
    """Raise TypeError if a path is given instead of frames."""
    if isinstance(frames, (str, bytes, os.PathLike)):
        raise TypeError(f"expected frames, not a path ({frames!r}); utils.dc_utils.read_video_frames reads them")


def as_frame(frame: npt.ArrayLike, index: int, size: tuple[int, int] | None) -> Image:
    """Check a frame of a video and convert it to an array.

    Args:
        frame: (H, W, 3) RGB, 0..255; an array or tensor of any real type on any device, or nested lists.
        index: its number.
        size: (H, W) of the video; None for the first frame.

    Returns:
        The frame itself if it is uint8, else in float32.

    Raises:
        TypeError: if it is a path.
        ValueError: naming the frame's number and what is wrong with it.
    """
    refuse_path(frame)
    if isinstance(frame, Tensor):
        frame = frame.detach().cpu()
        frame = frame.float() if frame.dtype == torch.bfloat16 else frame  # not supported by NumPy
    array = np.asarray(frame)
    if array.ndim != 3 or array.shape[2] != 3 or array.dtype.kind not in "uif":
        first = array.ndim == 3 and array.shape[0] == 3
        hint = "; channels come last: frame.permute(1, 2, 0), or transpose(1, 2, 0) in NumPy" if first else ""
        raise ValueError(f"frame {index} must be (H, W, 3) RGB numbers, got {array.shape} {array.dtype}{hint}")
    if size is not None and array.shape[:2] != size:
        height, width = array.shape[:2]
        raise ValueError(f"frame {index} is {width}x{height}, but the video began with {size[1]}x{size[0]}")
    if array.dtype == np.uint8:
        return array
    if not np.isfinite(array).all():
        raise ValueError(f"frame {index} has NaN or infinite pixels")
    if size is None and not 1 < array.max(initial=0) <= 255 and array.any():
        logger.warning("the first frame's largest value is %g; frames are expected to range from 0 to 255", array.max())
    return array.astype(np.float32, copy=False)


def preprocess(frame: Image, size: tuple[int, int]) -> npt.NDArray[np.float32]:
    """Resize a frame (H, W, 3) RGB, 0..255, to `size` (height, width), and normalise it: (3, height, width) float32."""
    planes = np.empty((3, *size), np.float32)
    whole = np.empty(frame.shape[:2], np.float32)
    # Plane by plane, because one plane fits into the caches, and NumPy is slow at broadcasting three values over all
    # pixels. Scaled to 0..1 after resizing, which is linear, because there are fewer pixels then.
    for plane, channel, mean, std in zip(planes, cv2.split(frame), MEAN, STD):
        if frame.shape[:2] == size:
            plane[:] = channel
        else:
            whole[:] = channel
            cv2.resize(whole, (size[1], size[0]), dst=plane, interpolation=cv2.INTER_CUBIC)
        plane /= 255 * std
        plane -= mean / std
    return planes


def preprocess_tensor(frames: Tensor, size: tuple[int, int]) -> Tensor:
    """Like `preprocess`, to float32 rounding, on the frames' device: (N, H, W, 3) to (N, 3, height, width)."""
    images = frames.permute(0, 3, 1, 2).float() / 255.0
    if images.shape[-2:] != size:
        # The same kernel as in OpenCV's bicubic resizing: Keys' with a = -0.75, edges repeated, no antialiasing.
        images = F.interpolate(images, size=size, mode="bicubic", align_corners=False, antialias=False)
    # Numbers, not tensors, which would be copied to the device while the host waits.
    for channel, mean, std in zip(images.unbind(1), MEAN.tolist(), STD.tolist()):
        channel.sub_(mean).div_(std)
    return images.contiguous()


def prepare(frames: Sequence[Image], size: tuple[int, int], device: torch.device) -> Tensor:
    """The network's input (N, 3, height, width) float32 on `device` for N frames as `as_frame` gives them.

    On a CPU, OpenCV resizes: it is faster, and the golden values were made with it. Other devices receive the bytes, a
    fraction of the data, and do the rest while the CPU continues.
    """
    if device.type == "cpu":
        return torch.from_numpy(np.stack([preprocess(frame, size) for frame in frames]))
    stacked = torch.from_numpy(np.stack(frames))
    if device.type == "cuda" and torch.cuda.is_available():
        stacked = stacked.pin_memory()
    # On MPS, unpinned memory would be read after it was freed.
    return preprocess_tensor(stacked.to(device, non_blocking=device.type == "cuda"), size)
