"""Cached features of a frozen encoder: one folder per clip, which appears whole, read by memory mapping.

cache.json                what the whole cache has in common, the encoder's fingerprint included
clip_00000012_v0/         clip of seed 12, view 0 (as rendered), 1 .. (flipped, colours changed)
    tokens.npy            (T, K, h, w, C) int8, K tapped token maps: four, or those below live blocks
    scales.npy            (T, K, C) float32, what one level stands for
    stream.npy            (T, 1 + h w, C) float16, what enters the live blocks, class token first; only with these
    disparity.npy         (T, H, W) float16, as `Clip.disparity`; 0 is sky, -1 unknown
    preview.jpg           the frames, a quarter of their size
"""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from training.sources import Sample
from video_depth_anything.errors import InputError, OutputError
from video_depth_anything.files import partial_path, whole_file

INFO = "cache.json"
# Where training from scratch begins.
UNTRAINED = Path("checkpoints", "untrained_head_vits.pth")
UNKNOWN = -1.0
Floats = npt.NDArray[np.float32]


@dataclass(frozen=True)
class CacheInfo:
    """What all clips of a cache have in common; `fingerprint` is that of the encoder's frozen weights."""

    encoder: str
    fingerprint: str
    frames: int
    height: int
    width: int
    encoder_blocks: int = 0


def fingerprint(weights: Mapping[str, Tensor]) -> str:
    """Hash of names and float16 values of weights: a checkpoint has that of the one it was rounded from."""
    digest = hashlib.sha256()
    for name in sorted(weights):
        digest.update(name.encode())
        digest.update(weights[name].detach().cpu().half().contiguous().numpy().tobytes())
    return digest.hexdigest()[:16]


def create_cache(path: Path, info: CacheInfo) -> None:
    """Make the folder, or check that the one there was made the same way."""
    if (path / INFO).exists():
        wanted = asdict(info)
        for name, value in asdict(open_cache(path)).items():
            if value != wanted[name]:
                raise OutputError(f"{path}: was made with {name} {value}, not {wanted[name]}; name another --out")
        return
    if path.is_dir() and any(path.iterdir()):
        raise OutputError(f"{path}: is not empty and no cache; name another --out")
    path.mkdir(parents=True, exist_ok=True)
    with whole_file(path / INFO) as partial:
        partial.write_text(json.dumps(asdict(info), indent=1))


def open_cache(path: Path) -> CacheInfo:
    """Read what a cache's clips have in common."""
    if not (path / INFO).is_file():
        raise InputError(f"{path}: no feature cache there; make one with `python -m starter.make_cache --out {path}`")
    try:
        description = json.loads((path / INFO).read_text())
        return CacheInfo(**{field.name: description[field.name] for field in fields(CacheInfo)})
    except (ValueError, KeyError) as error:
        raise InputError(f"{path / INFO}: damaged ({error})") from error


def clip_name(seed: int, view: int) -> str:
    return f"clip_{seed:08d}_v{view}"


def clip_names(path: Path) -> list[str]:
    """The clips that are there by now, sorted."""
    return sorted(entry.name for entry in path.iterdir() if entry.name.startswith("clip_"))


def quantise(tokens: Floats) -> tuple[npt.NDArray[np.int8], Floats]:
    """Tokens (T, K, h, w, C) to int8 and the step (T, K, C) of each channel, to 1 % of its standard deviation."""
    steps = np.maximum(np.abs(tokens).max(axis=(2, 3)) / np.float32(127), np.float32(1e-12))
    return np.rint(tokens / steps[:, :, None, None, :]).astype(np.int8), steps


def write_clip(
    path: Path,
    tokens: Floats,
    disparity: Floats,
    valid: npt.NDArray[np.bool_],
    images: npt.NDArray[np.uint8],
    stream: Floats | None = None,
) -> None:
    """Write a clip's folder; arrays are shaped as in the files, images (T, H, W, 3) RGB."""
    folder = partial_path(path)
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    try:
        levels, steps = quantise(tokens)
        np.save(folder / "tokens.npy", levels)
        np.save(folder / "scales.npy", steps)
        if stream is not None:
            np.save(folder / "stream.npy", stream.astype(np.float16))
        np.save(folder / "disparity.npy", np.where(valid, disparity, np.float32(UNKNOWN)).astype(np.float16))
        strip = np.concatenate(list(images[:, ::4, ::4]), axis=1)
        cv2.imwrite(str(folder / "preview.jpg"), np.ascontiguousarray(strip[..., ::-1]))
        folder.replace(path)
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        raise


def read_clip(path: Path, start: int, count: int, encoder_blocks: int = 0) -> Sample:
    """Read `count` frames from `start` on; no other parts of the clip's files are touched.

    Inputs are the token maps (T, h, w, C) in float32, then with live blocks the stream (T, 1 + h w, C) in float16.
    """
    try:
        window = slice(start, start + count)
        tokens, steps, stored = (
            np.load(path / f"{name}.npy", mmap_mode="r")[window].astype(np.float32)
            for name in ("tokens", "scales", "disparity")
        )
        stream = [np.array(np.load(path / "stream.npy", mmap_mode="r")[window])] if encoder_blocks else []
    except (OSError, ValueError) as error:
        raise InputError(f"{path}: gone or damaged ({error}); delete the folder") from error
    maps = [tokens[:, tap] * steps[:, tap, None, None, :] for tap in range(tokens.shape[1])]
    inputs = tuple(map(torch.from_numpy, (*maps, *stream)))
    return Sample(inputs, torch.from_numpy(np.maximum(stored, 0)), torch.from_numpy(stored >= 0))


class CacheSource:
    """Clips of `frames` frames from caches of features, as far as these are filled by now.

    `info` describes the first cache.
    """

    def __init__(self, paths: Sequence[Path], frames: int, fingerprint: str, encoder_blocks: int = 0) -> None:
        self.info = open_cache(paths[0])
        self._frames = frames
        self._samples: list[tuple[Path, int, int]] = []  # clip, first frame, how many more it may start at
        for path in paths:
            info = open_cache(path)
            if info.encoder_blocks != encoder_blocks:
                raise InputError(f"{path}: was made with --encoder_blocks {info.encoder_blocks}, not {encoder_blocks}")
            if info.fingerprint != fingerprint:
                raise InputError(f"{path}: was made with another encoder than --checkpoint has; make a new cache")
            if info.frames < frames:
                raise InputError(f"{path}: its clips have {info.frames} frames, fewer than --frames {frames}")
            if (info.height, info.width) != (self.info.height, self.info.width):
                raise InputError(f"{path}: its frames are {info.width}x{info.height}, those of {paths[0]} are not")
            for name in clip_names(path):
                starts = range(0, info.frames - frames + 1, frames)
                self._samples += [(path / name, start, info.frames % frames) for start in starts]
        if not self._samples:
            raise InputError(f"{paths[0]}: the cache holds no clips yet")

    def __len__(self) -> int:
        return len(self._samples)

    def sample(self, number: int, rng: np.random.Generator) -> Sample:
        clip, start, spare = self._samples[number]
        # What a whole number of samples leaves over is spread, so that every frame is seen at times.
        return read_clip(clip, start + int(rng.integers(spare + 1)), self._frames, self.info.encoder_blocks)
