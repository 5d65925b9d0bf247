"""The DPT head (Ranftl et al., arXiv:2103.13413), in pieces that process single frames.

Names of modules and parameters are fixed by the public checkpoints (`head.*`).
Shapes: N frames, C channels, h x w patches; map i of the pyramid has 4h x 4w, 2h x 2w, h x w, h/2 x w/2 pixels.
"""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn

from .config import PATCH_SIZE, check_published
from .frame_features import FrameFeatures
from .temporal_memory import float32_region
from .util.blocks import FeatureFusionBlock, Scratch, StridedConv2d, resize


class DPTHead(nn.Module):
    """Turns tokens of four blocks into depth.

    Args:
        in_channels: width of the tokens.
        features: width of the fusion path.
        use_bn: False; the published networks have no batch norm.
        out_channels: channels of the four maps.
        use_clstoken: False; the published networks do not read the class token.
    """

    def __init__(
        self,
        in_channels: int,
        features: int = 256,
        use_bn: bool = False,
        out_channels: Sequence[int] = (256, 512, 1024, 1024),
        use_clstoken: bool = False,
    ) -> None:
        super().__init__()
        check_published({"use_bn": use_bn, "use_clstoken": use_clstoken}, {"use_bn": False, "use_clstoken": False})
        self.use_clstoken = use_clstoken
        channels = tuple(out_channels)
        self.projects = nn.ModuleList(nn.Conv2d(in_channels, c, 1) for c in channels)
        self.resize_layers = nn.ModuleList(
            [
                nn.ConvTranspose2d(channels[0], channels[0], kernel_size=4, stride=4),
                nn.ConvTranspose2d(channels[1], channels[1], kernel_size=2, stride=2),
                nn.Identity(),
                StridedConv2d(channels[3], channels[3], kernel_size=3, stride=2, padding=1),
            ]
        )
        self.scratch = Scratch(channels, features)
        for level in range(1, len(channels) + 1):
            setattr(self.scratch, f"refinenet{level}", FeatureFusionBlock(features))
        self.scratch.output_conv1 = nn.Conv2d(features, features // 2, 3, padding=1)
        final = nn.Conv2d(32, 1, 1)
        # With the usual initialisation the final ReLU is dead on most inputs: depth 0 everywhere and no gradient.
        assert final.bias is not None
        nn.init.ones_(final.bias)
        self.scratch.output_conv2 = nn.Sequential(
            nn.Conv2d(features // 2, 32, 3, padding=1), nn.ReLU(), final, nn.ReLU()
        )

    def project(self, tap: int, tokens: Tensor, grid: tuple[int, int]) -> Tensor:
        """Project patch tokens (N, h * w, C) of a tap (0..3) to (N, out_channels[tap], h, w)."""
        # A transposed view is a channels-last map: nothing is copied, and convolutions are fastest in that layout.
        return self.projects[tap](tokens.transpose(1, 2).unflatten(2, grid))

    def encode(self, taps: Sequence[tuple[Tensor, ...]], grid: tuple[int, int]) -> FrameFeatures:
        """The part before all motion modules, from patch tokens (N, h * w, C) of four taps."""
        map1, map2, map3, map4 = (self.project(i, tap[0], grid) for i, tap in enumerate(taps))
        # `refine` enlarges the two finest maps, so that the large ones exist for a few frames only, not for a window.
        return FrameFeatures(map1, map2, self.resize_layers[2](map3), self.resize_layers[3](map4))

    def coarse(self, map3: Tensor, map4: Tensor) -> tuple[Tensor, Tensor]:
        """Turn maps as in `FrameFeatures` into the path and its skip branch in `fine`, both (N, features, h, w)."""
        skip = self.scratch.narrow(3, map3)
        return self.scratch.fusion(4)(self.scratch.narrow(4, map4), size=tuple(skip.shape[-2:])), skip

    def fine(self, path: Tensor, skip: Tensor) -> Tensor:
        """Compute the next finer map (N, features, 2h, 2w)."""
        return self.scratch.fusion(3)(path, skip)

    def refine(self, path: Tensor, map2: Tensor, map1: Tensor) -> Tensor:
        """Turn the path after `fine`, and maps as in `FrameFeatures`, into (N, features / 2, 8h, 8w)."""
        for level, projected in ((2, map2), (1, map1)):
            skip = self.scratch.narrow(level, self.resize_layers[level - 1](projected))
            path = self.scratch.fusion(level)(path, skip)
        return self.scratch.output_conv1(path)

    def finish(self, maps: Tensor) -> Tensor:
        """Turn (N, features / 2, 8h, 8w) into depth (N, 14h, 14w), float32."""
        height, width = (PATCH_SIZE * side // 8 for side in maps.shape[-2:])
        out = resize(maps, (height, width))
        # Half precision has too few levels for depth, so the end of the head is float32 with any autocast type.
        with float32_region(out.device.type):
            return self.scratch.output_conv2(out.float()).squeeze(1)

    def forward(self, out_features: Sequence[tuple[Tensor, ...]], patch_h: int, patch_w: int) -> Tensor:
        """Depth of independent images.

        Args:
            out_features: of the four taps, patch tokens (N, h * w, C) and class token.
            patch_h: h.
            patch_w: w.

        Returns:
            (N, 1, 14h, 14w) float32, >= 0.
        """
        features = self.encode(out_features, (patch_h, patch_w))
        path = self.fine(*self.coarse(features.map3, features.map4))
        return self.finish(self.refine(path, features.map2, features.map1)).unsqueeze(1)
