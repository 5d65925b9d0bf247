"""Cached features of a frozen encoder: one folder per clip, which appears whole, read by memory mapping.

    cache.json                what the whole cache has in common, the encoder's fingerprint included
    clip_00000012_v0/         clip of seed 12, view 0 (as rendered), 1 .. (flipped, colours changed)
        tokens.npy            (T, K, h, w, C) int8 or float16, K tapped token maps: four, or those below live blocks
        scales.npy            (T, K, C) float32, what one int8 level stands for; only with int8
        stream.npy            (T, 1 + h w, C) float16, what enters the live blocks, class token first; only with these
        disparity.npy         (T, H, W) float16, as `Clip.disparity`; 0 is sky, -1 unknown
        preview.jpg           the frames, a quarter of their size

A cache may grow while it is read.
"""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
from torch import Tensor

from video_depth_anything.errors import InputError, OutputError
from video_depth_anything.files import partial_path, whole_file

Storage = Literal["int8", "fp16"]
Target = Literal["canonical disparity"]
INFO = "cache.json"
UNKNOWN = -1.0


@dataclass(frozen=True)
class CacheInfo:
    """What all clips of a cache have in common.

    Attributes:
        encoder: the encoder's size.
        fingerprint: of the encoder's weights outside its live blocks.
        frames: frames of a clip.
        height: of a frame in pixels.
        width: of a frame in pixels.
        storage: type of the token maps.
        target: what the disparity is.
        encoder_blocks: how many of the encoder's last blocks are left to be computed in training, the live ones.
    """

    encoder: str
    fingerprint: str
    frames: int
    height: int
    width: int
    storage: Storage
    target: Target = "canonical disparity"
    encoder_blocks: int = 0


@dataclass(frozen=True)
class CachedFrames:
    """Some frames of a cached clip.

    Attributes:
        inputs: token maps (T, h, w, C) float32 or float16; with live blocks the stream (T, 1 + h w, C) float16 last.
        disparity: (T, H, W) float32, as `Clip.disparity`; 0 is sky, and unknown.
        valid: (T, H, W) bool.
    """

    inputs: tuple[npt.NDArray[np.floating], ...]
    disparity: npt.NDArray[np.float32]
    valid: npt.NDArray[np.bool_]


def fingerprint(weights: Mapping[str, Tensor]) -> str:
    """SHA-256 over names and float16 values of weights, 16 hexadecimal digits.

    A checkpoint saved in float16 has the fingerprint of the one it was rounded from.
    """
    digest = hashlib.sha256()
    for name in sorted(weights):
        digest.update(name.encode())
        digest.update(weights[name].detach().cpu().half().contiguous().numpy().tobytes())
    return digest.hexdigest()[:16]


def create_cache(path: Path, info: CacheInfo) -> None:
    """Make the folder, or check that the one there was made the same way.

    Raises:
        OutputError: if it was made with other settings, or is no cache.
    """
    if (path / INFO).exists():
        found = open_cache(path)
        for name, value in asdict(found).items():
            if value != getattr(info, name):
                wanted = getattr(info, name)
                raise OutputError(f"{path}: was made with {name} {value}, not {wanted}; name another --out")
        return
    if path.is_dir() and any(path.iterdir()):
        raise OutputError(f"{path}: is not empty and no cache; name another --out")
    path.mkdir(parents=True, exist_ok=True)
    with whole_file(path / INFO) as partial:
        partial.write_text(json.dumps(asdict(info), indent=1))


def open_cache(path: Path) -> CacheInfo:
    """Read what a cache's clips have in common.

    Raises:
        InputError: if there is no cache or its description is damaged.
    """
    if not (path / INFO).is_file():
        raise InputError(f"{path}: no feature cache there; make one with `python -m starter.make_cache --out {path}`")
    try:
        description = json.loads((path / INFO).read_text())
        if "target" not in description:
            raise InputError(f"{path}: holds inverse metres, not canonical disparity; make a new cache")
        return CacheInfo(**description)
    except (ValueError, TypeError) as error:
        raise InputError(f"{path / INFO}: damaged ({error})") from error


