"""Finds and loads weights: strictly, without running pickled code, with one clear line on failure."""

from __future__ import annotations

import hashlib
import io
import logging
import os
import re
import zipfile
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from .config import ENCODERS, MODEL_CONFIGS, EncoderName, checkpoint_name, encoder_name
from .device import resolve_device
from .errors import CheckpointError, OutputError
from .video_depth import VideoDepthAnything
from .weights import CATALOGUE, bundled, fetch, file_kind, kept, one_line

logger = logging.getLogger(__name__)

CHECKPOINT_DIR = Path("checkpoints")
# The original's default, suggested if there are no weights at all.
DEFAULT_ENCODER: EncoderName = "vitl"
# The bundled demo checkpoint, so that everything works without a download.
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
    if path.is_dir():
        raise CheckpointError(f"checkpoint {path} is a folder; give the file in it")
    if checkpoint is not None:
        raise CheckpointError(f"checkpoint {path} not found; check --checkpoint, or leave it out and run `vda weights`")
    name = f"{'metric_' if metric else ''}{encoder}"
    raise CheckpointError(
        f"checkpoint {path} not found; download it with `vda weights {name}`, or pass a file with --checkpoint"
    )


def public_checkpoints() -> list[tuple[EncoderName, bool]]:
    """(encoder, metric) of the public checkpoints in ./checkpoints, the smallest encoder first."""
    both = ((encoder, metric) for encoder in ENCODERS for metric in (False, True))
    return [pair for pair in both if (CHECKPOINT_DIR / checkpoint_name(*pair)).is_file()]


def choose_weights(
    encoder: str | None = None, metric: bool = False, checkpoint: str | Path | None = None
) -> tuple[EncoderName, Path]:
    """Choose the encoder and the file of weights; logs a choice that the caller did not make.

    Args:
        encoder: None: that of `checkpoint` if given; otherwise that of the largest public checkpoint in ./checkpoints,
            or of the bundled demo checkpoint if there is none.
        metric: whether the weights must predict metres; the demo checkpoint does not.
        checkpoint: a file; None: the public checkpoint, or for vits the demo checkpoint if that is missing.

    Raises:
        CheckpointError: if no weights are found. ValueError: if the encoder is unknown.
    """
    name = None if encoder is None else encoder_name(encoder)
    if checkpoint is not None:
        path = find_checkpoint(name or DEFAULT_ENCODER, metric, checkpoint)
        return name or guess_encoder(_tensors(path)) or DEFAULT_ENCODER, path
    there = [found for found, predicts_metres in public_checkpoints() if predicts_metres == metric]
    if name in there:
        return name, find_checkpoint(name, metric)
    if name is None and there:
        path = find_checkpoint(there[-1], metric)
        logger.info("using %s, the largest public checkpoint in %s; --encoder chooses another", path.name, path.parent)
        return there[-1], path
    if not metric and name in (None, STARTER_ENCODER) and STARTER.is_file():
        # A warning only if the caller chose the encoder.
        level = logging.INFO if name is None else logging.WARNING
        said = "using the starter checkpoint %s, a small demo model; `vda weights` downloads better ones"
        logger.log(level, said, STARTER.name)
        return STARTER_ENCODER, STARTER
    if name is None and metric:
        raise CheckpointError(
            f"--metric: {CHECKPOINT_DIR}/ holds no metric weights; download the smallest with `vda weights "
            "metric_vits`, a better one with metric_vitb or metric_vitl, or pass a file with --checkpoint"
        )
    name = name or DEFAULT_ENCODER
    return name, find_checkpoint(name, metric)


def read_state_dict(path: Path) -> dict[str, Tensor]:
    """Read a flat state dict from a .pth or .safetensors file, on the CPU, as tensors only.

    The checksums of a .pth are checked, so that flipped bytes are found; the safetensors format has none.

    Raises:
        CheckpointError: if the file is not a checkpoint, is damaged, or holds anything but tensors by name.
    """
    data = path.read_bytes()
    _check_sums(path, data)
    return _tensors(path, data)


def _check_sums(path: Path, data: bytes) -> None:
    if file_kind(data[:9], len(data)) != "zip":
        return
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            # torch does not verify checksums, and reads an entry marked as a DOS folder as empty memory.
            folders = [entry.filename for entry in archive.infolist() if entry.external_attr & 0x10]
            damaged = archive.testzip() or next(iter(folders), None)
    except Exception as error:  # a damaged zip makes Python raise errors of many kinds
        raise _unreadable(path, "damaged, or does not hold plain tensors") from error
    if damaged is not None:
        raise _unreadable(path, f"damaged at {damaged}; download or copy it again")


