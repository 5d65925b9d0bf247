"""One training run: from its arguments to its files; on RGB-D folders, unless a subclass has another source."""

from __future__ import annotations

import argparse
import logging
import sys
import time
from contextlib import closing
from dataclasses import fields, replace

import torch
from tqdm import tqdm

from benchmark.rgbd import RgbdFolder, open_rgbd_folder
from training.augment import Augmentation
from training.batches import Batches, batches
from training.log import TrainingLog
from training.network import TrainingNetwork
from training.processes import ProcessGroup
from training.settings import Settings
from training.sources import RgbdSource, Source
from training.start import save_checkpoint
from training.trainer import STATE, Trainer, load_state, save_state
from training.validation import FixedClip, fixed_recording, validate
from video_depth_anything.checkpoint import load_checkpoint
from video_depth_anything.device import Execution
from video_depth_anything.errors import DeviceError, OutputError, UsageError
from video_depth_anything.pipelines.stop import Stop, stop_on_signals
from video_depth_anything.transform import network_size
from video_depth_anything.video_depth import VideoDepthAnything

logger = logging.getLogger(__name__)
MODEL = "model.pth"
INTERRUPTED = 130
SCALE_WEIGHT = 0.05
CROP = 0.7
OUT_OF_MEMORY = (
    "the device's memory is full; use --activation_checkpointing, --accumulate with a larger --batch_size, fewer "
    "--frames or --render, or a smaller --input_size; --resume continues from the last save"
)


class Run:
    """Builds what the arguments say, then trains.

    Raises:
        CheckpointError: if the weights do not fit.
        InputError: if the data do not fit.
        OutputError: if the output folder does not fit.
        UsageError: if the batch cannot be shared out.
    """

    settings_type = Settings

    def __init__(self, args: argparse.Namespace, execution: Execution, group: ProcessGroup) -> None:
        parts = group.size * args.accumulate
        if args.batch_size % parts:
            raise UsageError(
                f"--batch_size {args.batch_size} is not a multiple of {parts}, processes times --accumulate"
            )
        if execution.device.type == "cuda" and group.size > 1:
            execution = replace(execution, device=torch.device("cuda", group.local_rank))
            torch.cuda.set_device(execution.device)
        if args.threads:
            torch.set_num_threads(args.threads)
        torch.manual_seed(args.seed)
        self.args = args
        self.group = group
        model, _ = load_checkpoint(args.encoder, args.metric, args.checkpoint, "cpu")
        self._complete(model.metric)
        self.source = self.open_source(model)
        settings = self.settings_type(**{field.name: getattr(args, field.name) for field in fields(self.settings_type)})
        network = self.network(model).to(execution.device).to(memory_format=torch.channels_last)
        guide: TrainingNetwork | None = None
        if args.keep:
            guide = self.network(load_checkpoint(args.encoder, args.metric, args.keep, execution.device)[0])
        self.trainer = Trainer(network, settings, execution, group, args.accumulate, guide)
        args.output.mkdir(parents=True, exist_ok=True)
        self._take_up()

    def _complete(self, metric: bool) -> None:
        """Set the arguments whose defaults depend on the kind of the weights."""
        args = self.args
        if metric and (args.scale_weight or args.log_weight):
            raise UsageError("--scale_weight and --log_weight are for disparity; metric weights train on metres")
        if args.scale_weight is None:
            args.scale_weight = 0.0 if metric else SCALE_WEIGHT
        args.metric = metric

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
                with closing(TrainingLog(args.output, first, args.tensorboard)) as log:
                    self._train(stop, fixed, log)
                logger.info("%s: step %d of %d", args.output / MODEL, self.trainer.step, args.steps)
                self.tell_use()
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
                try:
                    values = trainer.train_step(batch)
                except torch.OutOfMemoryError as error:
                    raise DeviceError(f"step {trainer.step}: {OUT_OF_MEMORY}") from error
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
        args = self.args
        save_checkpoint(self.trainer.averaged_state(), args.output / MODEL, args.half, args.metric)

    def _validate(self, fixed: list[FixedClip], log: TrainingLog) -> None:
        values = validate(self.trainer, fixed)
        if values:
            log.write(self.trainer.step, {f"val/{name}": value for name, value in values.items()})
            shown = ", ".join(f"{name} {value:.3f}" for name, value in values.items())
            logger.info("step %d: %s", self.trainer.step, shown)

    def _take_up(self) -> None:
        """Go on with the run in the folder if asked to; refuse to overwrite one that was not meant."""
        state = load_state(self.args.output, self.group)
        if state is not None and not self.args.resume:
            path = self.args.output / STATE
            raise OutputError(f"{path} exists; continue it with --resume, or choose another --output")
        if state is not None:
            self.trainer.load(state)

    def network(self, model: VideoDepthAnything) -> TrainingNetwork:
        """The model as this kind of run trains it."""
        return TrainingNetwork(model, self.args.stage, self.args.activation_checkpointing)

    def open_source(self, model: VideoDepthAnything) -> Source:
        """Where samples for this model come from."""
        args = self.args
        trained, self._held_out = self._recordings()
        image = trained[0].image(0)
        if args.height is None:
            args.height, args.width = network_size(image.shape[0], image.shape[1], args.input_size)
        else:
            args.input_size = min(args.height, args.width)
        # A crop is a zoom: the picture shows things nearer than their metres say.
        crop = args.crop if args.crop is not None else 1.0 if model.metric else CROP
        how = Augmentation(args.flip, crop, args.colour)
        return RgbdSource(trained, args.frames, (args.height, args.width), how, model.metric)

    def _recordings(self) -> tuple[list[RgbdFolder], list[RgbdFolder]]:
        """What is trained on, and what is validated on: unless named, the last recording, or the last one's end."""
        args = self.args
        trained = [open_rgbd_folder(path) for path in args.rgbd]
        if args.val_rgbd is not None:
            return trained, [open_rgbd_folder(path) for path in args.val_rgbd]
        if len(trained) > 1:
            held = trained.pop()
            told = f"{held.path} is held out for validation"
        else:
            (whole,) = trained
            length = max(len(whole) // 10, args.val_frames)
            if len(whole) - length < args.frames:
                if self.group.is_main:
                    logger.warning("%s: too short to hold out frames; no validation without --val_rgbd", whole.path)
                return trained, []
            trained, held = [whole.part(slice(-length))], whole.part(slice(-length, None))
            told = f"{whole.path}: the last {length} frames are held out for validation"
        if self.group.is_main:
            logger.info("%s; --val_rgbd names other recordings, or none", told)
        return trained, [held]

    def fixed_clips(self) -> list[FixedClip]:
        """What validation is measured on."""
        args = self.args
        clip = args.stage == "clip"
        return [fixed_recording(f, args.val_frames, args.input_size, clip, args.metric) for f in self._held_out]

    def tell_use(self) -> None:
        """Say how the result is used."""
        args = self.args
        words = [f"--checkpoint {args.output / MODEL} --encoder {args.encoder} --input_size {args.input_size}"]
        logger.info("use it: vda run CLIP %s", " ".join(words + ["--metric"] * args.metric))
