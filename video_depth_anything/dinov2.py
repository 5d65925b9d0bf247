"""DINOv2 vision transformer (Oquab et al., arXiv:2304.07193), cut down to what depth estimation reads.

Attribute names are fixed by the public checkpoints (`pretrained.*`); everything else is free.
Shapes: N images, C channels, H x W pixels, h x w patches of 14 x 14.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .config import PATCH_SIZE, POSITION_GRID, ModelConfig, get_config

# The published encoder was trained with this offset in the scale factors handed to the interpolation.
# It shifts every sampling point, so leaving it out changes the result.
POSITION_SCALE_OFFSET = 0.1
QUERIES_AT_ONCE = 256


class TokenMap(NamedTuple):
    """Output of one tapped block: patch tokens (N, h * w, C) and the class token (N, C)."""

    patches: Tensor
    class_token: Tensor


class PatchEmbed(nn.Module):
    """Image (N, 3, H, W) to patch tokens (N, h * w, C)."""

    def __init__(self, embed_dim: int) -> None:
        super().__init__()
        self.proj = nn.Conv2d(3, embed_dim, kernel_size=PATCH_SIZE, stride=PATCH_SIZE)

    def forward(self, images: Tensor) -> Tensor:
        return self.proj(images).flatten(2).transpose(1, 2)


def attend(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """Scaled dot-product attention of (N, heads, length, width) in the way that is fastest on the device."""
    if q.device.type == "cpu" and q.dtype == torch.bfloat16 and not torch.is_grad_enabled():
        return _attend_in_blocks(q, k, v)
    return F.scaled_dot_product_attention(q, k, v)


def _attend_in_blocks(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """Attention by matrix products, some queries at a time, so that their scores stay in the cache.

    PyTorch's fused kernel leaves half of a CPU's bf16 rate unused: with 2,443 tokens, 6 heads and two AVX-512 cores it
    takes 69 ms, this 47. In float32 the fused kernel is the faster one.
    """
    q, k, v = (q * q.shape[-1] ** -0.5).contiguous(), k.contiguous().transpose(-1, -2), v.contiguous()
    # Heads side by side within a token, as the projection that follows reads them.
    out = torch.empty_like(q.transpose(1, 2), memory_format=torch.contiguous_format).transpose(1, 2)
    length = q.shape[2]
    count = min(QUERIES_AT_ONCE, length)
    # Buffers of our own: given back and asked for at each block, memory of this size costs as much as the products.
    scores, weights = q.new_empty(2, *q.shape[:2], count, length)
    for start in range(0, length, count):
        first = min(start, length - count)  # the last block overlaps the one before
        rows = slice(first, first + count)
        torch.matmul(q[:, :, rows], k, out=scores)
        torch.softmax(scores, -1, out=weights)
        out[:, :, rows] = weights @ v
    return out


class SelfAttention(nn.Module):
    """Multi-head self-attention over all tokens of one image, q, k and v packed in one projection."""

    def __init__(self, dim: int, num_heads: int) -> None:
        super().__init__()
        self.num_heads = num_heads
        self.qkv = nn.Linear(dim, 3 * dim)
        self.proj = nn.Linear(dim, dim)

    def forward(self, x: Tensor) -> Tensor:
        n, length, dim = x.shape
        q, k, v = self.qkv(x).view(n, length, 3, self.num_heads, dim // self.num_heads).permute(2, 0, 3, 1, 4)
        x = attend(q, k, v)  # (N, heads, length, dim / heads)
        return self.proj(x.transpose(1, 2).reshape(n, length, dim))


class Mlp(nn.Module):
    """Two-layer perceptron with exact GELU."""

    def __init__(self, dim: int, hidden_dim: int) -> None:
        super().__init__()
        self.fc1 = nn.Linear(dim, hidden_dim)
        self.fc2 = nn.Linear(hidden_dim, dim)

    def forward(self, x: Tensor) -> Tensor:
        return self.fc2(F.gelu(self.fc1(x)))


class LayerScale(nn.Module):
    """Learned gain per channel of a residual branch (Touvron et al., arXiv:2103.17239)."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.gamma = nn.Parameter(torch.ones(dim))

    def forward(self, x: Tensor) -> Tensor:
        return x * self.gamma


class Block(nn.Module):
    """Pre-norm transformer block."""

    def __init__(self, dim: int, num_heads: int) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(dim, eps=1e-6)
        self.attn = SelfAttention(dim, num_heads)
        self.ls1 = LayerScale(dim)
        self.norm2 = nn.LayerNorm(dim, eps=1e-6)
        self.mlp = Mlp(dim, 4 * dim)
        self.ls2 = LayerScale(dim)

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.ls1(self.attn(self.norm1(x)))
        return x + self.ls2(self.mlp(self.norm2(x)))


