"""The training loop: one step, what is saved of it, and validation."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from training.batches import Batch, Position
from training.losses import TemporalFormula, TrimmedProcrustesLoss, VideoDepthLoss, log_loss, scale_loss
from training.network import Stage, TrainingNetwork, coarse_pixels, set_trainable
from training.optimisation import WeightAverage, make_optimizer, rate_factor, set_rates
from training.processes import ProcessGroup
from video_depth_anything.device import Execution
from video_depth_anything.errors import OutputError, UsageError, UserError
from video_depth_anything.files import whole_file
from video_depth_anything.video_depth import VideoDepthAnything

STATE = "state.pth"
# A resumed run may differ in these; everything else shapes the weights.
FREE_SETTINGS = ("steps",)


class DivergedError(UserError):
    """Training cannot go on; what was saved before stays good."""


@dataclass(frozen=True)
class Settings:
    """What a training run is, as far as it decides the weights.

    Attributes:
        stage: "image" trains single frames without motion modules, "clip" trains clips with them.
        steps: how many there are; the learning rate follows it.
        batch_size: clips of all processes together in a step.
        frames: frames a clip.
        render: frames of a clip whose depth is computed, neighbours in time; the others are only mixed in. 0 for all.
        coarse: whether depth is computed and compared at two pixels a patch and side.
        lr: learning rate of the head's parts that see one frame; 0 freezes them.
        motion_lr: learning rate of the motion modules.
        encoder_lr: learning rate of the encoder, or of its live blocks; 0 freezes them.
        encoder_blocks: how many of the encoder's last blocks are live: computed in each step from the stream that
            enters them, and trained, while the others are frozen. 0: with `encoder_lr` all of the encoder is trained.
        weight_decay: of AdamW.
        warmup: steps in which the learning rates rise.
        clip_norm: the largest gradient norm; 0 for any.
        ema: decay of the averaged weights.
        alpha: weight of gradient matching.
        trim: share of the largest errors that is left out.
        formula: of the temporal loss, see `TemporalGradientMatchingLoss`.
        stable_weight: weight of the temporal loss.
        scale_weight: weight of `scale_loss`.
        log_weight: weight of `log_loss`.
        seed: decides what is drawn.
    """

    stage: Stage = "image"
    steps: int = 1000
    batch_size: int = 8
    frames: int = 1
    render: int = 0
    coarse: bool = False
    lr: float = 1e-4
    motion_lr: float = 1e-4
    encoder_lr: float = 0.0
    encoder_blocks: int = 0
    weight_decay: float = 0.01
    warmup: int = 100
    clip_norm: float = 1.0
    ema: float = 0.999
    alpha: float = 0.5
    trim: float = 0.0
    formula: TemporalFormula = "published"
    stable_weight: float = 10.0
    scale_weight: float = 0.05
    log_weight: float = 0.0
    seed: int = 0


class Trainer:
    """A network in training, and all that must be saved to go on with it."""

    def __init__(
        self, model: VideoDepthAnything, settings: Settings, execution: Execution, group: ProcessGroup
    ) -> None:
        self.settings = settings
        self.execution = execution
        self.group = group
        set_trainable(model, settings.stage, settings.encoder_lr > 0, settings.lr > 0, settings.encoder_blocks)
        self.model = model.to(execution.device).to(memory_format=torch.channels_last).train()
        rates = {"head": settings.lr, "motion": settings.motion_lr, "encoder": settings.encoder_lr}
        self.optimizer = make_optimizer(self.model, rates, settings.weight_decay)
        self.average = WeightAverage(self.model.named_parameters(), settings.ema)
        # Half precision needs its gradients scaled; bfloat16 has float32's range.
        self.scaler = torch.amp.GradScaler(execution.device.type, enabled=execution.autocast_dtype == torch.float16)
        self.spatial = TrimmedProcrustesLoss(settings.alpha, trim=settings.trim)
        self.video = VideoDepthLoss(
            settings.alpha, trim=settings.trim, stable_scale=settings.stable_weight, formula=settings.formula
        )
        self.step = 0
        self.position = Position()
        self._network: nn.Module = TrainingNetwork(self.model, settings.stage, settings.coarse, settings.encoder_blocks)
        if group.size > 1:
            devices = [execution.device] if execution.device.type == "cuda" else None
            self._network = DistributedDataParallel(self._network, device_ids=devices)

    def train_step(self, batch: Batch) -> dict[str, float]:
        """Train on one batch (this process's share of it); returns the losses, gradient norm and learning rate.

        Raises:
            DivergedError: if the loss is not finite in float32 or bfloat16.
        """
        set_rates(self.optimizer, rate_factor(self.step, self.settings.steps, self.settings.warmup))
        self.optimizer.zero_grad(set_to_none=True)
        slots = self._slots(batch.disparity.shape[1])
        device = self.execution.device
        inputs = tuple(x.to(device, torch.float32, non_blocking=True) for x in batch.inputs)
        with self.execution.autocast():
            prediction = self._network(inputs, slots)
        target, valid = (x[:, slots].to(device) for x in (batch.disparity, batch.valid))
        if self.settings.coarse:
            target, valid = coarse_pixels(target), coarse_pixels(valid)
        losses = self.losses(*(self.group.whole_batch(x) for x in (prediction, target, valid.to(torch.uint8))))
        # Each process has its own share of the whole batch's gradient; DistributedDataParallel takes their mean.
        self.scaler.scale(losses["total_loss"] * self.group.size).backward()
        self.scaler.unscale_(self.optimizer)
        trained = [p for group in self.optimizer.param_groups for p in group["params"]]
        norm = nn.utils.clip_grad_norm_(trained, self.settings.clip_norm or torch.inf)
        result = {name: float(value.detach()) for name, value in losses.items()}
        if not self.scaler.is_enabled() and not np.isfinite([result["total_loss"], float(norm)]).all():
            raise DivergedError(f"step {self.step}: the loss is not finite; try a lower --lr, or --precision fp32")
        self.scaler.step(self.optimizer)
        self.scaler.update()
        self.average.update(self.model.named_parameters(), self.step)
        self.step += 1
        self.position = batch.after
        return {**result, "grad_norm": float(norm), "lr": max(g["lr"] for g in self.optimizer.param_groups)}

    def losses(self, prediction: Tensor, target: Tensor, valid: Tensor) -> dict[str, Tensor]:
        """The stage's losses of (B, T, H, W) maps, `total_loss` among them."""
        valid = valid.bool()
        flat = prediction.flatten(0, 1), target.flatten(0, 1), valid.flatten(0, 1)
        if self.settings.stage == "clip":
            losses = self.video(prediction, target, valid)
        else:
            spatial = self.spatial(*flat)
            losses = {"spatial_loss": spatial, "total_loss": spatial}
        if self.settings.scale_weight > 0:
            tie = self.settings.scale_weight * scale_loss(flat[0], flat[1], flat[2].to(prediction.dtype))
            losses |= {"scale_loss": tie, "total_loss": losses["total_loss"] + tie}
        if self.settings.log_weight > 0:
            tie = self.settings.log_weight * log_loss(flat[0], flat[1], flat[2].to(prediction.dtype))
            losses |= {"log_loss": tie, "total_loss": losses["total_loss"] + tie}
        return losses

    def _slots(self, frames: int) -> list[int]:
        """The frames of this step's clips that are rendered; the same in all processes."""
        render = min(self.settings.render or frames, frames)
        first = int(np.random.default_rng([self.settings.seed, 2, self.step]).integers(frames - render + 1))
        return list(range(first, first + render))

    def averaged_state(self) -> dict[str, Tensor]:
        """A full state dict on the CPU with the averaged weights."""
        state = {n: v.detach().cpu() for n, v in self.model.state_dict().items()}
        return state | {n: v.cpu() for n, v in self.average.values.items()}

    def state(self) -> dict[str, Any]:
        """All that training needs to go on; the frozen weights come from the starting checkpoint again."""
        trained = {n: p.detach() for n, p in self.model.named_parameters() if p.requires_grad}
        return {
            "settings": asdict(self.settings),
            "step": self.step,
            "position": asdict(self.position),
            "weights": trained,
            "average": self.average.values,
            "optimizer": self.optimizer.state_dict(),
            "scaler": self.scaler.state_dict(),
            "rng": {"cpu": torch.get_rng_state(), "cuda": torch.cuda.get_rng_state_all()},
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
        named = dict(self.model.named_parameters())
        with torch.no_grad():
            for name, value in state["weights"].items():
                named[name].copy_(value)
        self.average.load(state["average"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.scaler.load_state_dict(state["scaler"])
        self.step = state["step"]
        self.position = Position(**{**state["position"], "parts": tuple(state["position"]["parts"])})
        torch.set_rng_state(state["rng"]["cpu"].cpu())
        if len(state["rng"]["cuda"]) == torch.cuda.device_count():
            torch.cuda.set_rng_state_all([x.cpu() for x in state["rng"]["cuda"]])


def save_state(trainer: Trainer, folder: Path) -> None:
    """Write the state to go on from, whole or not at all."""
    with whole_file(folder / STATE) as partial:
        torch.save(trainer.state(), partial)


def load_state(folder: Path) -> dict[str, Any] | None:
    """Read a state that `save_state` wrote, None if there is none.

    Raises:
        OutputError: if it is damaged.
    """
    path = folder / STATE
    if not path.is_file():
        return None
    try:
        state: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # torch raises a dozen types for damaged files
        raise OutputError(f"{path}: damaged; delete it to start anew") from error
    return state


def timed(batches: Iterator[Batch]) -> Iterator[tuple[Batch, float]]:
    """Each batch with the seconds that were spent waiting for it."""
    while True:
        start = time.perf_counter()
        yield next(batches), time.perf_counter() - start
