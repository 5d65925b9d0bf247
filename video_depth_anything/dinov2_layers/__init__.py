"""Parts of the encoder under the names that users of the original import; they live in `..dinov2`."""

from __future__ import annotations

from ..dinov2 import Block, LayerScale, Mlp, PatchEmbed
from .attention import Attention, MemEffAttention

__all__ = ["Attention", "Block", "LayerScale", "MemEffAttention", "Mlp", "PatchEmbed"]
