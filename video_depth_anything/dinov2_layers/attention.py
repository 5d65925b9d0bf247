"""Self-attention of the encoder, by PyTorch's `scaled_dot_product_attention`."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

# Users of the original set this to switch xformers off; there is nothing to switch off here.
XFORMERS_AVAILABLE = False
QUERIES_AT_ONCE = 256
# Metal aborts the process at buffers of 4 GiB, and PyTorch stores all scores of a call in one there.
MAX_SCORE_BYTES_MPS = 1 << 31


def attend(q: Tensor, k: Tensor, v: Tensor, dropout: float = 0.0) -> Tensor:
    """Scaled dot-product attention of (N, heads, length, width), by the fastest method for the device."""
    if q.device.type == "cpu" and q.dtype == torch.bfloat16 and not torch.is_grad_enabled():
        return _attend_in_blocks(q, k, v)
    if q.device.type == "mps":
        return attend_in_groups(q, k, v, MAX_SCORE_BYTES_MPS, dropout)
    return F.scaled_dot_product_attention(q, k, v, dropout_p=dropout)


def attend_in_groups(q: Tensor, k: Tensor, v: Tensor, max_bytes: int, dropout: float = 0.0) -> Tensor:
    """Attention in groups of images, or of one image's heads, whose float32 scores fit into a number of bytes."""
    heads = max(max_bytes // (4 * q.shape[2] * k.shape[2]), 1)
    images = max(heads // q.shape[1], 1)
    groups = []
    for group in zip(*(x.split(images) for x in (q, k, v))):
        parts = [
            F.scaled_dot_product_attention(*part, dropout_p=dropout)  # type: ignore[misc]
            for part in zip(*(x.split(heads, dim=1) for x in group))
        ]
        groups.append(torch.cat(parts, dim=1))
    return torch.cat(groups)


def _attend_in_blocks(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """Attention by matrix products over blocks of queries, whose scores stay in the cache.

    PyTorch's fused kernel reaches half of a CPU's bf16 rate: with 2,443 tokens, 6 heads and two AVX-512 cores it takes
    69 ms, this function 47. In float32 the fused kernel is faster.
    """
    q, k, v = (q * q.shape[-1] ** -0.5).contiguous(), k.contiguous().transpose(-1, -2), v.contiguous()
    # Heads are adjacent within a token, as the next projection reads them.
    out = torch.empty_like(q.transpose(1, 2), memory_format=torch.contiguous_format).transpose(1, 2)
    length = q.shape[2]
    count = min(QUERIES_AT_ONCE, length)
    # Allocated once: allocating this much memory for each block would cost as much as the products.
    scores, weights = q.new_empty(2, *q.shape[:2], count, length)
    for start in range(0, length, count):
        first = min(start, length - count)  # the last block overlaps the one before
        rows = slice(first, first + count)
        torch.matmul(q[:, :, rows], k, out=scores)
        torch.softmax(scores, -1, out=weights)
        out[:, :, rows] = weights @ v
    return out


class Attention(nn.Module):
    """Multi-head self-attention over all tokens of an image; one layer projects to queries, keys and values."""

    def __init__(
        self,
        dim: int,
        num_heads: int = 8,
        qkv_bias: bool = False,
        proj_bias: bool = True,
        attn_drop: float = 0.0,
        proj_drop: float = 0.0,
    ) -> None:
        super().__init__()
        self.num_heads = num_heads
        self.scale = (dim // num_heads) ** -0.5
        self.qkv = nn.Linear(dim, 3 * dim, bias=qkv_bias)
        self.attn_drop = nn.Dropout(attn_drop)
        self.proj = nn.Linear(dim, dim, bias=proj_bias)
        self.proj_drop = nn.Dropout(proj_drop)

    def forward(self, x: Tensor) -> Tensor:
        n, length, dim = x.shape
        q, k, v = self.qkv(x).view(n, length, 3, self.num_heads, dim // self.num_heads).permute(2, 0, 3, 1, 4)
        x = attend(q, k, v, self.attn_drop.p if self.training else 0.0)  # (N, heads, length, dim / heads)
        return self.proj_drop(self.proj(x.transpose(1, 2).reshape(n, length, dim)))


MemEffAttention = Attention
