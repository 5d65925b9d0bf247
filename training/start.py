"""Checkpoints that training starts from and writes."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor

from video_depth_anything.checkpoint import check_state_dict, read_state_dict, written_kind
from video_depth_anything.config import EncoderName
from video_depth_anything.errors import CheckpointError, OutputError, UsageError
from video_depth_anything.files import whole_file
from video_depth_anything.video_depth import VideoDepthAnything

KINDS = {True: "metric", False: "relative"}


def load_for_training(encoder: EncoderName, checkpoint: Path, metric: bool | None = None) -> VideoDepthAnything:
    """Build a float32 network with the weights of a file, on the CPU; its `metric` says what kind they are.

    `metric` None takes what was written into the file when it was trained, else what its name says.

    Raises:
        CheckpointError: if the file is missing, damaged or for another network.
        UsageError: if it was trained as another kind than `metric`.
    """
    if not checkpoint.is_file():
        raise CheckpointError(f"checkpoint {checkpoint} not found; check --checkpoint, or fetch one with `vda weights`")
    state = read_state_dict(checkpoint)
    kind = written_kind(state)
    if metric is not None and kind not in (None, KINDS[metric]):
        wrong = "--metric" if metric else "--no-metric"
        raise UsageError(f"{wrong}: {checkpoint} was trained as {kind} weights; omit the flag")
    if metric is None:
        metric = "metric" in checkpoint.name.lower() if kind is None else kind == KINDS[True]
    model = VideoDepthAnything(encoder, metric=metric)
    try:
        check_state_dict(state, encoder, model.state_dict())
    except CheckpointError as error:
        raise CheckpointError(f"checkpoint {checkpoint}: {error}") from None
    model.load_state_dict({name: value.float() for name, value in state.items()}, strict=True)
    return model


def save_checkpoint(state: Mapping[str, Tensor], path: Path, half: bool, metric: bool = False) -> None:
    """Write a full checkpoint, in float16 if `half`, whole or not at all; missing folders are made.

    Raises:
        OutputError: if it cannot be written.
    """
    written = OrderedDict((n, (v.half() if half else v.float()).contiguous()) for n, v in state.items())
    written._metadata = {"": {"version": 1, "depth": KINDS[metric]}}  # type: ignore[attr-defined]
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with whole_file(path) as partial:
            torch.save(written, partial)
    except (OSError, RuntimeError, ValueError) as error:
        raise OutputError(f"--output {path}: cannot be written ({error}); choose another path") from error
