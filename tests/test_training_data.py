"""Training data: the order of samples, augmentation, RGB-D folders."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from benchmark.rgbd import open_rgbd_folder
from training.augment import Augmentation, augment, flip, resize_clip
from training.batches import Batch, Batches, batches
from training.clips import Clip
from training.processes import ProcessGroup
from training.sources import RgbdSource, Sample, sample_of_clip
from training.validation import fixed_recording
from video_depth_anything.errors import InputError
from video_depth_anything.transform import network_size


class Numbers:
    """A source whose sample n is filled with n; what the generator draws is the mask."""

    def __init__(self, count: int) -> None:
        self._count = count

    def __len__(self) -> int:
        return self._count

    def sample(self, number: int, rng: np.random.Generator) -> Sample:
        filled = torch.full((1, 2, 2), float(number))
        return Sample((filled,), filled, torch.from_numpy(rng.random((1, 2, 2)) > 0.5))


def numbers(batch: Batch) -> list[int]:
    return batch.target[:, 0, 0, 0].int().tolist()


def test_an_epoch_shows_every_sample_once_in_an_order_of_its_own() -> None:
    data = Batches(Numbers(12), 0, 4, ProcessGroup())
    epochs = [[n for step in range(3 * epoch, 3 * epoch + 3) for n in numbers(data[step])] for epoch in range(2)]
    assert sorted(epochs[0]) == sorted(epochs[1]) == list(range(12))
    assert list(range(12)) != epochs[0] != epochs[1]


def test_fewer_samples_than_a_batch_are_repeated() -> None:
    assert sorted(numbers(Batches(Numbers(2), 0, 4, ProcessGroup())[5])) == [0, 0, 1, 1]


def test_batches_go_on_from_any_step_whoever_makes_them() -> None:
    data = Batches(Numbers(10), 5, 4, ProcessGroup())
    straight, resumed = batches(data, 0, 0, pin=False), batches(data, 1, 1, pin=False)
    next(straight)
    for _ in range(4):
        one, other = next(straight), next(resumed)
        assert numbers(one) == numbers(other) and torch.equal(one.valid, other.valid)


@pytest.mark.parametrize("count", [3, 13])
def test_processes_share_a_batch(count: int) -> None:
    for step in range(8):
        whole = Batches(Numbers(count), 0, 4, ProcessGroup())[step]
        shares = [Batches(Numbers(count), 0, 4, ProcessGroup(rank, 2))[step] for rank in range(2)]
        for name in ("target", "valid"):
            # The samples are dealt out in turn.
            together = torch.stack([getattr(share, name) for share in shares], dim=1).flatten(0, 1)
            assert torch.equal(together, getattr(whole, name))


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
    first, again, other = (augment(clip, (28, 42), how, np.random.default_rng(seed)) for seed in (3, 3, 4))
    np.testing.assert_array_equal(first.images, again.images)
    assert first.images.shape != other.images.shape or (first.images != other.images).any()
    assert first.images.shape[:3] == first.depth.shape
    assert set(np.unique(first.depth)) <= set(np.unique(clip.depth))
    # The change of colours is one for the whole clip: equal frames stay equal.
    still = Clip(np.stack([clip.images[0]] * 2), clip.depth, clip.intrinsics, None)
    changed = augment(still, (28, 42), Augmentation(0, 1, 0.4), np.random.default_rng(0)).images
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
    source = RgbdSource([source_folder], 3, (28, 42), Augmentation(0, 1, 0))
    assert len(source) == 4
    sample: Sample = source.sample(2, np.random.default_rng(0))
    assert sample.inputs[0].shape == (3, 3, 28, 42)
    assert sample.valid.float().mean() > 0.8
    # Frame 2's wall begins 1.54 metres away; the resized map may start a column later.
    focal = source_folder.intrinsics[0, 0] / source_folder.image(0).shape[1]
    assert focal / 1.58 < sample.target[sample.valid].max() <= focal / 1.54 + 1e-6
    with pytest.raises(InputError, match="6 frames, fewer than the 7"):
        RgbdSource([source_folder], 7, (28, 42), Augmentation())


def circle(height: int, width: int, radius: int) -> Clip:
    """A white disc 4 metres away in the middle of a black wall 8 metres away."""
    y, x = np.mgrid[0:height, 0:width]
    on = (x - width / 2 + 0.5) ** 2 + (y - height / 2 + 0.5) ** 2 < radius**2
    images = np.where(on[None, ..., None], np.uint8(255), np.uint8(0)).repeat(3, axis=3)
    focal = np.array([[0.9 * width, 0, width / 2 - 0.5], [0, 0.9 * width, height / 2 - 0.5], [0, 0, 1]])
    return Clip(images, np.where(on, 4, 8)[None].astype(np.float32), focal, None)


def test_recordings_without_depth_are_refused_before_the_first_step(rgbd_folder: Path) -> None:
    for path in (rgbd_folder / "depth").iterdir():
        cv2.imwrite(str(path), np.zeros_like(cv2.imread(str(path), cv2.IMREAD_UNCHANGED)))
    folder = open_rgbd_folder(rgbd_folder)
    with pytest.raises(InputError, match="recording: its depth maps are 0 everywhere"):
        RgbdSource([folder], 2, (28, 42), Augmentation())
    with pytest.raises(InputError, match="recording: no known depth up to 10 m"):
        fixed_recording(folder, 2, 28, consecutive=True, metric=False)


@pytest.mark.parametrize("frame", [(360, 640), (640, 360), (300, 300)])
@pytest.mark.parametrize("size", [(126, 168), (126, 224), (168, 126)])
@pytest.mark.parametrize("crop", [1.0, 0.8])
def test_a_circle_stays_a_circle(frame: tuple[int, int], size: tuple[int, int], crop: float) -> None:
    clip = circle(*frame, radius=60)
    shown = augment(clip, size, Augmentation(0, crop, 0), np.random.default_rng(1))
    assert shown.images.shape[1:3] == shown.depth.shape[1:] == size
    focal = shown.intrinsics[[0, 1], [0, 1]]
    assert focal[0] == pytest.approx(focal[1], rel=0.01)
    # Nothing is left out but what the other ratio takes, and the crop.
    scale = focal[0] / clip.intrinsics[0, 0]
    largest = max(size[0] / frame[0], size[1] / frame[1])
    assert largest * 0.99 < scale < largest / crop * 1.01
    disc = shown.depth[0] == 4
    if crop == 1:
        high, wide = disc.any(1).sum(), disc.any(0).sum()
        assert abs(int(high) - int(wide)) <= 1 and high == pytest.approx(120 * scale, abs=1.5)
        # Image and camera agree: the disc's middle is where the camera's centre is.
        y, x = np.nonzero(disc)
        middle = [(x.min() + x.max()) / 2, (y.min() + y.max()) / 2]
        np.testing.assert_allclose(shown.intrinsics[:2, 2], middle, atol=1.5)


def test_validation_sees_the_shape_that_inference_sees(tmp_path: Path) -> None:
    for part in ("rgb", "depth"):
        (tmp_path / part).mkdir()
    clip = circle(180, 320, 30)
    cv2.imwrite(str(tmp_path / "rgb" / "0.png"), clip.images[0])
    cv2.imwrite(str(tmp_path / "depth" / "0.png"), (1000 * clip.depth[0]).astype(np.uint16))
    np.savetxt(tmp_path / "intrinsics.txt", clip.intrinsics)
    folder = open_rgbd_folder(tmp_path)
    for metric in (False, True):
        fixed = fixed_recording(folder, 1, 140, False, metric)
        assert fixed.images.shape[2:] == network_size(180, 320, 140) == (140, 252)
        np.testing.assert_allclose(np.unique(fixed.depth), [4, 8] if metric else [4 / 0.9, 8 / 0.9], rtol=1e-5)


def test_metric_samples_are_metres_where_depth_is_known(clip: Clip) -> None:
    sample = sample_of_clip(clip, metric=True)
    known = np.isfinite(clip.depth) & (clip.depth > 0)
    np.testing.assert_array_equal(sample.valid.numpy(), known)
    np.testing.assert_array_equal(sample.target.numpy()[known], clip.depth[known])
    assert torch.isfinite(sample.target).all()
