"""Parameter groups, the learning rate over the steps, and the running average of the weights."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping

import torch
from torch import Tensor, nn
from torch.optim import AdamW, Optimizer

from training.network import kind_of

FINAL_RATE = 0.01  # of the base rate, at the last step


def make_optimizer(model: nn.Module, rates: Mapping[str, float], weight_decay: float) -> AdamW:
    """AdamW (Loshchilov and Hutter, arXiv:1711.05101) over what is trainable.

    Biases, gains and position embeddings are not decayed.

    Args:
        rates: learning rate of "encoder", "head" and "motion".
    """
    groups: dict[tuple[str, bool], list[nn.Parameter]] = {}
    for name, parameter in model.named_parameters():
        if parameter.requires_grad:
            decayed = parameter.ndim > 1 and not name.endswith(("cls_token", "pos_embed"))
            groups.setdefault((kind_of(name), decayed), []).append(parameter)
    return AdamW(
        {"params": members, "lr": rates[kind], "base_lr": rates[kind], "weight_decay": weight_decay * decayed}
        for (kind, decayed), members in groups.items()
    )


def rate_factor(step: int, steps: int, warmup: int) -> float:
    """Share of the base learning rate at a step: a linear rise over `warmup` steps, then half a cosine down to 1 %."""
    if step < warmup:
        return (step + 1) / warmup
    progress = min((step - warmup) / max(steps - warmup, 1), 1.0)
    return FINAL_RATE + (1 - FINAL_RATE) * 0.5 * (1 + math.cos(math.pi * progress))


def set_rates(optimizer: Optimizer, factor: float) -> None:
    """Set every group's learning rate to this share of its base rate."""
    for group in optimizer.param_groups:
        group["lr"] = group["base_lr"] * factor


class WeightAverage:
    """Exponential moving average of the trainable weights, in float32.

    The decay rises with the steps, (1 + n) / (10 + n) up to `decay`, so that the start is forgotten.
    """

    def __init__(self, parameters: Iterable[tuple[str, nn.Parameter]], decay: float) -> None:
        self.decay = decay
        self.values: dict[str, Tensor] = {n: p.detach().clone() for n, p in parameters if p.requires_grad}

    @torch.no_grad()
    def update(self, parameters: Iterable[tuple[str, nn.Parameter]], step: int) -> None:
        """Move towards the weights after step number `step` (from 0)."""
        decay = min(self.decay, (1 + step) / (10 + step))
        named = {n: p.detach() for n, p in parameters if p.requires_grad}
        for name, value in self.values.items():
            value.lerp_(named[name].float(), 1 - decay)

    def load(self, values: Mapping[str, Tensor]) -> None:
        """Take over saved values."""
        for name, value in self.values.items():
            value.copy_(values[name])
