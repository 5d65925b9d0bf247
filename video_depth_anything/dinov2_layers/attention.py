"""The encoder's attention under the names that users of the original import; it is `dinov2.SelfAttention`.

It is PyTorch's `scaled_dot_product_attention` whatever the switch says, so there is nothing to turn off.
"""

from __future__ import annotations

from ..dinov2 import SelfAttention as Attention
from ..dinov2 import SelfAttention as MemEffAttention

XFORMERS_AVAILABLE = False
__all__ = ["XFORMERS_AVAILABLE", "Attention", "MemEffAttention"]
