"""DINOv2 vision transformer (Oquab et al., arXiv:2304.07193), as far as depth estimation needs it.

Names of modules and parameters are fixed by the public checkpoints (`pretrained.*`).
Shapes: N images, C channels, H x W pixels, h x w patches of 14 x 14.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .config import PATCH_SIZE, POSITION_GRID, ModelConfig, check_published, get_config
from .dinov2_layers import Block, PatchEmbed

# The published encoder was trained with this offset in the interpolation's scale factors.
# It shifts every sampling point, so leaving it out changes the result.
POSITION_SCALE_OFFSET = 0.1
# Arguments of the original's constructors, and the values that the published encoders have.
PUBLISHED = {
    "img_size": POSITION_GRID * PATCH_SIZE,
    "patch_size": PATCH_SIZE,
    "in_chans": 3,
    "mlp_ratio": 4,
    "qkv_bias": True,
    "ffn_bias": True,
    "proj_bias": True,
    "drop_path_rate": 0.0,
    "drop_path_uniform": False,
    "init_values": 1.0,
    "ffn_layer": "mlp",
    "block_chunks": 0,
    "num_register_tokens": 0,
    "interpolate_antialias": False,
    "interpolate_offset": POSITION_SCALE_OFFSET,
}


class DinoVisionTransformer(nn.Module):
    """The encoder: turns images into the tokens of selected blocks.

    Args:
        config: dimensions of the variant.
    """

    patch_size = PATCH_SIZE
    num_tokens = 1
    num_register_tokens = 0
    interpolate_antialias = False
    interpolate_offset = POSITION_SCALE_OFFSET
    chunked_blocks = False

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        dim = self.embed_dim = self.num_features = config.embed_dim
        self.n_blocks, self.num_heads = config.depth, config.num_heads
        self.taps = config.taps
        self.patch_embed = PatchEmbed(POSITION_GRID * PATCH_SIZE, PATCH_SIZE, 3, dim)
        self.cls_token = nn.Parameter(torch.zeros(1, 1, dim))
        self.pos_embed = nn.Parameter(torch.zeros(1, 1 + POSITION_GRID**2, dim))
        # Only DINOv2's own training uses it; the checkpoints carry it, and they load strictly.
        self.mask_token = nn.Parameter(torch.zeros(1, dim))
        norm = partial(nn.LayerNorm, eps=1e-6)
        self.blocks = nn.ModuleList(
            Block(dim, config.num_heads, qkv_bias=True, init_values=1.0, norm_layer=norm) for _ in range(config.depth)
        )
        self.norm = norm(dim)
        self.head = nn.Identity()
        self._init_weights()

    def _init_weights(self) -> None:
        if self.cls_token.is_meta:
            # Meta tensors need no initialisation, for which PyTorch would import its compiler: seconds at each start.
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

    def interpolate_pos_encoding(self, x: Tensor, w: int, h: int) -> Tensor:
        """Position embeddings in the type of tokens `x`; the original calls the image's height `w`, its width `h`."""
        return self.position_embedding(w // PATCH_SIZE, h // PATCH_SIZE).to(x.dtype)

    def prepare_tokens_with_masks(
        self, images: Tensor, masks: Tensor | None = None, position: Tensor | None = None
    ) -> Tensor:
        """Tokens (N, 1 + h * w, C) that enter the first block, class token first.

        Args:
            images: (N, 3, H, W) normalised RGB; H and W multiples of 14.
            masks: (N, h * w) bool, the patches that the mask token replaces.
            position: result of `position_embedding` for this size, if already known.
        """
        x = self.patch_embed(images)
        if masks is not None:
            x = torch.where(masks.unsqueeze(-1), self.mask_token.to(x.dtype), x)
        x = torch.cat((self.cls_token.expand(x.shape[0], -1, -1).to(x.dtype), x), dim=1)
        if position is None:
            h, w = (int(side) // PATCH_SIZE for side in images.shape[-2:])
            position = self.position_embedding(h, w)
        # In the parameters' type, so that under autocast the residual stream stays float32: with half-precision
        # residuals the error against float32 doubles.
        return x + position.to(self.pos_embed.dtype)

    def get_intermediate_layers(
        self,
        x: Tensor,
        n: int | Sequence[int] = 1,
        reshape: bool = False,
        return_class_token: bool = False,
        norm: bool = True,
        position: Tensor | None = None,
    ) -> tuple[Any, ...]:
        """Tokens of selected blocks.

        Args:
            x: (N, 3, H, W) normalised RGB; H and W multiples of 14.
            n: indices of the blocks, or how many of the last ones.
            reshape: whether patch tokens come as maps (N, C, h, w), not as (N, h * w, C).
            return_class_token: whether the class token (N, C) comes with them.
            norm: whether tokens go through the final LayerNorm.
            position: see `prepare_tokens_with_masks`.

        Returns:
            For each block, shallow to deep, its patch tokens, or a pair of them and the class token.

        Raises:
            ValueError: if H or W is not a multiple of 14.
        """
        grid = (x.shape[-2] // PATCH_SIZE, x.shape[-1] // PATCH_SIZE)
        chosen = range(len(self.blocks) - n, len(self.blocks)) if isinstance(n, int) else n
        x = self.prepare_tokens_with_masks(x, position=position)
        outputs = []
        for index, block in enumerate(self.blocks):
            x = block(x)
            if index in chosen:
                tokens = self.norm(x) if norm else x
                patches = tokens[:, 1:]
                if reshape:
                    patches = patches.transpose(1, 2).unflatten(2, grid)
                outputs.append((patches, tokens[:, 0]) if return_class_token else patches)
        return tuple(outputs)

    def forward_features(self, x: Tensor, masks: Tensor | None = None) -> dict[str, Tensor | None]:
        """All tokens after the last block, by the names that DINOv2 gives them."""
        x = self.prepare_tokens_with_masks(x, masks)
        for block in self.blocks:
            x = block(x)
        tokens = self.norm(x)
        return {
            "x_norm_clstoken": tokens[:, 0],
            "x_norm_regtokens": tokens[:, 1:1],
            "x_norm_patchtokens": tokens[:, 1:],
            "x_prenorm": x,
            "masks": masks,
        }

    def forward(self, x: Tensor, masks: Tensor | None = None, is_training: bool = False) -> Any:
        """Class token (N, C) after the last block; with `is_training`, the result of `forward_features`."""
        features = self.forward_features(x, masks)
        return features if is_training else self.head(features["x_norm_clstoken"])


def _variant(name: str, **given: object) -> DinoVisionTransformer:
    check_published(given, PUBLISHED)
    return DinoVisionTransformer(get_config(name))


# DINOv2's constructors. Without arguments they build the published encoder, not one for patches of 16.
vit_small = partial(_variant, "vits")
vit_base = partial(_variant, "vitb")
vit_large = partial(_variant, "vitl")


def DINOv2(model_name: str) -> DinoVisionTransformer:
    """Make the encoder of a variant, "vits", "vitb" or "vitl"; ValueError for other names."""
    return DinoVisionTransformer(get_config(model_name))
