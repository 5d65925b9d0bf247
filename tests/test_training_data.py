"""Training data: the cache of features, the order of samples, augmentation, RGB-D folders."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch

from benchmark.rgbd import open_rgbd_folder
from starter import cache
from starter.sources import CacheSource
from training.augment import Augmentation, augment, flip, resize_clip
from training.batches import Position, SampleOrder, batches
from training.clips import Clip
from training.processes import ProcessGroup
from training.sources import RgbdSource, Sample
from video_depth_anything.errors import InputError, OutputError

INFO = cache.CacheInfo("vits", "0123456789abcdef", 4, 28, 42, "int8")


def write_clip(folder: Path, seed: int, storage: cache.Storage = "int8") -> dict[str, Any]:
    rng = np.random.default_rng(seed)
    parts: dict[str, Any] = {
        "tokens": rng.standard_normal((4, 4, 2, 3, 8), dtype=np.float32) * np.arange(1, 9, dtype=np.float32),
        "disparity": rng.random((4, 28, 42), dtype=np.float32),
        "valid": rng.random((4, 28, 42)) > 0.2,
        "images": rng.integers(0, 255, (4, 28, 42, 3)).astype(np.uint8),
    }
    cache.write_clip(folder / cache.clip_name(seed, 0), **parts, storage=storage)
    return parts


@pytest.mark.parametrize(("storage", "tolerance"), [("int8", 0.012), ("fp16", 1e-3)])
def test_what_is_cached_comes_back(tmp_path: Path, storage: cache.Storage, tolerance: float) -> None:
    parts = write_clip(tmp_path, 1, storage)
    read = cache.read_clip(tmp_path / cache.clip_name(1, 0), 1, 2)
    for tap in range(4):
        wanted = parts["tokens"][1:3, tap]
        error = np.abs(read.inputs[tap] - wanted).max(axis=(0, 1, 2)) / np.abs(wanted).max(axis=(0, 1, 2))
        assert error.max() < tolerance
    np.testing.assert_array_equal(read.valid, parts["valid"][1:3])
    disparity = np.where(parts["valid"], parts["disparity"], 0)[1:3]
    np.testing.assert_allclose(read.disparity, disparity, atol=5e-4)


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
    with pytest.raises(OutputError, match="frames 4, not 5"):
        cache.create_cache(tmp_path / "a", cache.CacheInfo("vits", INFO.fingerprint, 5, 28, 42, "int8"))
    with pytest.raises(InputError, match="another encoder"):
        CacheSource([tmp_path / "a"], 1, "fedcba9876543210")
    with pytest.raises(InputError, match="make_cache"):
        CacheSource([tmp_path / "b"], 1, INFO.fingerprint)
    with pytest.raises(InputError, match="fewer than"):
        CacheSource([tmp_path / "a"], 5, INFO.fingerprint)
    old = json.loads((tmp_path / "a" / "cache.json").read_text())
    del old["target"]
    (tmp_path / "old").mkdir()
    (tmp_path / "old" / "cache.json").write_text(json.dumps(old))
    with pytest.raises(InputError, match="inverse metres"):
        CacheSource([tmp_path / "old"], 1, INFO.fingerprint)
    (tmp_path / "b").mkdir()
    (tmp_path / "b" / "thesis.txt").touch()
    with pytest.raises(OutputError, match="not empty"):
        cache.create_cache(tmp_path / "b", INFO)


def test_an_epoch_shows_every_frame_once_and_the_next_takes_in_what_was_added(tmp_path: Path) -> None:
    cache.create_cache(tmp_path, INFO)
    for seed in range(3):
        write_clip(tmp_path, seed)
    source = CacheSource([tmp_path], 1, INFO.fingerprint)
    order = iter(SampleOrder(source, 0, 4, ProcessGroup(), Position()))
    first = [item for _ in range(3) for item in next(order).items]
    assert len(set(first)) == 12
    assert first != sorted(first)
    write_clip(tmp_path, 3)
    second = [item for _ in range(4) for item in next(order).items]
    assert len(set(second)) == 16
    assert {part for part, _ in second} - {part for part, _ in first} == {"0/clip_00000003_v0"}


def test_the_order_goes_on_from_any_position_even_if_the_cache_has_grown(tmp_path: Path) -> None:
    cache.create_cache(tmp_path, INFO)
    for seed in range(3):
        write_clip(tmp_path, seed)
    source = CacheSource([tmp_path], 1, INFO.fingerprint)
    straight = batches(source, 5, 4, ProcessGroup(), Position(), workers=0, pin=False)
    seen = [next(straight) for _ in range(3)]
    write_clip(tmp_path, 9)
    resumed = batches(source, 5, 4, ProcessGroup(), seen[0].after, workers=0, pin=False)
    for wanted in seen[1:]:
        batch = next(resumed)
        assert batch.after == wanted.after
        assert torch.equal(batch.disparity, wanted.disparity)
        assert all(torch.equal(a, b) for a, b in zip(batch.inputs, wanted.inputs))


def test_processes_share_a_batch(tmp_path: Path) -> None:
    cache.create_cache(tmp_path, INFO)
    for seed in range(3):
        write_clip(tmp_path, seed)
    source = CacheSource([tmp_path], 1, INFO.fingerprint)
    start = Position(0, 0, 0, tuple(source.parts()))
    whole = next(batches(source, 0, 4, ProcessGroup(), start, workers=0, pin=False)).disparity
    shares = [
        next(batches(source, 0, 4, ProcessGroup(rank, 2), start, workers=0, pin=False)).disparity for rank in range(2)
    ]
    assert torch.equal(torch.cat(shares), whole)


def test_nothing_to_train_on_is_said(tmp_path: Path) -> None:
    cache.create_cache(tmp_path, INFO)
    with pytest.raises(InputError, match="no clips yet"):
        next(iter(SampleOrder(CacheSource([tmp_path], 1, INFO.fingerprint), 0, 4, ProcessGroup(), Position())))


@pytest.fixture
def clip() -> Clip:
    """A slanted plane 2 to 4 metres away, with sky at the top left and a hole."""
    _, x = np.mgrid[0:28, 0:42].astype(np.float32)
    depth = np.stack([2 + x / 21, 2.1 + x / 21])
    depth[:, :5, :5], depth[:, 20:, 30:35] = np.inf, 0
    images = np.random.default_rng(0).integers(0, 255, (2, 28, 42, 3)).astype(np.uint8)
    return Clip(images, depth, np.array([[40.0, 0, 20], [0, 41, 13], [0, 0, 1]]), np.stack([np.eye(4)] * 2))


def test_flipping_twice_gives_the_clip_back(clip: Clip) -> None:
    twice = flip(flip(clip))
    np.testing.assert_array_equal(twice.images, clip.images)
    np.testing.assert_array_equal(twice.depth, clip.depth)
    np.testing.assert_allclose(twice.intrinsics, clip.intrinsics)
    # A point's column and the camera's centre move together.
    assert flip(clip).intrinsics[0, 2] == 41 - 20


def test_augmentation_depends_on_the_generator_alone_and_keeps_depth(clip: Clip) -> None:
    how = Augmentation(flip=0.5, crop=0.5, colour=0.4)
    first, again, other = (augment(clip, how, np.random.default_rng(seed)) for seed in (3, 3, 4))
    np.testing.assert_array_equal(first.images, again.images)
    assert first.images.shape != other.images.shape or (first.images != other.images).any()
    assert first.images.shape[:3] == first.depth.shape
    assert set(np.unique(first.depth)) <= set(np.unique(clip.depth))
    # The change of colours is one for the whole clip: equal frames stay equal.
    still = Clip(np.stack([clip.images[0]] * 2), clip.depth, clip.intrinsics, None)
    changed = augment(still, Augmentation(0, 1, 0.4), np.random.default_rng(0)).images
    np.testing.assert_array_equal(changed[0], changed[1])
    assert (changed != still.images).mean() > 0.5


def test_resizing_invents_no_depth_and_scales_the_camera(clip: Clip) -> None:
    half = resize_clip(clip, (14, 21))
    assert set(np.unique(half.depth)) <= set(np.unique(clip.depth))
    np.testing.assert_allclose(half.intrinsics[0], [20, 0, (20 + 0.5) / 2 - 0.5])
    assert half.images.shape == (2, 14, 21, 3)


def test_disparity_follows_the_zoom(clip: Clip) -> None:
    """A cropped picture, enlarged, shows things larger: its disparity is larger by as much, whatever its size."""
    left = replace(clip, images=clip.images[:, :, :21], depth=clip.depth[:, :, :21])
    np.testing.assert_allclose(left.disparity, 2 * clip.disparity[:, :, :21], rtol=1e-6)
    whole = resize_clip(left, (56, 42))
    assert set(np.unique(whole.disparity)) == set(np.unique(left.disparity))
    assert (Clip(clip.images, np.full_like(clip.depth, np.inf), clip.intrinsics, None).disparity == 0).all()


def test_rgbd_folders_give_windows_of_frames(rgbd_folder: Path) -> None:
    source_folder = open_rgbd_folder(rgbd_folder)
    source = RgbdSource([rgbd_folder], 3, (28, 42), Augmentation(0, 1, 0))
    assert [source.samples(part) for part in source.parts()] == [4]
    sample: Sample = source.sample("0", 2, np.random.default_rng(0))
    assert sample.inputs[0].shape == (3, 3, 28, 42)
    assert sample.valid.float().mean() > 0.8
    # Frame 2's wall begins 1.54 metres away; the resized map may start a column later.
    focal = source_folder.intrinsics[0, 0] / source_folder.image(0).shape[1]
    assert focal / 1.58 < sample.disparity[sample.valid].max() <= focal / 1.54 + 1e-6
    with pytest.raises(InputError, match="6 frames, fewer than the 7"):
        RgbdSource([rgbd_folder], 7, (28, 42), Augmentation())


def test_a_checkpoint_saved_in_half_precision_fits_its_cache() -> None:
    weights = {"pretrained.x": torch.rand(5), "head.y": torch.rand(5)}
    rounded = {name: value.half().float() for name, value in weights.items()}
    assert cache.fingerprint(rounded) == cache.fingerprint(weights)
    assert cache.fingerprint({"pretrained.x": weights["head.y"]}) != cache.fingerprint(weights)