def _tensors(path: Path, data: bytes | None = None) -> dict[str, Tensor]:
    """Parse the file, or `data` read from it; without `data`, only the needed parts are read."""
    if data is None:
        with path.open("rb") as file:
            head, size = file.read(256), path.stat().st_size
    else:
        head, size = data[:256], len(data)
    kind = file_kind(head[:9], size)
    content: Any
    if not head:
        raise _unreadable(path, "the file is empty")
    if head.lstrip().lower().startswith((b"<!doctype", b"<html", b"<?xml")):
        raise _unreadable(path, "it is a web page; download the checkpoint again")
    try:
        if kind == "safetensors":
            from safetensors.torch import load, load_file

            content = load_file(path, device="cpu") if data is None else load(data)
        else:
            source = path if data is None else io.BytesIO(data)
            lazily = kind == "zip" and data is None
            content = torch.load(source, map_location="cpu", weights_only=True, mmap=lazily)
    except ImportError as error:
        raise CheckpointError(f"checkpoint {path} needs a package: pip install safetensors") from error
    except MemoryError:
        raise
    except Exception as error:  # a damaged file makes torch raise errors of many kinds
        # torch's own message has many lines and recommends weights_only=False, which would be unsafe.
        raise _unreadable(path, "damaged, or does not hold plain tensors") from error
    if not isinstance(content, dict) or not all(isinstance(v, Tensor) for v in content.values()):
        raise CheckpointError(f"checkpoint {path} is not a flat state dict (tensors by name)")
    return content


def _unreadable(path: Path, reason: str) -> CheckpointError:
    return CheckpointError(f"checkpoint {path} cannot be read: {reason}")


def guess_encoder(state_dict: Mapping[str, Tensor]) -> EncoderName | None:
    """The variant whose width matches the class token, if any."""
    token = state_dict.get("pretrained.cls_token")
    for name in ENCODERS:
        if token is not None and token.ndim and token.shape[-1] == MODEL_CONFIGS[name].embed_dim:
            return name
    return None


def check_state_dict(state_dict: Mapping[str, Tensor], encoder: EncoderName, expected: Mapping[str, Tensor]) -> None:
    """Compare keys and shapes with those of `encoder`'s network, and check that all values are finite.

    Raises:
        CheckpointError: saying which encoder the weights are for, or how many keys differ, with the first of them, or
            which weights are not finite floating-point numbers.
    """
    same = sum(1 for k, v in state_dict.items() if k in expected and v.shape == expected[k].shape)
    differing = len(set(state_dict) | set(expected)) - same
    found = guess_encoder(state_dict)
    if found is not None and found != encoder:
        raise CheckpointError(
            f"this is a {found} checkpoint, not {encoder} ({differing} keys differ); use --encoder {found}"
        )
    if differing:
        kinds = {
            "missing": [k for k in expected if k not in state_dict],
            "foreign": [k for k in state_dict if k not in expected],
            "with a different shape": [
                k for k in expected if k in state_dict and state_dict[k].shape != expected[k].shape
            ],
        }
        problems = ", ".join(f"{len(keys)} {kind} (first: {keys[0]})" for kind, keys in kinds.items() if keys)
        raise CheckpointError(
            f"not a {encoder} checkpoint of Video Depth Anything: {differing} keys differ: {problems}"
        )
    for key, value in state_dict.items():
        floats = value.is_floating_point() and value.element_size() > 1
        if value.is_meta or value.layout != torch.strided or not floats:
            kind = "no values" if value.is_meta else str(value.dtype).removeprefix("torch.")
            raise CheckpointError(
                f"{key} holds {kind}; weights must be plain floating-point tensors of at least 16 bits"
            )
        if not value.isfinite().all():
            raise CheckpointError(f"{key} holds values that are not finite (NaN or infinity); the weights are useless")


def load_checkpoint(
    encoder: EncoderName, metric: bool | None, path: Path, device: str | torch.device = "auto"
) -> tuple[VideoDepthAnything, str]:
    """Build a model with the weights of a file, ready for inference; the file is read once.

    `metric` None takes what training wrote into the file, else whether its name contains "metric".

    Returns:
        The model, and the file's SHA-256 in hexadecimal digits.

    Raises:
        CheckpointError: if the weights do not fit. DeviceError: if the device is not available.
    """
    target = resolve_device(device)
    data = find_checkpoint(encoder, bool(metric), path).read_bytes()
    sha256 = hashlib.sha256(data).hexdigest()
    if all(sha256 != entry.sha256 for entry in CATALOGUE):  # files with a known hash are intact
        _check_sums(path, data)
    state_dict = _tensors(path, data)
    del data
    kind = None
    with suppress(AttributeError, KeyError, TypeError):  # written by training; other files may hold anything there
        kind = state_dict._metadata[""]["depth"]  # type: ignore[attr-defined]
    kind = kind if kind in ("metric", "relative") else None
    if metric is None:
        metric = kind == "metric" if kind else "metric" in path.name.lower()
    if kind not in (None, "metric" if metric else "relative"):
        remedy = "leave --metric out (metric=False)" if metric else "add --metric (metric=True)"
        raise CheckpointError(f"checkpoint {path} holds {kind} weights; {remedy}")
    # Weights are assigned, not copied into random ones, which saves time and memory.
    with torch.device("meta"):
        model = VideoDepthAnything(encoder, metric=metric)
    try:
        check_state_dict(state_dict, encoder, model.state_dict())
    except CheckpointError as error:
        raise CheckpointError(f"checkpoint {path}: {error}") from None
    model.load_state_dict({k: v.float() for k, v in state_dict.items()}, strict=True, assign=True)
    # The encoder's token maps are channels-last; with such weights, convolutions on them need no copies.
    return model.to(target).to(memory_format=torch.channels_last).eval().requires_grad_(False), sha256


