"""The network in the original's order of work, as a yardstick: from the same weights, computed plainly.

It shares no layer with the network it is compared with, so that what is improved there does not improve the yardstick.
What is plain about it:

* attention is a matrix of scores, a softmax and a second product, all heads and frames (or pixels) at once;
* maps are contiguous (N, C, H, W); the 1x1 convolution of a fusion block comes after its resize; every resize is done;
* all frames that are given go through the encoder, and through each motion module, together.

`plain_inference.py` adds the order of work over a video.
Shapes: T frames, C channels, h x w patches, P pixels of a map.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from video_depth_anything.config import PATCH_SIZE, POSITION_GRID, ModelConfig

TEMPORAL_HEADS = 8
# The original renders the fine end of the head four frames at a time.
FINE_FRAMES = 4
# Attention of a motion module: (name of the attention, states (T, P, C) after the norm) to (T, P, C).
Attend = Callable[[str, Tensor], Tensor]


class PlainFeatures(NamedTuple):
    """What the encoder gives of T frames: four token maps (T, h * w, C), and the grid (h, w)."""

    taps: list[Tensor]
    grid: tuple[int, int]


def attention(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """Softmax attention of (.., heads, L, C) with all its scores in memory."""
    return (q * q.shape[-1] ** -0.5 @ k.transpose(-2, -1)).softmax(-1) @ v


class PlainNetwork:
    """The network by the names of its weights.

    Args:
        state: as the checkpoints have it, on the device to compute on; shared, not copied, where its layout allows.
        config: dimensions of that variant.
    """

    def __init__(self, state: Mapping[str, Tensor], config: ModelConfig, metric: bool) -> None:
        self.metric = metric
        self._weights = {name: weight.contiguous() for name, weight in state.items()}
        self._config = config

    def encode(self, images: Tensor) -> PlainFeatures:
        """Token maps of (T, 3, H, W) normalised RGB."""
        h, w = images.shape[-2] // PATCH_SIZE, images.shape[-1] // PATCH_SIZE
        x = self._convolve("pretrained.patch_embed.proj", images, stride=PATCH_SIZE).flatten(2).transpose(1, 2)
        x = torch.cat((self._weights["pretrained.cls_token"].expand(len(x), -1, -1), x), dim=1)
        x = x + self._positions(h, w)
        taps = []
        for index in range(self._config.depth):
            name = f"pretrained.blocks.{index}"
            normed = self._norm(f"{name}.norm1", x, 1e-6)
            x = x + self._weights[f"{name}.ls1.gamma"] * self._self_attention(f"{name}.attn", normed)
            hidden = F.gelu(self._linear(f"{name}.mlp.fc1", self._norm(f"{name}.norm2", x, 1e-6)))
            x = x + self._weights[f"{name}.ls2.gamma"] * self._linear(f"{name}.mlp.fc2", hidden)
            if index in self._config.taps:
                taps.append(self._norm("pretrained.norm", x, 1e-6)[:, 1:])
        return PlainFeatures(taps, (h, w))

    def decode(self, features: PlainFeatures, attend: Attend | None = None) -> Tensor:
        """Depth (T, 14h, 14w) float32 of the frames encoded; they are one window unless `attend` knows better."""
        mix = attend or self._attend_window
        (h, w), head = features.grid, "head.scratch"
        maps = [self._reassemble(level, tokens, features.grid) for level, tokens in enumerate(features.taps)]
        maps[2], maps[3] = self._motion(0, maps[2], mix), self._motion(1, maps[3], mix)
        maps = [self._convolve(f"{head}.layer{level}_rn", x, padding=1) for level, x in enumerate(maps, start=1)]
        path = self._motion(2, self._fuse(4, maps[3], None, (h, w)), mix)
        path = self._motion(3, self._fuse(3, path, maps[2], (2 * h, 2 * w)), mix)
        parts = zip(*(x.split(FINE_FRAMES) for x in (path, maps[1], maps[0])))
        return torch.cat([self._finish(coarse, map2, map1, (h, w)) for coarse, map2, map1 in parts])

    def _finish(self, path: Tensor, map2: Tensor, map1: Tensor, grid: tuple[int, int]) -> Tensor:
        h, w = grid
        path = self._fuse(1, self._fuse(2, path, map2, (4 * h, 4 * w)), map1, (8 * h, 8 * w))
        path = self._resize(self._convolve("head.scratch.output_conv1", path, padding=1), (14 * h, 14 * w))
        with torch.autocast(path.device.type, enabled=False):
            x = F.relu(self._convolve("head.scratch.output_conv2.0", path.float(), padding=1))
            x = F.relu(self._convolve("head.scratch.output_conv2.2", x))
            return F.relu(self._resize(x, (14 * h, 14 * w))).squeeze(1)

    def _positions(self, h: int, w: int) -> Tensor:
        stored = self._weights["pretrained.pos_embed"]
        if h == w == POSITION_GRID:
            return stored
        grid = stored[:, 1:].unflatten(1, (POSITION_GRID, POSITION_GRID)).permute(0, 3, 1, 2)
        scale = ((h + 0.1) / POSITION_GRID, (w + 0.1) / POSITION_GRID)
        grid = F.interpolate(grid, scale_factor=scale, mode="bicubic")
        return torch.cat((stored[:, :1], grid.flatten(2).transpose(1, 2)), dim=1)

    def _self_attention(self, name: str, x: Tensor) -> Tensor:
        packed = self._linear(f"{name}.qkv", x).unflatten(-1, (3, self._config.num_heads, -1))
        mixed = attention(*packed.permute(2, 0, 3, 1, 4))
        return self._linear(f"{name}.proj", mixed.transpose(1, 2).flatten(2))

    def _reassemble(self, level: int, tokens: Tensor, grid: tuple[int, int]) -> Tensor:
        x = self._convolve(f"head.projects.{level}", tokens.transpose(1, 2).unflatten(2, grid).contiguous())
        name = f"head.resize_layers.{level}"
        if level < 2:
            weight, bias = (self._weights[f"{name}.{part}"] for part in ("weight", "bias"))
            return F.conv_transpose2d(x, weight, bias, stride=weight.shape[-1])
        return x if level == 2 else self._convolve(name, x, padding=1, stride=2)

    def _motion(self, index: int, maps: Tensor, attend: Attend) -> Tensor:
        name = f"head.motion_modules.{index}.temporal_transformer"
        weight, bias = (self._weights[f"{name}.norm.{part}"] for part in ("weight", "bias"))
        x = F.group_norm(maps, 32, weight, bias, 1e-6).flatten(2).transpose(1, 2)  # (T, P, C)
        x = self._linear(f"{name}.proj_in", x)
        block = f"{name}.transformer_blocks.0"
        for number in range(2):
            x = x + attend(f"{block}.attention_blocks.{number}", self._norm(f"{block}.norms.{number}", x, 1e-5))
        value, gate = self._linear(f"{block}.ff.net.0.proj", self._norm(f"{block}.ff_norm", x, 1e-5)).chunk(2, dim=-1)
        x = x + self._linear(f"{block}.ff.net.2", value * F.gelu(gate))
        return maps + self._linear(f"{name}.proj_out", x).transpose(1, 2).reshape(maps.shape)

    def _attend_window(self, name: str, x: Tensor) -> Tensor:
        return self.attend(name, x, x)

    def attend(self, name: str, new: Tensor, window: Tensor) -> Tensor:
        """Temporal attention of frames (T, P, C), the last ones of a window, to the whole window."""
        states = window.transpose(0, 1)
        states = states + self._weights[f"{name}.pos_encoder.pe"][:, : len(window)]
        inputs = (states[:, -len(new) :], states, states)
        q, k, v = (
            self._linear(f"{name}.{part}", x).unflatten(-1, (TEMPORAL_HEADS, -1)).transpose(1, 2)
            for part, x in zip(("to_q", "to_k", "to_v"), inputs)
        )
        return self._linear(f"{name}.to_out.0", attention(q, k, v).transpose(1, 2).flatten(2)).transpose(0, 1)

    def _fuse(self, level: int, path: Tensor, skip: Tensor | None, size: tuple[int, int]) -> Tensor:
        name = f"head.scratch.refinenet{level}"
        if skip is not None:
            path = path + self._residual(f"{name}.resConfUnit1", skip)
        path = self._resize(self._residual(f"{name}.resConfUnit2", path), size)
        return self._convolve(f"{name}.out_conv", path)

    def _residual(self, name: str, x: Tensor) -> Tensor:
        hidden = self._convolve(f"{name}.conv1", F.relu(x), padding=1)
        return x + self._convolve(f"{name}.conv2", F.relu(hidden), padding=1)

    def _linear(self, name: str, x: Tensor) -> Tensor:
        return F.linear(x, self._weights[f"{name}.weight"], self._weights.get(f"{name}.bias"))

    def _norm(self, name: str, x: Tensor, eps: float) -> Tensor:
        weight, bias = (self._weights[f"{name}.{part}"] for part in ("weight", "bias"))
        return F.layer_norm(x, weight.shape, weight, bias, eps)

    def _convolve(self, name: str, x: Tensor, padding: int = 0, stride: int = 1) -> Tensor:
        weight, bias = self._weights[f"{name}.weight"], self._weights.get(f"{name}.bias")
        return F.conv2d(x, weight, bias, stride=stride, padding=padding)

    @staticmethod
    def _resize(x: Tensor, size: tuple[int, int]) -> Tensor:
        return F.interpolate(x, size=size, mode="bilinear", align_corners=True)