def clip_name(seed: int, view: int) -> str:
    return f"clip_{seed:08d}_v{view}"


def clip_seed(name: str) -> int:
    """The seed in a clip's name."""
    return int(name.split("_")[1])


def clip_names(path: Path) -> list[str]:
    """The clips that are there by now, sorted."""
    return sorted(entry.name for entry in path.iterdir() if entry.name.startswith("clip_"))


def quantise(tokens: npt.NDArray[np.float32]) -> tuple[npt.NDArray[np.int8], npt.NDArray[np.float32]]:
    """Tokens (T, K, h, w, C) to int8 and the step (T, K, C) of each channel.

    The rounding error is about 1 % of a channel's standard deviation.
    """
    steps = np.abs(tokens).max(axis=(2, 3)) / np.float32(127)
    steps = np.maximum(steps, np.float32(1e-12))
    levels = np.rint(tokens / steps[:, :, None, None, :])
    return levels.astype(np.int8), steps


def write_clip(
    path: Path,
    tokens: npt.NDArray[np.float32],
    disparity: npt.NDArray[np.float32],
    valid: npt.NDArray[np.bool_],
    images: npt.NDArray[np.uint8],
    storage: Storage,
    stream: npt.NDArray[np.float32] | None = None,
) -> None:
    """Write a clip's folder; it appears under its name when it is whole.

    Args:
        path: the folder.
        tokens: (T, K, h, w, C).
        disparity: (T, H, W), as `Clip.disparity`.
        valid: (T, H, W), where it is known.
        images: (T, H, W, 3) RGB.
        storage: type of the token maps.
        stream: (T, 1 + h w, C), with live blocks.
    """
    import cv2

    folder = partial_path(path)
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    try:
        if storage == "int8":
            levels, steps = quantise(tokens)
            np.save(folder / "tokens.npy", levels)
            np.save(folder / "scales.npy", steps)
        else:
            np.save(folder / "tokens.npy", tokens.astype(np.float16))
        if stream is not None:
            np.save(folder / "stream.npy", stream.astype(np.float16))
        np.save(folder / "disparity.npy", np.where(valid, disparity, np.float32(UNKNOWN)).astype(np.float16))
        strip = np.concatenate(list(images[:, ::4, ::4]), axis=1)
        cv2.imwrite(str(folder / "preview.jpg"), np.ascontiguousarray(strip[..., ::-1]))
        folder.replace(path)
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        raise


def read_clip(path: Path, start: int, count: int, encoder_blocks: int = 0) -> CachedFrames:
    """Read frames start .. start + count - 1 of a clip; no other parts of its files are touched.

    Args:
        path: the clip's folder.
        start: number of the first frame.
        count: how many.
        encoder_blocks: as the cache's.

    Raises:
        InputError: if the clip is gone or damaged.
    """
    try:
        window = slice(start, start + count)
        tokens: npt.NDArray[Any] = np.load(path / "tokens.npy", mmap_mode="r")[window]
        if tokens.dtype == np.int8:
            steps = np.load(path / "scales.npy", mmap_mode="r")[window]
            tokens = tokens.astype(np.float32) * steps[:, :, None, None, :]
        stream = [np.array(np.load(path / "stream.npy", mmap_mode="r")[window])] if encoder_blocks else []
        stored = np.asarray(np.load(path / "disparity.npy", mmap_mode="r")[window], dtype=np.float32)
    except (OSError, ValueError) as error:
        raise InputError(f"{path}: gone or damaged ({error}); delete the folder") from error
    maps = [np.array(tokens[:, tap]) for tap in range(tokens.shape[1])]
    return CachedFrames((*maps, *stream), np.maximum(stored, 0), stored >= 0)
