"""Finding and loading weights: strictly, without running pickled code, with one clear line when it fails."""

from __future__ import annotations

import logging
import pickle
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from .config import ENCODERS, MODEL_CONFIGS, EncoderName, checkpoint_name, get_config
from .device import resolve_device
from .errors import CheckpointError
from .video_depth import VideoDepthAnything
from .weights import bundled

logger = logging.getLogger(__name__)

CHECKPOINT_DIR = Path("checkpoints")
# What users get who name no encoder; the original's default.
DEFAULT_ENCODER: EncoderName = "vitl"
# Comes with the repository and was trained by it, so that everything works without a download.
STARTER = bundled("checkpoints/starter_vits.pth")
STARTER_ENCODER: EncoderName = "vits"


def find_checkpoint(encoder: EncoderName, metric: bool, checkpoint: str | Path | None = None) -> Path:
    """The file to load: `checkpoint` if given, else the public one in ./checkpoints.

    Raises:
        CheckpointError: naming the file looked for and how to get it.
    """
    path = Path(checkpoint) if checkpoint is not None else CHECKPOINT_DIR / checkpoint_name(encoder, metric)
    if path.is_file():
        return path
    if checkpoint is not None:
        raise CheckpointError(
            f"checkpoint {path} not found; check --checkpoint, or leave it out and run get_weights.sh"
        )
    name = f"{'metric_' if metric else ''}{encoder}"
    raise CheckpointError(f"checkpoint {path} not found; fetch it with `bash get_weights.sh {name}` or name a file")


def public_checkpoints() -> list[tuple[EncoderName, bool]]:
    """(encoder, metric) of the public checkpoints in ./checkpoints."""
    both = ((encoder, metric) for encoder in ENCODERS for metric in (False, True))
    return [pair for pair in both if (CHECKPOINT_DIR / checkpoint_name(*pair)).is_file()]


def choose_weights(
    encoder: str | None = None, metric: bool = False, checkpoint: str | Path | None = None
) -> tuple[EncoderName, Path]:
    """Encoder and weights for what the user asked for; says so if they are the starter checkpoint's.

    Args:
        encoder: None: that of `checkpoint` if one is named; else vitl, but while no public checkpoint is there, vits.
        metric: whether the weights must predict metres; the starter's do not.
        checkpoint: a file; None takes the public one, or the starter checkpoint where that one is missing.

    Raises:
        CheckpointError: if there are none. ValueError: if the encoder is unknown.
    """
    if encoder is not None:
        get_config(encoder)
    name: EncoderName | None = next((e for e in ENCODERS if e == encoder), None)
    if checkpoint is not None:
        path = find_checkpoint(name or DEFAULT_ENCODER, metric, checkpoint)
        return name or guess_encoder(read_state_dict(path)) or DEFAULT_ENCODER, path
    if name is None:
        name = DEFAULT_ENCODER if public_checkpoints() or metric or not STARTER.is_file() else STARTER_ENCODER
    if name == STARTER_ENCODER and not metric and STARTER.is_file() and (name, metric) not in public_checkpoints():
        logger.info("using the starter checkpoint %s; `bash get_weights.sh` fetches the public ones", STARTER.name)
        return name, STARTER
    return name, find_checkpoint(name, metric)


def read_state_dict(path: Path) -> dict[str, Tensor]:
    """Read a flat state dict from a .pth file, on the CPU, as tensors only.

    Raises:
        CheckpointError: if the file is not a checkpoint, is damaged, or holds anything but tensors by name.
    """
    try:
        content: Any = torch.load(path, map_location="cpu", weights_only=True)
    except (pickle.UnpicklingError, zipfile.BadZipFile, RuntimeError, EOFError, ValueError, KeyError) as error:
        # torch's own message runs over many lines and advises weights_only=False, which is just what must not be done.
        raise CheckpointError(f"checkpoint {path} cannot be read: damaged, or not a file of plain tensors") from error
    if not isinstance(content, dict) or not all(isinstance(v, Tensor) for v in content.values()):
        raise CheckpointError(f"checkpoint {path} is not a flat state dict (tensors by name)")
    return content


def guess_encoder(state_dict: Mapping[str, Tensor]) -> EncoderName | None:
    """The variant whose width the class token has, if any."""
    token = state_dict.get("pretrained.cls_token")
    for name in ENCODERS:
        if token is not None and token.shape[-1] == MODEL_CONFIGS[name].embed_dim:
            return name
    return None


def check_state_dict(state_dict: Mapping[str, Tensor], encoder: EncoderName, expected: Mapping[str, Tensor]) -> None:
    """Compare keys and shapes with what the network of `encoder` has.

    Raises:
        CheckpointError: saying which encoder the weights are for, or how many keys differ, with the first of them.
    """
    found = guess_encoder(state_dict)
    if found is not None and found != encoder:
        differing = _num_differing(state_dict, expected)
        raise CheckpointError(
            f"this is a {found} checkpoint, not {encoder} ({differing} keys differ); use --encoder {found}"
        )
    problems = []
    for kind, keys in (
        ("missing", [k for k in expected if k not in state_dict]),
        ("foreign", [k for k in state_dict if k not in expected]),
        ("of another shape", [k for k in expected if k in state_dict and state_dict[k].shape != expected[k].shape]),
    ):
        if keys:
            problems.append(f"{len(keys)} {kind} (first: {keys[0]})")
    if problems:
        total = _num_differing(state_dict, expected)
        raise CheckpointError(
            f"not a {encoder} checkpoint of Video Depth Anything: {total} keys differ: {', '.join(problems)}"
        )


def _num_differing(state_dict: Mapping[str, Tensor], expected: Mapping[str, Tensor]) -> int:
    same = sum(1 for k, v in state_dict.items() if k in expected and v.shape == expected[k].shape)
    return len(set(state_dict) | set(expected)) - same


def load_model(
    encoder: str | None = "vits",
    metric: bool = False,
    checkpoint: str | Path | None = None,
    device: str | torch.device = "auto",
) -> VideoDepthAnything:
    """Build a model with its weights, ready for inference.

    Args:
        encoder, metric, checkpoint: as for `choose_weights`.
        device: "auto", "cuda", "mps", "cpu", or a torch device.

    Raises:
        CheckpointError: if there are no fitting weights. DeviceError: if the device is not available.
        ValueError: if the encoder is unknown.
    """
    target = resolve_device(device)
    name, path = choose_weights(encoder, metric, checkpoint)
    # Weights are assigned, not copied into freshly drawn ones: loading takes no time and no second copy.
    with torch.device("meta"):
        model = VideoDepthAnything(name, metric=metric)
    state_dict = read_state_dict(path)
    try:
        check_state_dict(state_dict, name, model.state_dict())
    except CheckpointError as error:
        raise CheckpointError(f"checkpoint {path}: {error}") from None
    model.load_state_dict({k: v.float() for k, v in state_dict.items()}, strict=True, assign=True)
    # Convolutions on token maps, which come out of the encoder channels-last, need no copies then.
    return model.to(target).to(memory_format=torch.channels_last).eval().requires_grad_(False)
