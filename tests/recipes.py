"""How the golden values were made: random weights that depend on nothing but their key, and synthetic frames."""

from __future__ import annotations

import json
import math
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from video_depth_anything.video_depth import VideoDepthAnything

GOLDEN = Path(__file__).parent / "golden"
# Of the golden array's range; golden/README.md says why.
TOLERANCE = 5e-5


def golden_arrays(name: str) -> dict[str, npt.NDArray[Any]]:
    with np.load(GOLDEN / f"{name}.npz") as archive:
        return {key: archive[key] for key in archive.files}


def golden_json(name: str) -> Any:
    return json.loads((GOLDEN / f"{name}.json").read_text())


def random_weight(key: str, shape: tuple[int, ...]) -> npt.NDArray[np.float32]:
    """Weight of that key: normal noise seeded by the key, scaled so that activations neither vanish nor explode."""
    z = np.random.default_rng(zlib.crc32(key.encode())).standard_normal(shape, dtype=np.float32)
    last = key.rsplit(".", 1)[-1]
    if last in ("cls_token", "pos_embed", "mask_token"):
        weight = 0.2 * z
    elif last == "gamma":
        weight = 0.5 + 0.1 * z
    elif last == "bias":
        weight = 0.1 * z
    elif len(shape) == 1:
        weight = 1 + 0.1 * z
    else:
        weight = z / np.sqrt(np.prod(shape[1:]))
    if key == "head.scratch.output_conv2.2.bias":
        weight = weight + 2.0
    return np.asarray(weight, dtype=np.float32)


def random_state_dict(state_dict: dict[str, Tensor]) -> dict[str, Tensor]:
    """The same keys and shapes with random weights; the fixed position tables stay."""
    return {
        key: value if key.endswith("pos_encoder.pe") else torch.from_numpy(random_weight(key, tuple(value.shape)))
        for key, value in state_dict.items()
    }


def overflow_in_float16(model: VideoDepthAnything) -> None:
    """Let one map of the pyramid pass through values that float16 does not hold; the depth stays the same."""
    first, second = model.head.projects[0], model.head.resize_layers[0]
    assert isinstance(first, nn.Conv2d) and isinstance(second, nn.ConvTranspose2d) and first.bias is not None
    first.weight.mul_(2**20)
    first.bias.mul_(2**20)
    second.weight.mul_(2**-20)


def synthetic_frames(count: int, height: int, width: int, seed: int) -> npt.NDArray[np.uint8]:
    """Moving waves, a moving square and still noise, (count, height, width, 3) uint8."""
    y, x = np.mgrid[0:height, 0:width].astype(np.float32)
    noise = np.random.default_rng(seed).integers(0, 24, (height, width, 3))
    side = max(height // 4, 2)
    frames = np.empty((count, height, width, 3), dtype=np.uint8)
    for t in range(count):
        waves = (np.sin(x / 9 + 0.21 * t), np.cos(y / 7 - 0.13 * t), np.sin((x + y) / 11 + 0.17 * t))
        image = np.stack([127 + 90 * wave for wave in waves], axis=-1)
        row, column = (2 * t) % max(height - side, 1), (3 * t) % max(width - side, 1)
        image[row : row + side, column : column + side] = (240, 60, 30)
        frames[t] = np.clip(image + noise, 0, 255).astype(np.uint8)
    return frames


def assert_close(actual: npt.ArrayLike, golden: npt.NDArray[Any], tolerance: float = TOLERANCE) -> None:
    """Equal within `tolerance` of the golden array's range."""
    actual = np.asarray(actual)
    assert actual.shape == golden.shape
    spread = float(golden.max() - golden.min())
    error = float(np.abs(actual - golden).max()) / spread
    assert error <= tolerance, f"differs by {error:.2e} of the range"


def assert_not_degenerate(golden: npt.NDArray[Any]) -> None:
    """A golden array that is constant or mostly zero would let a dead network pass."""
    assert np.isfinite(golden).all()
    assert golden.std() > 0.05
    assert (golden > 0).mean() > 0.3


def num_windows(num_frames: int) -> int:
    """Number of windows the published schedule has for a video."""
    return math.ceil(num_frames / 22)


def window_schedule(num_frames: int) -> list[list[int]]:
    """Frame numbers shown by each window's 32 slots, window by window from the one before, as published.

    Past its end the video repeats its last frame; the numbers here go on counting.
    """
    schedule = [list(range(32))]
    for index in range(1, num_windows(num_frames)):
        keyframes = [schedule[-1][slot] for slot in (0, 12, 24, 25, 26, 27, 28, 29, 30, 31)]
        schedule.append(keyframes + list(range(22 * index + 10, 22 * index + 32)))
    return schedule
