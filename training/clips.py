"""Training and test clips, from rendered scenes or RGB-D folders."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt


@dataclass(frozen=True)
class Clip:
    """T consecutive frames with depth and camera.

    Attributes:
        images: (T, H, W, 3) uint8, RGB.
        depth: (T, H, W) float32, metres along the optical axis; `inf` is sky (disparity 0), 0 is unknown.
        intrinsics: (3, 3) float64, in pixels of these images; pixel centres at whole numbers.
        poses: (T, 4, 4) float64, camera to world in metres, OpenCV axes (x right, y down, z forward), or None.
    """

    images: npt.NDArray[np.uint8]
    depth: npt.NDArray[np.float32]
    intrinsics: npt.NDArray[np.float64]
    poses: npt.NDArray[np.float64] | None

    @property
    def valid(self) -> npt.NDArray[np.bool_]:
        """(T, H, W): where depth is known; sky is known."""
        return self.depth > 0

    @property
    def disparity(self) -> npt.NDArray[np.float32]:
        """(T, H, W) float32: inverse depth seen by a camera whose focal length is the image's width; 0: sky or unknown.

        In 1/metres for such a camera (53 degrees wide), times f / W for others: an object that appears twice as large
        has twice the disparity, at any zoom. So it can be predicted from an image alone, while inverse metres would
        also need the focal length (the canonical camera of Yin et al., arXiv:2307.10984).
        """
        focal = np.float32(self.intrinsics[0, 0] / self.images.shape[2])
        with np.errstate(divide="ignore"):
            return np.where(self.valid, focal / self.depth, np.float32(0))
