"""The training network on what a cache holds: token maps, or the stream that enters the encoder's live blocks.

Shapes: B clips, T frames, N frames, h x w patches, L = h w, C encoder width.
"""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor

from training.network import Grid, TrainingNetwork, token_maps
from training.settings import Stage
from video_depth_anything.config import PATCH_SIZE
from video_depth_anything.dinov2 import DinoVisionTransformer
from video_depth_anything.video_depth import VideoDepthAnything


def encode_frozen(model: VideoDepthAnything, images: Tensor, blocks: int) -> tuple[Tensor, ...]:
    """What the frozen part of the encoder makes of frames.

    Args:
        model: the network.
        images: (N, 3, H, W) float32, normalised.
        blocks: how many of the encoder's last blocks are live in training.

    Returns:
        Without live blocks the four token maps (N, L, C). With them the maps below the stream that enters these
        blocks, and the stream (N, 1 + L, C): before the norm, class token first. Other maps follow from the stream.
    """
    if not blocks:
        return token_maps(model, images)
    encoder = model.pretrained
    stream: list[Tensor] = []
    hook = encoder.blocks[-blocks - 1].register_forward_hook(lambda *call: stream.append(call[-1]))
    try:
        maps = token_maps(model, images)
    finally:
        hook.remove()
    below = sum(tap < len(encoder.blocks) - blocks - 1 for tap in encoder.taps)
    return *maps[:below], stream[0]


def maps_from_stream(encoder: DinoVisionTransformer, stream: Tensor, blocks: int) -> list[Tensor]:
    """The token maps (.., L, C) that follow from the stream (.., 1 + L, C) that enters the last `blocks` blocks."""
    leading, x = stream.shape[:-2], stream.flatten(0, -3)
    depth, maps = len(encoder.blocks), []
    for index in range(depth - blocks - 1, depth):
        if index >= depth - blocks:
            x = encoder.blocks[index](x)
        if index in encoder.taps:
            maps.append(encoder.norm(x)[:, 1:].unflatten(0, leading))
    return maps


class CachedNetwork(TrainingNetwork):
    """As `TrainingNetwork`, on images or on what a cache holds.

    That is the four token maps (B, T, h, w, C), or those below the live blocks and the stream (B, T, 1 + L, C).

    Args:
        model: the network.
        stage, recompute: as `TrainingNetwork`.
        coarse: compute depth (.., 2h, 2w) in training: the finer half of the head works on maps that are not enlarged.
        encoder_blocks: how many of the encoder's last blocks are live.
    """

    def __init__(
        self,
        model: VideoDepthAnything,
        stage: Stage,
        recompute: bool = False,
        coarse: bool = False,
        encoder_blocks: int = 0,
    ) -> None:
        super().__init__(model, stage, recompute)
        self.coarse = coarse
        self.encoder_blocks = encoder_blocks

    def tokens(self, inputs: tuple[Tensor, ...]) -> tuple[tuple[Tensor, ...], Grid]:
        if len(inputs) == 1:
            return super().tokens(inputs)
        grid = (inputs[0].shape[2], inputs[0].shape[3])
        if not self.encoder_blocks:
            return tuple(x.flatten(2, 3) for x in inputs), grid
        *maps, stream = inputs
        live = maps_from_stream(self.model.pretrained, stream, self.encoder_blocks)
        return (*(x.flatten(2, 3) for x in maps), *live), grid

    def finest(self, path: Tensor, map2: Tensor, map1: Tensor, grid: Grid) -> Tensor:
        if not (self.coarse and self.training):
            return super().finest(path, map2, map1, grid)
        head, size = self.model.head, (path.shape[-2], path.shape[-1])
        finer, finest = head.resize_layers[1](map2), F.avg_pool2d(head.resize_layers[0](map1), 2)
        for level, skip in ((2, finer), (1, finest)):
            path = head.scratch.fusion(level)(path, head.scratch.narrow(level, skip), size)
        return head.scratch.output_conv1(path)

    def pixels(self, maps: Tensor) -> Tensor:
        step = PATCH_SIZE // 2
        return maps[..., step // 2 :: step, step // 2 :: step] if self.coarse else maps
