"""Scales depth from a small network input up to the frame, along the frame's edges. Uses NumPy and OpenCV only."""

from __future__ import annotations

from typing import cast

import cv2
import numpy as np

from ..alignment import DepthMap
from ..transform import Image, network_size

# Radius of the filter's windows in pixels of the network's input, and the variance of brightness (0..1) above which an
# edge counts.
RADIUS, EPSILON = 2, 1e-3


def sharpen(depth: DepthMap, image: Image, input_size: int) -> DepthMap:
    """Align the edges of depth with those of its frame, which the network processed at a smaller size.

    Method: He and Sun, Fast guided filter, arXiv:1505.00996. Within each window, depth becomes a linear function of the
    frame's brightness; these functions are fitted at the network's size and applied at the frame's. The filter commutes
    with scaling and shifting depth.

    Args:
        depth: (H, W) float32, disparity or metres.
        image: (H, W, 3) RGB, 0..255.
        input_size: shorter side of the network's input in pixels.

    Returns:
        (H, W) float32, >= 0. The unchanged depth if some of it is not finite, or the frame is not larger than the
        input.
    """
    height, width = depth.shape
    low_height, low_width = network_size(height, width, input_size)
    if low_height >= height or not np.isfinite(depth).all():
        return depth
    low = (low_width, low_height)
    bright: DepthMap = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY).astype(np.float32)
    bright *= 1 / 255
    guide, small = (_resized(x, low, cv2.INTER_AREA) for x in (bright, depth))
    guide_mean, depth_mean = _mean(guide), _mean(small)
    slope = (_mean(guide * small) - guide_mean * depth_mean) / (_mean(guide * guide) - guide_mean**2 + EPSILON)
    offset = depth_mean - slope * guide_mean
    result = _resized(_mean(slope), (width, height))
    result *= bright
    result += _resized(_mean(offset), (width, height))
    return np.maximum(result, 0, out=result)


def _mean(x: DepthMap) -> DepthMap:
    return cast(DepthMap, cv2.blur(x, (2 * RADIUS + 1, 2 * RADIUS + 1), borderType=cv2.BORDER_REFLECT))


def _resized(x: DepthMap, size: tuple[int, int], how: int = cv2.INTER_LINEAR) -> DepthMap:
    return cast(DepthMap, cv2.resize(x, size, interpolation=how))
