"""From a video frame to the network's input: the size rule, resizing, normalisation."""

from __future__ import annotations

import math
from collections.abc import Sequence

import cv2
import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from torch import Tensor

from .config import PATCH_SIZE

# Frames longer than 16:9 get fewer rows, so that the number of tokens stays about that of a 16:9 frame.
MAX_RATIO = 1.78
RATIO_16_9 = 1.777
# Mean and standard deviation of ImageNet, which DINOv2 was trained with.
MEAN = np.array([0.485, 0.456, 0.406], dtype=np.float32)
STD = np.array([0.229, 0.224, 0.225], dtype=np.float32)


def adjusted_input_size(height: int, width: int, input_size: int) -> int:
    """`input_size`, reduced to a multiple of 14 for frames whose sides differ by more than 16:9; at least 14."""
    ratio = max(height, width) / min(height, width)
    if ratio <= MAX_RATIO:
        return input_size
    return max(round(int(input_size * RATIO_16_9 / ratio) / PATCH_SIZE), 1) * PATCH_SIZE


def network_size(height: int, width: int, input_size: int) -> tuple[int, int]:
    """Size (height, width) of the network's input for a frame: multiples of 14, the shorter side about `input_size`.

    Raises:
        ValueError: if a side or `input_size` is not positive.
    """
    if min(height, width, input_size) < 1:
        raise ValueError(f"frame {width}x{height} at input size {input_size}: all must be positive")
    target = adjusted_input_size(height, width, input_size)
    scale = max(target / width, target / height)
    return _patch_multiple(height * scale, target), _patch_multiple(width * scale, target)


def _patch_multiple(side: float, minimum: int) -> int:
    nearest = round(side / PATCH_SIZE) * PATCH_SIZE
    return nearest if nearest >= minimum else math.ceil(side / PATCH_SIZE) * PATCH_SIZE


def preprocess(frame: npt.NDArray[np.uint8], size: tuple[int, int]) -> npt.NDArray[np.float32]:
    """Resize and normalise one frame.

    Args:
        frame: (H, W, 3) uint8, RGB.
        size: (height, width) of the result.

    Returns:
        (3, height, width) float32.
    """
    image = frame.astype(np.float32)
    image /= 255.0
    if image.shape[:2] != size:
        resized = cv2.resize(image, (size[1], size[0]), interpolation=cv2.INTER_CUBIC)
        image = np.asarray(resized, dtype=np.float32)
    image -= MEAN
    image /= STD
    return np.ascontiguousarray(image.transpose(2, 0, 1))


def preprocess_tensor(frames: Tensor, size: tuple[int, int]) -> Tensor:
    """Resize and normalise frames where they are: what `preprocess` does, to float32 rounding.

    Args:
        frames: (N, H, W, 3) uint8, RGB.
        size: (height, width) of the result.

    Returns:
        (N, 3, height, width) float32.
    """
    images = frames.permute(0, 3, 1, 2).float() / 255.0
    if images.shape[-2:] != size:
        # The same kernel as OpenCV's bicubic one: Keys' with a = -0.75, edges repeated, no antialiasing.
        images = F.interpolate(images, size=size, mode="bicubic", align_corners=False, antialias=False)
    mean, std = (torch.from_numpy(x).to(images.device).view(1, 3, 1, 1) for x in (MEAN, STD))
    return images.sub_(mean).div_(std).contiguous()


def prepare(frames: Sequence[npt.NDArray[np.uint8]], size: tuple[int, int], device: torch.device) -> Tensor:
    """The network's input (N, 3, height, width) float32 on `device`, from (H, W, 3) uint8 RGB frames.

    On a CPU OpenCV resizes, which is faster there and what the golden values were made with. Elsewhere the bytes are
    sent, a twelfth of the data at 1080p and `size` 518 high, and the device does the rest while the CPU goes on.
    """
    if device.type == "cpu":
        return torch.from_numpy(np.stack([preprocess(frame, size) for frame in frames]))
    stacked = torch.from_numpy(np.stack(frames))
    if device.type == "cuda" and torch.cuda.is_available():
        stacked = stacked.pin_memory()
    return preprocess_tensor(stacked.to(device, non_blocking=True), size)
