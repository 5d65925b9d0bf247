"""infer_video_depth: golden values, bounded memory, each frame encoded once."""

from __future__ import annotations

import gc
import weakref
from collections.abc import Iterator, Sequence

import numpy as np
import numpy.typing as npt
import pytest
import torch
from recipes import assert_close, assert_not_degenerate, golden_arrays, synthetic_frames
from torch import Tensor

from video_depth_anything.device import Execution
from video_depth_anything.frame_features import FrameFeatures
from video_depth_anything.offline import HostCopy, infer_depth
from video_depth_anything.video_depth import VideoDepthAnything
from video_depth_anything.windows import INFER_LEN

CASES = {
    "n1": (1, 48, 64, 56, False),
    "n5_portrait_ratio2": (5, 80, 40, 70, False),
    "n23": (23, 48, 64, 56, False),
    "n60": (60, 48, 64, 56, False),
    "n95": (95, 48, 64, 56, False),
    "n45_metric": (45, 48, 64, 56, True),
}


@pytest.mark.parametrize("name", CASES)
def test_depth_matches_golden(golden_model: VideoDepthAnything, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    count, height, width, input_size, metric = CASES[name]
    golden = golden_arrays("offline_vits")[name]
    assert_not_degenerate(golden)
    monkeypatch.setattr(golden_model, "metric", metric)
    frames = synthetic_frames(count, height, width, seed=count)
    depths, fps = golden_model.infer_video_depth(frames, 24, input_size=input_size, device="cpu", fp32=True)
    assert depths.dtype == np.float32
    assert depths.shape == (count, height, width)
    assert fps == 24
    assert_close(depths, golden)


def test_goldens_differ_between_frames_and_between_joinings() -> None:
    golden = golden_arrays("offline_vits")
    for name in ("n23", "n60", "n95"):
        assert np.abs(np.diff(golden[name], axis=0)).mean() > 0.01
    assert golden["n95"].min() == 0.0  # the clipping is really seen


class CountingModel:
    """A stand-in for the network with the same two halves: depth is the mean of the frame, so order can be checked."""

    metric = False

    def __init__(self) -> None:
        self.encoded: list[float] = []
        self.live: weakref.WeakSet[Tensor] = weakref.WeakSet()
        self.most_live = 0

    def encode(self, images: Tensor) -> FrameFeatures:
        means = images.mean(dim=(1, 2, 3), keepdim=True)
        self.encoded += means.flatten().tolist()
        self.live.add(means)
        self.most_live = max(self.most_live, len(self.live))
        return FrameFeatures(means, means, means, means)

    def decode(self, window: Sequence[FrameFeatures], slots: Sequence[int], frames_at_once: int) -> Iterator[Tensor]:
        assert len(window) == INFER_LEN
        for slot in slots:
            ramp = torch.linspace(0, 1, 14 * 14).reshape(1, 1, 14, 14)
            yield window[slot].map3.reshape(1, 1, 1, 1) + 3 + ramp


def gray_frames(count: int) -> Iterator[npt.NDArray[np.uint8]]:
    return (np.full((14, 14, 3), i % 251, dtype=np.uint8) for i in range(count))


@pytest.mark.parametrize("count", [1, 2, 21, 22, 23, 24, 25, 26, 31, 32, 33, 44, 47, 48, 53, 54, 55, 100])
def test_each_frame_is_encoded_once_and_comes_out_once_in_order(count: int) -> None:
    model = CountingModel()
    execution = Execution(torch.device("cpu"), None, 2)
    depths = list(infer_depth(model, gray_frames(count), 14, execution))
    assert len(depths) == count
    assert len(model.encoded) == len(set(model.encoded)) == count
    # Windows agree with each other here, so alignment is the identity and each depth tells its frame.
    expected = np.array(model.encoded) + 3
    np.testing.assert_allclose([float(depth[0, 0]) for depth in depths], expected, atol=1e-4)


def test_memory_is_bounded_by_a_window() -> None:
    model = CountingModel()
    frames = 0
    for _ in infer_depth(model, gray_frames(400), 14, Execution(torch.device("cpu"), None, 1)):
        frames += 1
        gc.collect(0)
    assert frames == 400
    assert model.most_live <= INFER_LEN + 2


def test_frames_come_out_while_others_are_still_to_be_read() -> None:
    read = 0

    def source() -> Iterator[npt.NDArray[np.uint8]]:
        nonlocal read
        for frame in gray_frames(200):
            read += 1
            yield frame

    depths = infer_depth(CountingModel(), source(), 14, Execution(torch.device("cpu"), None, 4))
    next(depths)
    assert read <= INFER_LEN + 4


def test_reading_ahead_while_depth_is_on_its_way_changes_no_bit(
    golden_model: VideoDepthAnything, fp32: Execution, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As on a GPU, whose copies are not ready at once: the next window's frames go through the encoder first."""
    read = 0

    def source() -> Iterator[npt.NDArray[np.uint8]]:
        nonlocal read
        for frame in synthetic_frames(60, 28, 28, seed=8):
            read += 1
            yield frame

    expected = np.stack(list(infer_depth(golden_model, source(), 28, fp32)))
    monkeypatch.setattr(HostCopy, "ready", False)
    read, reads, depths = 0, [], []
    for depth in infer_depth(golden_model, source(), 28, fp32):
        depths.append(depth)
        reads.append(read)
    np.testing.assert_array_equal(np.stack(depths), expected)
    # The first window has 32 frames, the others 22 new ones; the encoder takes three at a time.
    assert [reads[0], reads[24], reads[46]] == [54, 60, 60]


def test_windows_that_change_nothing_are_left_out(golden_model: VideoDepthAnything, fp32: Execution) -> None:
    """25 frames have two windows in the schedule, of which the second only starts a fade with weight zero."""
    frames = synthetic_frames(26, 28, 28, seed=2)
    whole = list(infer_depth(golden_model, frames, 28, fp32))
    assert len(whole) == 26
    decoded = 0
    decode = golden_model.decode

    class Counting:
        metric = False
        encode = golden_model.encode

        def decode(self, window: Sequence[FrameFeatures], slots: Sequence[int], at_once: int) -> Iterator[Tensor]:
            nonlocal decoded
            decoded += 1
            return decode(window, slots, at_once)

    list(infer_depth(Counting(), frames[:25], 28, fp32))
    assert decoded == 1
    list(infer_depth(Counting(), frames[:26], 28, fp32))
    assert decoded == 3


def test_unusable_frames(golden_model: VideoDepthAnything, fp32: Execution) -> None:
    good = synthetic_frames(2, 28, 28, seed=0)
    with pytest.raises(ValueError, match="frame 2 is 42x28, but the video began with 28x28"):
        list(infer_depth(golden_model, [*good, synthetic_frames(1, 28, 42, seed=0)[0]], 28, fp32))
    with pytest.raises(ValueError, match=r"frame 1 must be .* got \(28, 28\) uint8"):
        list(infer_depth(golden_model, [good[0], good[0, ..., 0]], 28, fp32))
    with pytest.raises(ValueError, match="no frames"):
        golden_model.infer_video_depth([], 24, device="cpu")
    with pytest.raises(ValueError, match="the model is on cpu, not on cuda"):
        golden_model.infer_video_depth(good, 24, device="cuda")


def test_usual_precision_of_the_device(golden_model: VideoDepthAnything) -> None:
    frames = synthetic_frames(3, 56, 70, seed=3)
    exact, _ = golden_model.infer_video_depth(frames, 24, input_size=56, fp32=True)
    usual, _ = golden_model.infer_video_depth(frames, 24, input_size=56)
    assert usual.dtype == np.float32
    # Random weights amplify rounding: bf16 reaches 0.055 here.
    assert np.linalg.norm(usual - exact) / np.linalg.norm(exact) < 0.08
