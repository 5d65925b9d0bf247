"""The cache of features: what is written comes back, whole or not at all, and fits what reads it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch

from starter import cache
from video_depth_anything.errors import InputError, OutputError

INFO = cache.CacheInfo("vits", "0123456789abcdef", 4, 28, 42)


def write_clip(folder: Path, seed: int) -> dict[str, Any]:
    rng = np.random.default_rng(seed)
    parts: dict[str, Any] = {
        "tokens": rng.standard_normal((4, 4, 2, 3, 8), dtype=np.float32) * np.arange(1, 9, dtype=np.float32),
        "disparity": rng.random((4, 28, 42), dtype=np.float32),
        "valid": rng.random((4, 28, 42)) > 0.2,
        "images": rng.integers(0, 255, (4, 28, 42, 3)).astype(np.uint8),
    }
    cache.write_clip(folder / cache.clip_name(seed, 0), **parts)
    return parts


def test_what_is_cached_comes_back(tmp_path: Path) -> None:
    parts = write_clip(tmp_path, 1)
    read = cache.read_clip(tmp_path / cache.clip_name(1, 0), 1, 2)
    for tap in range(4):
        wanted = parts["tokens"][1:3, tap]
        error = np.abs(read.inputs[tap].numpy() - wanted).max(axis=(0, 1, 2)) / np.abs(wanted).max(axis=(0, 1, 2))
        assert error.max() < 0.012
    np.testing.assert_array_equal(read.valid, parts["valid"][1:3])
    disparity = np.where(parts["valid"], parts["disparity"], 0)[1:3]
    np.testing.assert_allclose(read.target, disparity, atol=5e-4)


def test_a_clip_appears_whole_or_not_at_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        assert cache.clip_names(tmp_path) == []  # half written, it has no name yet
        raise OSError("the disk is full")

    monkeypatch.setattr(cv2, "imwrite", fail)
    with pytest.raises(OSError, match="full"):
        write_clip(tmp_path, 1)
    assert list(tmp_path.iterdir()) == []


def test_a_cache_is_checked(tmp_path: Path) -> None:
    cache.create_cache(tmp_path / "a", INFO)
    cache.create_cache(tmp_path / "a", INFO)
    with pytest.raises(InputError, match="no clips yet"):
        cache.CacheSource([tmp_path / "a"], 1, INFO.fingerprint)
    with pytest.raises(OutputError, match="frames 4, not 5"):
        cache.create_cache(tmp_path / "a", cache.CacheInfo("vits", INFO.fingerprint, 5, 28, 42))
    with pytest.raises(InputError, match="another encoder"):
        cache.CacheSource([tmp_path / "a"], 1, "fedcba9876543210")
    with pytest.raises(InputError, match="make_cache"):
        cache.CacheSource([tmp_path / "b"], 1, INFO.fingerprint)
    with pytest.raises(InputError, match="fewer than"):
        cache.CacheSource([tmp_path / "a"], 5, INFO.fingerprint)
    (tmp_path / "b").mkdir()
    (tmp_path / "b" / "thesis.txt").touch()
    with pytest.raises(OutputError, match="not empty"):
        cache.create_cache(tmp_path / "b", INFO)


def test_samples_of_caches_cover_every_frame(tmp_path: Path) -> None:
    parts: dict[tuple[str, int], dict[str, Any]] = {}
    for name in ("a", "b"):
        cache.create_cache(tmp_path / name, INFO)
        parts |= {(name, seed): write_clip(tmp_path / name, seed) for seed in (2, 1)}
    source = cache.CacheSource([tmp_path / "a", tmp_path / "b"], 3, INFO.fingerprint)
    assert len(source) == 4
    starts = set()
    for draw in range(20):
        sample = source.sample(2, np.random.default_rng(draw))
        valid = parts["b", 1]["valid"]
        starts |= {start for start in (0, 1) if np.array_equal(sample.valid.numpy(), valid[start : start + 3])}
    assert starts == {0, 1}


def test_a_checkpoint_saved_in_half_precision_fits_its_cache() -> None:
    weights = {"pretrained.x": torch.rand(5), "head.y": torch.rand(5)}
    rounded = {name: value.half().float() for name, value in weights.items()}
    assert cache.fingerprint(rounded) == cache.fingerprint(weights)
    assert cache.fingerprint({"pretrained.x": weights["head.y"]}) != cache.fingerprint(weights)
