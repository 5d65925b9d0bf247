"""Depth that is not finite: float16 is left where it overflows, pixels are said, lost frames end the run."""

from __future__ import annotations

import copy
import logging
from collections.abc import Iterator, Sequence

import numpy as np
import numpy.typing as npt
import pytest
import torch
from recipes import overflow_in_float16, synthetic_frames
from test_distributed import MixingNetwork
from torch import Tensor

from video_depth_anything.device import Execution
from video_depth_anything.errors import NonFiniteError
from video_depth_anything.frame_features import FrameFeatures
from video_depth_anything.offline import RawWindows, infer_depth, join_windows
from video_depth_anything.video_depth import VideoDepthAnything
from video_depth_anything.video_depth_stream import DepthStream

CPU = torch.device("cpu")
FP16, BF16 = Execution(CPU, torch.float16, 2), Execution(CPU, torch.bfloat16, 2)


@pytest.fixture(scope="module")
def overflowing(golden_model: VideoDepthAnything) -> VideoDepthAnything:
    model = copy.deepcopy(golden_model)
    overflow_in_float16(model)
    return model


def test_windows_that_overflow_are_computed_in_bfloat16(
    overflowing: VideoDepthAnything, caplog: pytest.LogCaptureFixture
) -> None:
    """All the same whether one process computes every window or each window has its own."""
    frames = synthetic_frames(26, 28, 28, seed=1)
    expected = np.stack(list(infer_depth(overflowing, frames, 28, BF16)))
    assert np.isfinite(expected).all()
    with caplog.at_level(logging.WARNING):
        found = np.stack(list(infer_depth(overflowing, frames, 28, FP16)))
    assert [record.message.split(";")[0] for record in caplog.records] == [
        "float16 overflows on frames 0, 1, 2, 3, 4 and 21 more"
    ]
    np.testing.assert_array_equal(found, expected)
    apart = [RawWindows(overflowing, frames, 28, FP16).window(index) for index in (0, 1)]
    joined = join_windows((window for window in apart if window is not None), False, CPU)
    np.testing.assert_array_equal(np.stack(list(joined)), found)


def test_float16_that_holds_stays(golden_model: VideoDepthAnything, caplog: pytest.LogCaptureFixture) -> None:
    frames = synthetic_frames(3, 28, 28, seed=1)
    half, other = (np.stack(list(infer_depth(golden_model, frames, 28, e))) for e in (FP16, BF16))
    assert np.abs(half - other).max() > 0
    assert not caplog.records


def test_a_stream_that_overflows_goes_on_in_bfloat16(
    overflowing: VideoDepthAnything, caplog: pytest.LogCaptureFixture
) -> None:
    frames = synthetic_frames(4, 28, 28, seed=2)
    stream, expected = DepthStream(overflowing, 28, FP16), DepthStream(overflowing, 28, BF16)
    for frame in frames:
        np.testing.assert_array_equal(stream.step(frame), expected.step(frame))
    assert "float16 overflows on frame 0;" in caplog.text
    assert len(caplog.records) == 1


def test_a_stream_that_overflows_late_keeps_what_it_remembers(
    golden_model: VideoDepthAnything, caplog: pytest.LogCaptureFixture
) -> None:
    """The frame of the overflow is the second one: the first lies in the memory in float16."""
    model = copy.deepcopy(golden_model)
    frames = synthetic_frames(4, 28, 28, seed=3)
    stream, exact = DepthStream(model, 28, FP16), DepthStream(golden_model, 28, Execution(CPU, None, 1))
    depths = [stream.step(frames[0])]
    held = stream.state_bytes
    overflow_in_float16(model)
    depths += [stream.step(frame) for frame in frames[1:]]
    assert "float16 overflows on frame 1;" in caplog.text
    assert held < stream.state_bytes < 2.1 * held
    expected = np.stack([exact.step(frame) for frame in frames])
    assert np.linalg.norm(np.stack(depths) - expected) < 0.08 * np.linalg.norm(expected)


class Faulty(MixingNetwork):
    """Depth of one slot of a window is not a number, in one pixel or in all."""

    def __init__(self, slot: int, everywhere: bool) -> None:
        super().__init__()
        self._slot, self._everywhere = slot, everywhere

    def decode(self, window: Sequence[FrameFeatures], slots: Sequence[int], frames_at_once: int) -> Iterator[Tensor]:
        for slot, depth in zip(slots, super().decode(window, slots, 1)):
            if slot == self._slot:
                depth[(...,) if self._everywhere else (0, 0, 3, 4)] = torch.nan
            yield depth


def faulty_depth(slot: int, everywhere: bool) -> list[npt.NDArray[np.float32]]:
    network = Faulty(slot, everywhere)
    return list(infer_depth(network, synthetic_frames(60, 14, 28, seed=4), 14, Execution(CPU, None, 2)))


def test_single_pixels_are_said_once_with_their_frame(caplog: pytest.LogCaptureFixture) -> None:
    depths = faulty_depth(17, everywhere=False)
    assert [np.isnan(depth).sum() for depth in depths] == [int(t in (17, 39)) for t in range(60)]
    assert len(caplog.records) == 1
    assert "frame 17: 1 pixels have NaN or infinite depth" in caplog.text


def test_a_frame_without_depth_ends_the_run() -> None:
    with pytest.raises(NonFiniteError, match=r"^frame 20: no pixel has a finite depth"):
        faulty_depth(20, everywhere=True)


def test_a_stream_without_depth_can_go_on(golden_model: VideoDepthAnything, fp32: Execution) -> None:
    model = copy.deepcopy(golden_model)
    bias = model.head.projects[3].bias
    assert isinstance(bias, Tensor)
    stream, whole = DepthStream(model, 28, fp32), DepthStream(golden_model, 28, fp32)
    for number, frame in enumerate(synthetic_frames(3, 28, 28, seed=5)):
        before = bias.clone()
        bias.fill_(torch.inf)
        with pytest.raises(NonFiniteError, match=f"^frame {number}: no pixel"):
            stream.step(frame)
        bias.copy_(before)
        np.testing.assert_array_equal(stream.step(frame), whole.step(frame))
