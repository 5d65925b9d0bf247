"""The training loop: one step, and what is saved of it."""

from __future__ import annotations

import io
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn.parallel import DistributedDataParallel
from torch.optim.lr_scheduler import LambdaLR

from training.batches import Batch
from training.losses import (
    TrimmedProcrustesLoss,
    VideoDepthLoss,
    keep_loss,
    log_gradient_loss,
    log_loss,
    scale_loss,
    silog_loss,
)
from training.network import TrainingNetwork, set_trainable
from training.optimisation import freeze_coarse, make_optimizer, rate_factor, running_average
from training.processes import ProcessGroup
from training.settings import Settings
from video_depth_anything.config import PATCH_SIZE
from video_depth_anything.device import Execution
from video_depth_anything.errors import OutputError, UsageError, UserError
from video_depth_anything.files import whole_file

STATE = "state.pth"
# A resumed run may differ in these; everything else shapes the weights.
FREE_SETTINGS = ("steps",)


class DivergedError(UserError):
    """Training cannot go on; what was saved before stays good."""


class Trainer:
    """A network in training, which is on its device, and all that must be saved to go on with it.

    With `accumulate` above 1 a batch goes through the network in so many parts, one after the other. Losses see the
    whole batch all the same: it is computed once without gradients, then part by part with the gradient of its depth.
    `guide` is a network whose distances are kept (`keep_weight`).
    """

    def __init__(
        self,
        network: TrainingNetwork,
        settings: Settings,
        execution: Execution,
        group: ProcessGroup,
        accumulate: int = 1,
        guide: TrainingNetwork | None = None,
    ) -> None:
        self.settings = settings
        self.guide = guide.eval().requires_grad_(False) if guide else None
        self.accumulate = accumulate
        self.execution = execution
        self.group = group
        self.network = network.train()
        self.model = network.model
        set_trainable(self.model, settings.stage, settings.encoder_lr > 0, settings.lr > 0, settings.encoder_blocks)
        if settings.coarse_share == 0:
            freeze_coarse(self.model)
        self.trained = {n: p for n, p in self.model.named_parameters() if p.requires_grad}
        rates = {"head": settings.lr, "motion": settings.motion_lr, "encoder": settings.encoder_lr}
        rates["coarse"] = settings.lr * settings.coarse_share
        self.optimizer = make_optimizer(self.trained.items(), rates, settings.weight_decay)
        self.average = running_average(self.trained.values(), settings.ema)
        # Half precision needs its gradients scaled; bfloat16 has float32's range.
        self.scaler = torch.amp.GradScaler(execution.device.type, enabled=execution.autocast_dtype == torch.float16)
        self.spatial = TrimmedProcrustesLoss(settings.alpha, trim=settings.trim)
        self.video = VideoDepthLoss(
            settings.alpha, trim=settings.trim, stable_scale=settings.stable_weight, formula=settings.formula
        )
        self._begin(0)
        self._parallel: nn.Module = self.network
        if group.size > 1:
            devices = [execution.device] if execution.device.type == "cuda" else None
            self._parallel = DistributedDataParallel(self.network, device_ids=devices)

    def _begin(self, step: int) -> None:
        self.step = step
        settings = self.settings
        self.schedule = LambdaLR(
            self.optimizer, lambda step: rate_factor(step, settings.steps, settings.warmup), last_epoch=step - 1
        )

    def train_step(self, batch: Batch) -> dict[str, float]:
        """Train on one batch (this process's share of it); returns the losses, gradient norm and learning rate.

        Raises:
            DivergedError: if the loss is not finite in float32 or bfloat16.
        """
        losses = self.gradients(batch)
        self.scaler.unscale_(self.optimizer)
        norm = nn.utils.clip_grad_norm_(self.trained.values(), self.settings.clip_norm or torch.inf)
        result = {name: float(value.detach()) for name, value in losses.items()}
        if not self.scaler.is_enabled() and not np.isfinite([result["total_loss"], float(norm)]).all():
            raise DivergedError(f"step {self.step}: the loss is not finite; try a lower --lr, or --precision fp32")
        rate = max(group["lr"] for group in self.optimizer.param_groups)
        self.scaler.step(self.optimizer)
        self.scaler.update()
        self.schedule.step()
        self.average.update_parameters(nn.ParameterList(self.trained.values()))
        self.step += 1
        return {**result, "grad_norm": float(norm), "lr": rate}

    def gradients(self, batch: Batch) -> dict[str, Tensor]:
        """The batch's losses, and their gradients in the weights, scaled by the scaler."""
        self.optimizer.zero_grad(set_to_none=True)
        slots = self._slots(batch.target.shape[1])
        device = self.execution.device
        inputs = (x.to(device, torch.float32, non_blocking=True) for x in batch.inputs)
        parts = list(zip(*(x.chunk(self.accumulate) for x in inputs)))
        with torch.set_grad_enabled(len(parts) == 1):
            prediction = torch.cat([self._predict(part, slots) for part in parts])
        if len(parts) > 1:
            prediction.requires_grad_()
        target, valid = (self.network.pixels(x[:, slots]).to(device) for x in (batch.target, batch.valid))
        losses = self.losses(*(self.group.whole_batch(x) for x in (prediction, target, valid.to(torch.uint8))))
        if self.guide is not None:
            with torch.no_grad(), self.execution.autocast():
                kept = torch.cat([self.guide(part, slots) for part in parts])
            both = [self.group.whole_batch(x).flatten(0, 1) for x in (prediction, kept)]
            tie = self.settings.keep_weight * keep_loss(both[0], both[1], PATCH_SIZE)
            losses |= {"keep_loss": tie, "total_loss": losses["total_loss"] + tie}
        # Each process has its own share of the whole batch's gradient; DistributedDataParallel takes their mean.
        self.scaler.scale(losses["total_loss"] * self.group.size).backward()
        if len(parts) > 1:
            assert prediction.grad is not None
            for number, (part, gradient) in enumerate(zip(parts, prediction.grad.chunk(self.accumulate))):
                with self._together(number == len(parts) - 1):
                    self._predict(part, slots).backward(gradient)
        return losses

    def _predict(self, inputs: tuple[Tensor, ...], slots: list[int]) -> Tensor:
        with self.execution.autocast():
            depth: Tensor = self._parallel(inputs, slots)
        return depth

    def _together(self, yes: bool) -> AbstractContextManager[None]:
        """Context in which processes add up their gradients, or do not yet."""
        parallel = self._parallel
        return parallel.no_sync() if isinstance(parallel, DistributedDataParallel) and not yes else nullcontext()

    def losses(self, prediction: Tensor, target: Tensor, valid: Tensor) -> dict[str, Tensor]:
        """The stage's losses of (B, T, H, W) maps, `total_loss` among them."""
        valid = valid.bool()
        flat = prediction.flatten(0, 1), target.flatten(0, 1), valid.flatten(0, 1)
        if self.settings.metric:
            spatial = silog_loss(prediction, target, valid)
            losses = {"spatial_loss": spatial, "total_loss": spatial}
            if self.settings.stage == "clip":
                stable = self.video.stable_scale * self.video.stable_loss(prediction, target, valid)
                losses |= {"stable_loss": stable, "total_loss": spatial + stable}
        elif self.settings.stage == "clip":
            losses = self.video(prediction, target, valid)
        else:
            spatial = self.spatial(*flat)
            losses = {"spatial_loss": spatial, "total_loss": spatial}
        settings, flat = self.settings, (*flat[:2], flat[2].to(prediction.dtype))
        ties: dict[str, tuple[float, Callable[..., Tensor]]] = {
            "scale_loss": (settings.scale_weight, scale_loss),
            "log_loss": (settings.log_weight, log_loss),
            "log_gradient_loss": (
                settings.log_gradient_weight,
                partial(log_gradient_loss, boundary_weight=settings.boundary_weight),
            ),
        }
        for name, (weight, loss) in ties.items():
            if weight > 0:
                losses[name] = weight * loss(*flat)
                losses["total_loss"] = losses["total_loss"] + losses[name]
        return losses

    def _slots(self, frames: int) -> list[int]:
        """The frames of this step's clips that are rendered; the same in all processes."""
        render = min(self.settings.render or frames, frames)
        first = int(np.random.default_rng([self.settings.seed, 2, self.step]).integers(frames - render + 1))
        return list(range(first, first + render))

    def averaged(self) -> dict[str, Tensor]:
        """The averages of the trained weights by the model's names."""
        return {name: value.detach() for name, value in zip(self.trained, self.average.parameters())}

    @torch.no_grad()
    def predict(self, inputs: tuple[Tensor, ...], slots: list[int]) -> Tensor:
        """What `TrainingNetwork` gives with the averaged weights, on the CPU."""
        weights = {f"model.{name}": value for name, value in self.averaged().items()}
        inputs = tuple(x.to(self.execution.device, torch.float32) for x in inputs)
        self.network.eval()
        with self.execution.autocast():
            depth: Tensor = functional_call(self.network, weights, (inputs, slots))
        self.network.train()
        return depth.cpu()

    def averaged_state(self) -> dict[str, Tensor]:
        """A full state dict on the CPU with the averaged weights."""
        return {n: v.detach().cpu() for n, v in (self.model.state_dict() | self.averaged()).items()}

    def state(self) -> dict[str, Any]:
        """All that training needs to go on; the frozen weights come from the starting checkpoint again."""
        return {
            "settings": asdict(self.settings),
            "step": self.step,
            "weights": {n: p.detach() for n, p in self.trained.items()},
            "average": self.average.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "scaler": self.scaler.state_dict(),
        }

    def load(self, state: Mapping[str, Any]) -> None:
        """Take over a saved state.

        Raises:
            UsageError: naming the setting that differs.
        """
        own = asdict(self.settings)
        for name, value in state["settings"].items():
            if name not in FREE_SETTINGS and own.get(name) != value:
                raise UsageError(f"the run to resume has --{name} {value}, not {own.get(name)}; name another --output")
        with torch.no_grad():
            for name, value in state["weights"].items():
                self.trained[name].copy_(value)
        self.average.load_state_dict(state["average"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.scaler.load_state_dict(state["scaler"])
        self._begin(state["step"])


def save_state(trainer: Trainer, folder: Path) -> None:
    """Write the state to go on from, whole or not at all."""
    with whole_file(folder / STATE) as partial:
        torch.save(trainer.state(), partial)


def load_state(folder: Path, group: ProcessGroup) -> dict[str, Any] | None:
    """Read the main process's state that `save_state` wrote, in all processes; None if there is none.

    Raises:
        OutputError: if it is damaged.
    """
    path = folder / STATE
    content = group.agree(path.read_bytes() if group.is_main and path.is_file() else None)
    if content is None:
        return None
    try:
        state: dict[str, Any] = torch.load(io.BytesIO(content), map_location="cpu", weights_only=True)
    except Exception as error:  # torch raises a dozen types for damaged files
        raise OutputError(f"{path}: damaged; delete it to start over") from error
    return state
