"""Convolutional blocks of the DPT head (Ranftl et al., arXiv:2103.13413)."""

from __future__ import annotations

from collections.abc import Sequence

import torch.nn.functional as F
from torch import Tensor, nn

from ..config import check_published


def resize(x: Tensor, size: tuple[int, int]) -> Tensor:
    """Bilinear resize of (N, C, H, W) with aligned corners; a map of that size is returned unchanged."""
    if x.shape[-2:] == size:
        return x
    return F.interpolate(x, size=size, mode="bilinear", align_corners=True)


class StridedConv2d(nn.Conv2d):
    """`nn.Conv2d` with one stride for both sides, also correct in bfloat16 on CPUs with AMX.

    There, oneDNN 3.12 (PyTorch 2.14, OpenVINO 2026.4) computes outputs one pixel wide wrongly, so these get a second
    column, which is dropped.
    """

    def forward(self, x: Tensor) -> Tensor:
        width, stride = x.shape[-1], self.stride[0]
        if isinstance(width, int) and width <= stride:  # an exported graph's width is a symbol, and computed in float32
            return super().forward(F.pad(x, (0, stride)))[..., :1]
        return super().forward(x)


class ResidualConvUnit(nn.Module):
    """x + conv2(relu(conv1(relu(x))))."""

    def __init__(self, features: int, activation: nn.Module | None = None, bn: bool = False) -> None:
        super().__init__()
        check_published({"bn": bn}, {"bn": False})
        self.activation = activation or nn.ReLU()
        self.conv1 = nn.Conv2d(features, features, 3, padding=1)
        self.conv2 = nn.Conv2d(features, features, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.conv2(self.activation(self.conv1(self.activation(x))))


class FeatureFusionBlock(nn.Module):
    """Add a skip branch to the coarser path, refine, and resize: to `size`, or to twice the path's."""

    def __init__(
        self,
        features: int,
        activation: nn.Module | None = None,
        deconv: bool = False,
        bn: bool = False,
        expand: bool = False,
        align_corners: bool = True,
        size: tuple[int, int] | None = None,
    ) -> None:
        super().__init__()
        given = {"deconv": deconv, "bn": bn, "expand": expand, "align_corners": align_corners}
        check_published(given, {"deconv": False, "bn": False, "expand": False, "align_corners": True})
        self.size = size
        self.out_conv = nn.Conv2d(features, features, 1)
        # Unused in the coarsest block, which has no skip, but present in the checkpoints.
        self.resConfUnit1 = ResidualConvUnit(features, activation)
        self.resConfUnit2 = ResidualConvUnit(features, activation)

    def forward(self, path: Tensor, skip: Tensor | None = None, size: Sequence[int] | None = None) -> Tensor:
        if skip is not None:
            path = path + self.resConfUnit1(skip)
        height, width = size or self.size or (2 * path.shape[-2], 2 * path.shape[-1])
        # The 1x1 convolution is published after the resize. Both are linear and the resize weights sum to one, so
        # they commute; before it, the convolution has a quarter of the pixels.
        return resize(self.out_conv(self.resConfUnit2(path)), (height, width))


class Scratch(nn.Module):
    """Convolutions `layer1_rn` .. to a common width; the head adds the blocks that follow, under published names."""

    output_conv1: nn.Conv2d
    output_conv2: nn.Sequential

    def __init__(self, in_shape: Sequence[int], out_shape: int) -> None:
        super().__init__()
        for level, channels in enumerate(in_shape, start=1):
            setattr(self, f"layer{level}_rn", nn.Conv2d(channels, out_shape, 3, padding=1, bias=False))

    def narrow(self, level: int, x: Tensor) -> Tensor:
        """Project the map of `level` (1 finest .. 4 coarsest) to the common width."""
        return getattr(self, f"layer{level}_rn")(x)

    def fusion(self, level: int) -> FeatureFusionBlock:
        block: FeatureFusionBlock = getattr(self, f"refinenet{level}")
        return block


def _make_scratch(in_shape: Sequence[int], out_shape: int, groups: int = 1, expand: bool = False) -> Scratch:
    check_published({"groups": groups, "expand": expand}, {"groups": 1, "expand": False})
    return Scratch(in_shape, out_shape)
