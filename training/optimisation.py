"""The optimizer's parameter groups, the learning rate over the steps, and the running average of the weights."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping

from torch import Tensor, nn
from torch.optim import AdamW
from torch.optim.swa_utils import AveragedModel

from training.network import kind_of

FINAL_RATE = 0.01  # of the base rate, at the last step
# The head's coarser half, up to the map of two pixels a patch and side: all that the motion modules read.
COARSE = (
    *("head.projects.2.", "head.projects.3.", "head.resize_layers.3."),
    *("head.scratch.layer3_rn.", "head.scratch.layer4_rn.", "head.scratch.refinenet3.", "head.scratch.refinenet4."),
)


def make_optimizer(parameters: Iterable[tuple[str, nn.Parameter]], rates: Mapping[str, float], decay: float) -> AdamW:
    """AdamW (Loshchilov and Hutter, arXiv:1711.05101) with the rates of "encoder", "coarse", "head" and "motion".

    Biases, gains and position embeddings are not decayed.
    """
    groups: dict[tuple[str, bool], list[nn.Parameter]] = {}
    for name, parameter in parameters:
        decayed = parameter.ndim > 1 and not name.endswith(("cls_token", "pos_embed"))
        kind = "coarse" if name.startswith(COARSE) else kind_of(name)
        groups.setdefault((kind, decayed), []).append(parameter)
    return AdamW(
        {"params": members, "lr": rates[kind], "weight_decay": decay * decayed}
        for (kind, decayed), members in groups.items()
    )


def freeze_coarse(model: nn.Module) -> None:
    """Let no gradient reach the head's coarser half, so that no backward pass goes through it."""
    for name, parameter in model.named_parameters():
        if name.startswith(COARSE):
            parameter.requires_grad_(False)


def rate_factor(step: int, steps: int, warmup: int) -> float:
    """Share of the base learning rate at a step: a linear rise over `warmup` steps, then half a cosine down to 1 %."""
    if step < warmup:
        return (step + 1) / warmup
    progress = min((step - warmup) / max(steps - warmup, 1), 1.0)
    return FINAL_RATE + (1 - FINAL_RATE) * 0.5 * (1 + math.cos(math.pi * progress))


def running_average(parameters: Iterable[nn.Parameter], decay: float) -> AveragedModel:
    """Exponential moving average of parameters; its decay rises with the updates, (1 + n) / (10 + n) up to `decay`."""

    def average(old: Tensor, new: Tensor, updates: Tensor | int) -> Tensor:
        return old.lerp(new, 1 - min(decay, (1 + int(updates)) / (10 + int(updates))))

    return AveragedModel(nn.ParameterList(parameters), avg_fn=average)