class DinoVisionTransformer(nn.Module):
    """The encoder: images to the token maps of four tapped blocks.

    Args:
        config: dimensions of the variant.
    """

    patch_size = PATCH_SIZE

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        dim = self.embed_dim = config.embed_dim
        self.taps = config.taps
        self.patch_embed = PatchEmbed(dim)
        self.cls_token = nn.Parameter(torch.zeros(1, 1, dim))
        self.pos_embed = nn.Parameter(torch.zeros(1, 1 + POSITION_GRID**2, dim))
        # Only DINOv2's own training uses it; the checkpoints carry it, and they load strictly.
        self.mask_token = nn.Parameter(torch.zeros(1, dim))
        self.blocks = nn.ModuleList(Block(dim, config.num_heads) for _ in range(config.depth))
        self.norm = nn.LayerNorm(dim, eps=1e-6)
        self._init_weights()

    def _init_weights(self) -> None:
        if self.cls_token.is_meta:
            # There is nothing to draw, and PyTorch would import its compiler to find that out: seconds at each start.
            return
        nn.init.trunc_normal_(self.pos_embed, std=0.02)
        nn.init.normal_(self.cls_token, std=1e-6)
        for module in self.modules():
            if isinstance(module, nn.Linear):
                nn.init.trunc_normal_(module.weight, std=0.02)
                nn.init.zeros_(module.bias)

    def position_embedding(self, h: int, w: int) -> Tensor:
        """Position embeddings (1, 1 + h * w, C) in float32 for a grid of h x w patches, class token first."""
        stored = self.pos_embed.float()
        if h == w == POSITION_GRID:
            return stored
        dim = stored.shape[-1]
        grid = stored[:, 1:].reshape(1, POSITION_GRID, POSITION_GRID, dim).permute(0, 3, 1, 2)
        scale = ((h + POSITION_SCALE_OFFSET) / POSITION_GRID, (w + POSITION_SCALE_OFFSET) / POSITION_GRID)
        grid = F.interpolate(grid, scale_factor=scale, mode="bicubic", align_corners=False)
        return torch.cat((stored[:, :1], grid.flatten(2).transpose(1, 2)), dim=1)

    def forward(self, images: Tensor, position: Tensor | None = None) -> list[TokenMap]:
        """Encode images.

        Args:
            images: (N, 3, H, W) normalised RGB; H and W multiples of 14.
            position: what `position_embedding` gives for this size, if it is known already.

        Returns:
            One `TokenMap` per tapped block, shallow to deep, each after the final LayerNorm.

        Raises:
            ValueError: if H or W is not a multiple of 14.
        """
        return [self._tokens(x, normalised=True) for x in self._run_blocks(images, self.taps, position)]

    def _run_blocks(self, images: Tensor, chosen: Collection[int], position: Tensor | None = None) -> list[Tensor]:
        """Tokens (N, 1 + h * w, C) after the chosen blocks, class token first."""
        height, width = (int(side) for side in images.shape[-2:])
        if height % PATCH_SIZE or width % PATCH_SIZE:
            raise ValueError(f"image size {height}x{width} is not a multiple of {PATCH_SIZE}")
        x = self.patch_embed(images)
        class_token = self.cls_token.expand(x.shape[0], -1, -1)
        x = torch.cat((class_token.to(x.dtype), x), dim=1)
        # In the parameters' type, so that under autocast the residual stream stays float32: with half-precision
        # residuals the error against float32 doubles.
        if position is None:
            position = self.position_embedding(height // PATCH_SIZE, width // PATCH_SIZE)
        x = x + position.to(self.pos_embed.dtype)
        outputs = []
        for index, block in enumerate(self.blocks):
            x = block(x)
            if index in chosen:
                outputs.append(x)
        return outputs

    def _tokens(self, x: Tensor, normalised: bool) -> TokenMap:
        x = self.norm(x) if normalised else x
        return TokenMap(x[:, 1:], x[:, 0])

    def get_intermediate_layers(
        self,
        images: Tensor,
        n: int | Sequence[int] = 1,
        reshape: bool = False,
        return_class_token: bool = False,
        norm: bool = True,
    ) -> tuple[TokenMap, ...] | tuple[Tensor, ...]:
        """Tokens of any blocks, as DINOv2 gives them; `forward` is for depth.

        Args:
            images: (N, 3, H, W) normalised RGB; H and W multiples of 14.
            n: indices of the blocks, or how many of the last ones.
            reshape: whether patch tokens come as maps (N, C, h, w), not as (N, h * w, C).
            return_class_token: whether the class token (N, C) comes with them.
            norm: whether tokens go through the final LayerNorm.

        Returns:
            For each block, shallow to deep, its patch tokens, or a pair of them and the class token.

        Raises:
            ValueError: if H or W is not a multiple of 14.
        """
        chosen = range(len(self.blocks) - n, len(self.blocks)) if isinstance(n, int) else n
        taps = [self._tokens(x, norm) for x in self._run_blocks(images, chosen)]
        if reshape:
            grid = (images.shape[-2] // PATCH_SIZE, images.shape[-1] // PATCH_SIZE)
            taps = [tap._replace(patches=tap.patches.transpose(1, 2).unflatten(2, grid)) for tap in taps]
        return tuple(taps) if return_class_token else tuple(tap.patches for tap in taps)


def DINOv2(model_name: str) -> DinoVisionTransformer:
    """The encoder of a variant, under the name that users of the original import.

    Args:
        model_name: "vits", "vitb" or "vitl".

    Raises:
        ValueError: if there is no such variant.
    """
    return DinoVisionTransformer(get_config(model_name))
