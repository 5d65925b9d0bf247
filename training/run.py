"""One training run: from its arguments to its files; on RGB-D folders, unless a subclass has another source."""

from __future__ import annotations

import argparse
import logging
import sys
import time
from dataclasses import replace

import torch
from tqdm import tqdm

from training.augment import Augmentation
from training.batches import Batches, batches
from training.log import TrainingLog
from training.network import TrainingNetwork
from training.processes import ProcessGroup
from training.sources import RgbdSource, Source
from training.start import load_for_training, save_checkpoint
from training.trainer import STATE, Settings, Trainer, load_state, save_state
from training.validation import FixedClip, fixed_recording, validate
from video_depth_anything.device import Execution
from video_depth_anything.errors import OutputError, UsageError
from video_depth_anything.pipelines.stop import Stop, stop_on_signals
from video_depth_anything.video_depth import VideoDepthAnything

logger = logging.getLogger(__name__)
MODEL = "model.pth"
INTERRUPTED = 130


class Run:
    """Builds what the arguments say, then trains.

    Raises:
        CheckpointError: if the weights do not fit.
        InputError: if the data do not fit.
        OutputError: if the output folder does not fit.
        UsageError: if the batch cannot be shared out.
    """

    settings_type = Settings

    def __init__(self, args: argparse.Namespace, settings: Settings, execution: Execution, group: ProcessGroup) -> None:
        if args.batch_size % group.size:
            raise UsageError(f"--batch_size {args.batch_size} is not a multiple of the {group.size} processes")
        if execution.device.type == "cuda" and group.size > 1:
            execution = replace(execution, device=torch.device("cuda", group.local_rank))
            torch.cuda.set_device(execution.device)
        if args.threads:
            torch.set_num_threads(args.threads)
        torch.manual_seed(settings.seed)
        self.args = args
        self.group = group
        model = load_for_training(args.encoder, args.checkpoint, settings.seed)
        self.source = self.open_source(model)
        self.trainer = Trainer(self.network(model), settings, execution, group)
        args.output.mkdir(parents=True, exist_ok=True)
        self._take_up()

    def run(self) -> int:
        """Train up to the last step, or until asked to end; returns the exit code."""
        args, first = self.args, self.trainer.step
        self._last_step = min(args.steps, first + args.stop_after) if args.stop_after else args.steps
        self._deadline = time.monotonic() + 60 * args.max_minutes if args.max_minutes else float("inf")
        with stop_on_signals() as stop:
            if not self.group.is_main:
                self._train(stop, [], None)
            else:
                fixed = self.fixed_clips()
                with TrainingLog(args.output, first, args.tensorboard) as log:
                    self._train(stop, fixed, log)
                logger.info("%s: step %d of %d", args.output / MODEL, self.trainer.step, args.steps)
            return INTERRUPTED if stop.is_set() else 0

    def _due(self, stop: Stop) -> bool:
        """Whether to end before the next step."""
        return stop.is_set() or time.monotonic() > self._deadline or self.trainer.step >= self._last_step

    def _train(self, stop: Stop, fixed: list[FixedClip], log: TrainingLog | None) -> None:
        args, trainer = self.args, self.trainer
        pin = trainer.execution.device.type == "cuda"
        data = Batches(self.source, args.seed, args.batch_size, self.group)
        loader = batches(data, trainer.step, args.workers, pin)
        bar = tqdm(
            total=args.steps,
            initial=trainer.step,
            desc=args.output.name,
            unit="step",
            file=sys.stderr,
            dynamic_ncols=True,
            smoothing=0.05,
            disable=log is None,
        )
        with bar:
            started, waited = time.perf_counter(), 0.0
            while not self.group.any(self._due(stop)):
                asked = time.perf_counter()
                batch = next(loader)
                waited += time.perf_counter() - asked
                values = trainer.train_step(batch)
                bar.update()
                bar.set_postfix(loss=f"{values['total_loss']:.4f}", refresh=False)
                if log is not None and trainer.step % args.log_every == 0:
                    now = time.perf_counter()
                    pace = {"seconds": (now - started) / args.log_every, "wait": waited / args.log_every}
                    log.write(trainer.step, {f"train/{k}": v for k, v in {**values, **pace}.items()})
                    started, waited = now, 0.0
                if log is not None and trainer.step < args.steps:
                    if trainer.step % args.val_every == 0:
                        self._validate(fixed, log)
                    if trainer.step % args.save_every == 0:
                        self._save()
        if log is not None:
            self._save()
            self._validate(fixed, log)

    def _save(self) -> None:
        save_state(self.trainer, self.args.output)
        save_checkpoint(self.trainer.averaged_state(), self.args.output / MODEL, self.args.half)

    def _validate(self, fixed: list[FixedClip], log: TrainingLog) -> None:
        values = validate(self.trainer, fixed) | self.further_values()
        if values:
            log.write(self.trainer.step, {f"val/{name}": value for name, value in values.items()})
            shown = ", ".join(f"{name} {value:.3f}" for name, value in values.items())
            logger.info("step %d: %s", self.trainer.step, shown)

    def _take_up(self) -> None:
        """Go on with the run in the folder if asked to; refuse to overwrite one that was not meant."""
        state = load_state(self.args.output)
        if state is not None and not self.args.resume:
            path = self.args.output / STATE
            raise OutputError(f"{path} is there; --resume goes on with it, or name another --output")
        if state is not None:
            self.trainer.load(state)

    def network(self, model: VideoDepthAnything) -> TrainingNetwork:
        """The model as this kind of run trains it."""
        return TrainingNetwork(model, self.args.stage)

    def open_source(self, model: VideoDepthAnything) -> Source:
        """Where samples for this model come from."""
        args = self.args
        how = Augmentation(args.flip, args.crop, args.colour)
        return RgbdSource(args.rgbd, args.frames, (args.height, args.width), how)

    def fixed_clips(self) -> list[FixedClip]:
        """What validation is measured on."""
        return self.fixed_recordings((self.args.height, self.args.width))

    def fixed_recordings(self, size: tuple[int, int]) -> list[FixedClip]:
        """The recordings of --val_rgbd, resized to (H, W)."""
        args = self.args
        clip = args.stage == "clip"
        return [fixed_recording(path, args.val_frames, size, consecutive=clip) for path in args.val_rgbd]

    def further_values(self) -> dict[str, float]:
        """What else validation logs."""
        return {}
