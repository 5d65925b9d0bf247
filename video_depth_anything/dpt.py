"""The per-frame parts of the DPT head (Ranftl et al., arXiv:2103.13413): reassembly, fusion, output convolutions.

Attribute names are fixed by the public checkpoints (`head.*`).
Shapes: N frames, C channels, h x w patches; map i of the pyramid has 4h x 4w, 2h x 2w, h x w, h/2 x w/2 pixels.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch.nn.functional as F
from torch import Tensor, nn


def resize(x: Tensor, size: tuple[int, int]) -> Tensor:
    """Bilinear resize of (N, C, H, W) with aligned corners; the same size comes back untouched."""
    if x.shape[-2:] == size:
        return x
    return F.interpolate(x, size=size, mode="bilinear", align_corners=True)


class ResidualConvUnit(nn.Module):
    """x + conv2(relu(conv1(relu(x))))."""

    def __init__(self, features: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(features, features, 3, padding=1)
        self.conv2 = nn.Conv2d(features, features, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.conv2(F.relu(self.conv1(F.relu(x))))


class FusionBlock(nn.Module):
    """Add a skip branch to the coarser path, refine, and resize to the next finer map."""

    def __init__(self, features: int) -> None:
        super().__init__()
        self.out_conv = nn.Conv2d(features, features, 1)
        # Unused in the coarsest block, which has no skip; the checkpoints carry it all the same.
        self.resConfUnit1 = ResidualConvUnit(features)
        self.resConfUnit2 = ResidualConvUnit(features)

    def skip(self, x: Tensor) -> Tensor:
        """The skip branch up to the addition: it looks at one frame alone."""
        return self.resConfUnit1(x)

    def forward(self, path: Tensor, skip: Tensor | None, size: tuple[int, int]) -> Tensor:
        if skip is not None:
            path = path + skip
        # The 1x1 convolution is published after the resize. Both are linear and the resize weights sum to one, so
        # they commute; before it, the convolution has a quarter of the pixels.
        return resize(self.out_conv(self.resConfUnit2(path)), size)


class Scratch(nn.Module):
    """Convolutions to a common width, fusion blocks and output convolutions, under their published names."""

    def __init__(self, out_channels: Sequence[int], features: int) -> None:
        super().__init__()
        for level, channels in enumerate(out_channels, start=1):
            setattr(self, f"layer{level}_rn", nn.Conv2d(channels, features, 3, padding=1, bias=False))
        for level in range(1, len(out_channels) + 1):
            setattr(self, f"refinenet{level}", FusionBlock(features))
        self.output_conv1 = nn.Conv2d(features, features // 2, 3, padding=1)
        self.output_conv2 = nn.Sequential(
            nn.Conv2d(features // 2, 32, 3, padding=1), nn.ReLU(), nn.Conv2d(32, 1, 1), nn.ReLU()
        )

    def narrow(self, level: int, x: Tensor) -> Tensor:
        """Map of `level` (1 finest .. 4 coarsest) to the common width."""
        return getattr(self, f"layer{level}_rn")(x)

    def fusion(self, level: int) -> FusionBlock:
        block: FusionBlock = getattr(self, f"refinenet{level}")
        return block


class DPTHead(nn.Module):
    """Modules that make a pyramid of maps from tapped tokens, and the convolutions that fuse it.

    Args:
        in_channels: width of the tokens.
        features: width of the fusion path.
        out_channels: channels of the four maps.
    """

    def __init__(self, in_channels: int, features: int, out_channels: Sequence[int]) -> None:
        super().__init__()
        channels = tuple(out_channels)
        self.projects = nn.ModuleList(nn.Conv2d(in_channels, c, 1) for c in channels)
        self.resize_layers = nn.ModuleList(
            [
                nn.ConvTranspose2d(channels[0], channels[0], kernel_size=4, stride=4),
                nn.ConvTranspose2d(channels[1], channels[1], kernel_size=2, stride=2),
                nn.Identity(),
                nn.Conv2d(channels[3], channels[3], kernel_size=3, stride=2, padding=1),
            ]
        )
        self.scratch = Scratch(channels, features)
        # With the usual initialisation the final ReLU is dead on most inputs: depth 0 everywhere and no gradient.
        final = self.scratch.output_conv2[2]
        assert isinstance(final, nn.Conv2d) and final.bias is not None
        nn.init.ones_(final.bias)

    def project(self, tap: int, tokens: Tensor, grid: tuple[int, int]) -> Tensor:
        """Patch tokens (N, h * w, C) of a tap (0..3) to (N, out_channels[tap], h, w)."""
        # A transposed view is a channels-last map: nothing is copied, and the convolutions like that layout best.
        return self.projects[tap](tokens.transpose(1, 2).unflatten(2, grid))

    def reassemble(self, tap: int, tokens: Tensor, grid: tuple[int, int]) -> Tensor:
        """Patch tokens (N, h * w, C) of a tap (0..3) to its map of the pyramid."""
        return self.resize_layers[tap](self.project(tap, tokens, grid))

    def skip(self, level: int, projected: Tensor) -> Tensor:
        """The skip branch of `level` (1 or 2, the finest) from its tap's `project`; ready to be added to the path."""
        return self.scratch.fusion(level).skip(self.scratch.narrow(level, self.resize_layers[level - 1](projected)))
