"""Attention and feed-forward layers of the motion modules. Names of modules are fixed by the public checkpoints."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

# Users of the original set this to switch xformers off; there is nothing to switch off here.
XFORMERS_AVAILABLE = False


class CrossAttention(nn.Module):
    """Multi-head attention of (N, L, query_dim) to itself, or to (N, M, cross_attention_dim)."""

    def __init__(
        self,
        query_dim: int,
        cross_attention_dim: int | None = None,
        heads: int = 8,
        dim_head: int = 64,
        dropout: float = 0.0,
        bias: bool = False,
    ) -> None:
        super().__init__()
        inner, cross = heads * dim_head, cross_attention_dim or query_dim
        self.heads, self.scale = heads, dim_head**-0.5
        self.to_q = nn.Linear(query_dim, inner, bias=bias)
        self.to_k = nn.Linear(cross, inner, bias=bias)
        self.to_v = nn.Linear(cross, inner, bias=bias)
        self.to_out = nn.ModuleList([nn.Linear(inner, query_dim), nn.Dropout(dropout)])

    def forward(
        self, hidden_states: Tensor, encoder_hidden_states: Tensor | None = None, attention_mask: Tensor | None = None
    ) -> Tensor:
        context = hidden_states if encoder_hidden_states is None else encoder_hidden_states
        projected = (self.to_q(hidden_states), self.to_k(context), self.to_v(context))
        q, k, v = (x.unflatten(-1, (self.heads, -1)).transpose(1, 2) for x in projected)
        x = F.scaled_dot_product_attention(q, k, v, attention_mask)  # (N, heads, L, dim_head)
        return self.to_out[1](self.to_out[0](x.transpose(1, 2).flatten(2)))


class GEGLU(nn.Module):
    """One projection to value and gate, value * gelu(gate) (Shazeer, arXiv:2002.05202)."""

    def __init__(self, dim_in: int, dim_out: int) -> None:
        super().__init__()
        self.proj = nn.Linear(dim_in, 2 * dim_out)

    def forward(self, x: Tensor) -> Tensor:
        value, gate = self.proj(x).chunk(2, dim=-1)
        return value * F.gelu(gate)


class FeedForward(nn.Module):
    """Gated two-layer perceptron; the identity keeps the checkpoints' numbering `net.0`, `net.2`."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.net = nn.Sequential(GEGLU(dim, 4 * dim), nn.Identity(), nn.Linear(4 * dim, dim))

    def forward(self, x: Tensor) -> Tensor:
        return self.net(x)
