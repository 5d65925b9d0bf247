"""A lack of memory on the device: half as many frames at once, once; and one clear line where that does not help."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pytest
import torch
from recipes import assert_close, golden_arrays, synthetic_frames
from test_cli import parsed
from torch import Tensor, nn

from video_depth_anything.device import Execution
from video_depth_anything.errors import user_line
from video_depth_anything.frame_features import FrameFeatures
from video_depth_anything.offline import infer_depth
from video_depth_anything.pipelines.options import ModelOptions
from video_depth_anything.pipelines.setup import load_network
from video_depth_anything.retry import RetryingNetwork
from video_depth_anything.temporal_memory import TemporalMemory
from video_depth_anything.video_depth import VideoDepthAnything
from video_depth_anything.video_depth_stream import DepthStream

LINE = "out of memory; try a smaller --input_size, --frames_at_once, --max_res or --encoder"
CPU = torch.device("cpu")


class TightNetwork:
    """The golden network on a device that holds only so many frames at once in each half."""

    metric = False

    def __init__(self, model: VideoDepthAnything, to_encode: int, to_decode: int, late: bool = False) -> None:
        self._model = model
        self._to_encode, self._to_decode, self._late = to_encode, to_decode, late
        self.asked: list[int] = []

    def parameters(self) -> Iterator[nn.Parameter]:
        return self._model.parameters()

    def encode(self, images: Tensor) -> FrameFeatures:
        self._use(len(images), self._to_encode)
        return self._model.encode(images)

    def decode(self, window: Sequence[FrameFeatures], slots: Sequence[int], frames_at_once: int) -> Iterator[Tensor]:
        if not self._late:
            self._use(frames_at_once, self._to_decode)
        for depth in self._model.decode(window, slots, frames_at_once):
            yield depth
            self._use(frames_at_once, self._to_decode)

    def step(self, features: FrameFeatures, memory: TemporalMemory) -> Tensor:
        return self._model.step(features, memory)

    def _use(self, frames: int, held: int) -> None:
        self.asked.append(frames)
        if frames > held:
            raise torch.OutOfMemoryError(f"CUDA out of memory. {frames} frames")


@pytest.mark.parametrize(
    ("to_encode", "to_decode", "late"),
    [(4, 32, False), (32, 4, False), (32, 5, True)],
    ids=["encode", "decode", "late"],
)
def test_half_as_many_frames_give_the_same_depth(
    golden_model: VideoDepthAnything, caplog: pytest.LogCaptureFixture, to_encode: int, to_decode: int, late: bool
) -> None:
    tight = TightNetwork(golden_model, to_encode, to_decode, late)
    network = RetryingNetwork(tight, 8)
    with caplog.at_level(logging.WARNING):
        depths = list(infer_depth(network, synthetic_frames(60, 48, 64, seed=60), 56, Execution(CPU, None, 8)))
    assert_close(np.stack(depths), golden_arrays("offline_vits")["n60"])
    (record,) = caplog.records
    assert "out of memory with 8 frames at once; continuing with 4" in record.message
    assert network.frames_at_once == 4
    assert tight.asked.count(8) <= 5  # encoding is asked for eight until decoding fails
    assert max(tight.asked[-10:]) == 4


def test_it_is_halved_once(golden_model: VideoDepthAnything) -> None:
    frames = synthetic_frames(4, 28, 28, seed=1)
    for held, at_once in ((1, 4), (0, 1)):
        tight = TightNetwork(golden_model, held, 32)
        with pytest.raises(torch.OutOfMemoryError) as caught:
            list(infer_depth(RetryingNetwork(tight, at_once), frames, 28, Execution(CPU, None, at_once)))
        assert user_line(caught.value) == LINE
        assert tight.asked == ([4, 2] if at_once == 4 else [1])


def test_other_errors_are_not_tried_again(golden_model: VideoDepthAnything) -> None:
    network = RetryingNetwork(golden_model, 4)
    with pytest.raises(ValueError, match="not a multiple of 14"):
        network.encode(torch.zeros(2, 3, 15, 14))
    with pytest.raises(RuntimeError, match="expected input"):
        network.encode(torch.zeros(2, 4, 14, 14))
    assert network.frames_at_once == 4


def test_streams_pass_through(golden_model: VideoDepthAnything, fp32: Execution) -> None:
    frames = synthetic_frames(3, 28, 42, seed=2)
    stream, plain = DepthStream(RetryingNetwork(golden_model, 1), 28, fp32), DepthStream(golden_model, 28, fp32)
    for frame in frames:
        np.testing.assert_array_equal(stream.step(frame), plain.step(frame))


def test_lacks_of_memory_have_one_line() -> None:
    with pytest.raises(RuntimeError) as caught:
        torch.empty(1 << 50)  # more than any machine has
    assert user_line(caught.value) == LINE
    for words in ("CUDA error: out of memory\nCUDA kernel errors might", "cuDNN error: CUDNN_STATUS_ALLOC_FAILED"):
        assert user_line(RuntimeError(words)) == LINE
    assert user_line(MemoryError()) == LINE
    assert user_line(RuntimeError("CUDA error: an illegal memory access was encountered")) is None


def test_the_flag_reaches_the_network(checkpoint: Path) -> None:
    assert parsed("clip.mp4").model.frames_at_once is None
    options = parsed("clip.mp4", "--frames_at_once", "3")
    assert options.model.frames_at_once == 3
    # Other batches round otherwise; what is written is the same.
    assert options.settings() == parsed("clip.mp4").settings()
    for asked, expected in ((3, 3), (99, 32), (None, 1)):
        chosen = ModelOptions(checkpoint=checkpoint, device="cpu", backend="torch", frames_at_once=asked)
        assert load_network(chosen).execution.frames_at_once == expected