def load_model(
    encoder: str | None = "vits",
    metric: bool = False,
    checkpoint: str | Path | None = None,
    device: str | torch.device = "auto",
) -> VideoDepthAnything:
    """Load a model with its weights, ready for inference.

    Args:
        encoder: "vits", "vitb" or "vitl"; None: as for `choose_weights`.
        metric: whether the weights must predict metres.
        checkpoint: a file; None: as for `choose_weights`.
        device: "auto", "cuda", "mps", "cpu", or a torch device.

    Raises:
        CheckpointError: if no suitable weights are found. DeviceError: if the device is not available.
        ValueError: if the encoder is unknown.
    """
    resolve_device(device)
    name, path = choose_weights(encoder, metric, checkpoint)
    return load_checkpoint(name, metric, path, device)[0]


def from_pretrained(
    name: str | Path, metric: bool | None = None, device: str | torch.device = "auto"
) -> VideoDepthAnything:
    """Load a model by name, from the hub or from a file, ready for inference.

    Args:
        name: a public checkpoint such as "vits" or "metric_vitl", or its repository on the hub, downloaded to
            ./checkpoints if necessary; another repository on the hub, "owner/name", which needs the package
            `huggingface_hub`; or the path of a .pth or .safetensors file.
        metric: whether the weights predict metres; None: what training wrote into the file, else whether the name of
            the file or repository contains "metric".
        device: "auto", "cuda", "mps", "cpu", or a torch device.

    Raises:
        CheckpointError: if the weights do not exist or cannot be downloaded.
        OutputError: if another file has the public checkpoint's name, or the file cannot be written.
        DeviceError: if the device is not available.
    """
    text = str(name)
    public = next((entry for entry in CATALOGUE if text in (entry.name, entry.repository)), None)
    if public is not None:
        path = CHECKPOINT_DIR / public.file
        if not path.is_file():
            fetch(public, CHECKPOINT_DIR)
    elif Path(name).exists() or isinstance(name, Path) or text.endswith((".pth", ".pt", ".safetensors")):
        path = find_checkpoint(DEFAULT_ENCODER, bool(metric), name)
    elif re.fullmatch(r"[\w.-]+/[\w.-]+", text):
        path = _from_hub(text)
        metric = ("metric" in text.lower() or None) if metric is None else metric
    else:
        names = ", ".join(entry.name for entry in CATALOGUE)
        raise CheckpointError(f"no checkpoint {text!r}; name one of {names}, a repository (owner/name) or a file")
    encoder, _ = (public.encoder, path) if public is not None else choose_weights(None, bool(metric), path)
    model, sha256 = load_checkpoint(encoder, metric, path, device)
    if public is not None and sha256 != public.sha256:
        raise OutputError(kept(path, public))
    return model


def _from_hub(repository: str) -> Path:
    """Download the only weights file of a repository on the hub to the hub's cache; safetensors before .pth."""
    try:
        import huggingface_hub
    except ImportError as error:
        raise CheckpointError(f"downloading {repository} needs a package: pip install huggingface_hub") from error
    # The package reads this variable on import, which may have happened earlier.
    endpoint = os.environ.get("HF_ENDPOINT") or None
    try:
        listed = huggingface_hub.HfApi(endpoint=endpoint).model_info(repository).siblings or []
        for ending in (".safetensors", ".pth"):
            fitting = [file.rfilename for file in listed if file.rfilename.endswith(ending)]
            if len(fitting) == 1:
                return Path(huggingface_hub.hf_hub_download(repository, fitting[0], endpoint=endpoint))
    except Exception as error:  # its own errors, its HTTP library's, the system's
        reason = str(error).strip() or type(error).__name__
        raise CheckpointError(f"{repository} cannot be downloaded from the hub: {one_line(reason)}") from error
    raise CheckpointError(
        f"{repository} does not hold exactly one .safetensors or .pth file; download one and pass its path"
    )
