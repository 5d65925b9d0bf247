"""Parts of the encoder, under the names and with the arguments of DINOv2 (Oquab et al., arXiv:2304.07193)."""

from __future__ import annotations

from .attention import Attention, MemEffAttention
from .block import Block, NestedTensorBlock
from .layer_scale import LayerScale
from .mlp import Mlp
from .patch_embed import PatchEmbed

__all__ = ["Attention", "Block", "LayerScale", "MemEffAttention", "Mlp", "NestedTensorBlock", "PatchEmbed"]
