"""Checkpoints that training starts from and writes: whole ones, or an encoder alone under a new head."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor

from training.network import ENCODER
from video_depth_anything.checkpoint import check_state_dict, read_state_dict
from video_depth_anything.config import EncoderName
from video_depth_anything.errors import CheckpointError, OutputError
from video_depth_anything.files import whole_file
from video_depth_anything.video_depth import VideoDepthAnything


def load_for_training(encoder: EncoderName, checkpoint: Path, seed: int) -> VideoDepthAnything:
    """Build a float32 network with the weights of a file, on the CPU.

    Args:
        encoder: the size of the encoder.
        checkpoint: a full checkpoint, which must fit exactly; or an encoder alone, with or without the prefix
            `pretrained.`, in which case the head is drawn from `seed`.
        seed: decides the head's weights where the file has none.

    Raises:
        CheckpointError: if the file is missing, damaged or for another network.
    """
    if not checkpoint.is_file():
        raise CheckpointError(
            f"checkpoint {checkpoint} not found; name one with --checkpoint, or make a starting one with "
            f"`python -m starter.dinov2_from_onnx --output {checkpoint}`"
        )
    state = read_state_dict(checkpoint)
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        model = VideoDepthAnything(encoder)
    full = model.state_dict()
    if "cls_token" in state:
        state = {ENCODER + name: value for name, value in state.items()}
    if all(name.startswith(ENCODER) for name in state):
        state = {**{name: value for name, value in full.items() if not name.startswith(ENCODER)}, **state}
    try:
        check_state_dict(state, encoder, full)
    except CheckpointError as error:
        raise CheckpointError(f"checkpoint {checkpoint}: {error}") from None
    model.load_state_dict({name: value.float() for name, value in state.items()}, strict=True)
    return model


def save_checkpoint(state: Mapping[str, Tensor], path: Path, half: bool) -> None:
    """Write a full checkpoint, whole or not at all; missing folders are made.

    Args:
        state: tensors by name.
        path: the file.
        half: whether to write float16 instead of float32.

    Raises:
        OutputError: if it cannot be written.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with whole_file(path) as partial:
            torch.save({n: (v.half() if half else v.float()).contiguous() for n, v in state.items()}, partial)
    except (OSError, RuntimeError, ValueError) as error:
        raise OutputError(f"--output {path}: cannot be written ({error}); choose another path") from error
