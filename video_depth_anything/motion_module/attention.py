"""The switch that users of the original set; the attention itself is `motion_module.TemporalAttention`.

It is PyTorch's `scaled_dot_product_attention` whatever the switch says, so there is nothing to turn off.
"""

from __future__ import annotations

XFORMERS_AVAILABLE = False
