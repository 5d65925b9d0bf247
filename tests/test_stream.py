"""Streaming inference: golden values, which frame stands in which slot, and that the state is the stream's alone."""

from __future__ import annotations

import gc
from collections.abc import Iterator

import numpy as np
import numpy.typing as npt
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from recipes import assert_close, assert_not_degenerate, golden_arrays, golden_json, synthetic_frames
from test_device import forced_autocast
from torch._subclasses.fake_tensor import FakeTensorMode

from video_depth_anything import video_depth
from video_depth_anything.device import Execution
from video_depth_anything.motion_module.motion_module import MAX_FRAMES
from video_depth_anything.temporal_memory import (
    ANCHOR,
    RING,
    TemporalMemory,
    context_entries,
)
from video_depth_anything.transform import preprocess
from video_depth_anything.video_depth_stream import DepthStream, VideoDepthAnything

Depths = npt.NDArray[np.float32]


def run(stream: DepthStream, frames: npt.NDArray[np.uint8]) -> Depths:
    return np.stack([stream.step(frame) for frame in frames])


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """Maps of a few pixels gain nothing from more, and on a busy machine threads mostly wait for each other."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def streaming_model(golden_model: video_depth.VideoDepthAnything) -> VideoDepthAnything:
    """The golden weights in the class that has a stream of its own."""
    model = VideoDepthAnything("vits").eval()
    model.load_state_dict(golden_model.state_dict(), strict=True)
    return model.requires_grad_(False)


def test_depth_matches_golden(golden_model: video_depth.VideoDepthAnything, fp32: Execution) -> None:
    """75 frames: the ring wraps at 42, and the second anchor begins to slide."""
    golden = golden_arrays("streaming_vits")["depth"]
    stream = DepthStream(golden_model, 56, fp32)
    depths = run(stream, synthetic_frames(75, 48, 64, seed=75))
    assert depths.dtype == np.float32
    assert stream.frames_seen == 75
    assert_close(depths, golden)
    for depth, expected in zip(depths, golden):
        assert_close(depth, expected)


def test_golden_is_not_degenerate() -> None:
    golden = golden_arrays("streaming_vits")["depth"]
    assert_not_degenerate(golden)
    assert np.abs(np.diff(golden, axis=0)).mean() > 0.01


def test_golden_depends_on_what_is_remembered(golden_model: video_depth.VideoDepthAnything, fp32: Execution) -> None:
    """A stream that starts late must differ, or the golden values would not test the memory."""
    golden = golden_arrays("streaming_vits")["depth"]
    late = run(DepthStream(golden_model, 56, fp32), synthetic_frames(75, 48, 64, seed=75)[70:])
    assert np.abs(late - golden[70:]).max() > 0.05


class FrameRing:
    """The memory with frame numbers for states: what lies in its entries after each frame."""

    def __init__(self) -> None:
        self.entries = [0] * (RING + 1)

    def context(self, frame: int) -> list[int]:
        chosen = context_entries(frame)
        if frame > 0:
            self.entries[chosen[-1]] = frame
        assert len(set(chosen)) == len(chosen)
        return [self.entries[entry] for entry in chosen]


def list_contexts(count: int) -> Iterator[list[int]]:
    """Contexts of frames 1.. by the original's way: a list that grows until frame 10, then loses its second entry."""
    states = [0] * 32
    for frame in range(1, count):
        yield [*states[:2], *states[-29:]]
        states.append(frame)
        if frame > 10:
            del states[1]


def test_slots_match_golden_schedule() -> None:
    golden = {int(frame): context for frame, context in golden_json("streaming_schedule").items()}
    ring = FrameRing()
    assert ring.context(0) == [0]
    for frame in range(1, max(golden) + 1):
        assert ring.context(frame) == [*golden[frame], frame]


def test_slots_equal_the_list_for_thousands_of_frames() -> None:
    ring = FrameRing()
    ring.context(0)
    for frame, expected in enumerate(list_contexts(3000), start=1):
        assert ring.context(frame) == [*expected, frame]


@given(st.integers(1, 10**9))
def test_slots_of_any_frame(frame: int) -> None:
    entries = context_entries(frame)
    assert len(entries) == len(set(entries)) == MAX_FRAMES
    assert entries[0] == ANCHOR == RING
    assert all(0 <= entry < RING for entry in entries[1:])
    # What is written is what the frame after 41 more reads last, and nobody in between overwrites.
    assert context_entries(frame + 41)[1] == entries[-1]
    assert entries[-1] not in [context_entries(later)[-1] for later in range(frame + 1, frame + 42)]


def test_interleaved_streams_equal_separate_ones(golden_model: video_depth.VideoDepthAnything, fp32: Execution) -> None:
    first, second = synthetic_frames(10, 28, 42, seed=1), synthetic_frames(10, 42, 28, seed=2)
    one, two = DepthStream(golden_model, 28, fp32), DepthStream(golden_model, 28, fp32)
    before = {key: value.clone() for key, value in golden_model.state_dict().items()}
    pairs = [(one.step(a), two.step(b)) for a, b in zip(first, second)]
    for index, frames in enumerate((first, second)):
        alone = run(DepthStream(golden_model, 28, fp32), frames)
        np.testing.assert_array_equal(np.stack([pair[index] for pair in pairs]), alone)
    after = golden_model.state_dict()
    assert before.keys() == after.keys()
    assert all(torch.equal(after[key], value) for key, value in before.items())


def test_first_frame_equals_offline(golden_model: video_depth.VideoDepthAnything, fp32: Execution) -> None:
    """The network on a window of one frame; the frame has the network's size, so nothing is resized."""
    frame = synthetic_frames(1, 56, 70, seed=4)[0]
    with torch.inference_mode():
        expected = golden_model(torch.from_numpy(preprocess(frame, (56, 70)))[None, None])[0, 0].numpy()
    assert expected.std() > 0.05
    assert_close(DepthStream(golden_model, 56, fp32).step(frame), expected, tolerance=1e-5)


def test_reset(golden_model: video_depth.VideoDepthAnything, fp32: Execution) -> None:
    frames = synthetic_frames(3, 28, 28, seed=5)
    stream = DepthStream(golden_model, 28, fp32)
    first = run(stream, frames)
    again = run(stream, frames)
    assert np.abs(again - first).max() > 1e-3
    stream.reset()
    assert (stream.frames_seen, stream.state_bytes) == (0, 0)
    np.testing.assert_array_equal(run(stream, frames), first)
    stream.reset()
    assert stream.step(synthetic_frames(1, 28, 42, seed=5)[0]).shape == (28, 42)


def test_unusable_frames_change_nothing(golden_model: video_depth.VideoDepthAnything, fp32: Execution) -> None:
    frames = synthetic_frames(4, 28, 28, seed=6)
    expected = run(DepthStream(golden_model, 28, fp32), frames)
    stream = DepthStream(golden_model, 28, fp32)
    with pytest.raises(ValueError, match=r"frame 0 must be .* got \(28, 28\) uint8"):
        stream.step(frames[0, ..., 0])
    run(stream, frames[:2])
    with pytest.raises(ValueError, match="frame 2 is 42x28, but the video began with 28x28"):
        stream.step(synthetic_frames(1, 28, 42, seed=0)[0])
    np.testing.assert_array_equal(run(stream, frames[2:]), expected[2:])


def test_a_frame_that_failed_can_be_repeated(
    golden_model: video_depth.VideoDepthAnything, fp32: Execution, monkeypatch: pytest.MonkeyPatch
) -> None:
    frames = synthetic_frames(3, 28, 28, seed=7)
    expected = run(DepthStream(golden_model, 28, fp32), frames)
    stream = DepthStream(golden_model, 28, fp32)
    depths = []
    for frame in frames:
        with monkeypatch.context() as patch:
            patch.setattr(golden_model.head.scratch.output_conv1, "forward", lambda _: 1 / 0)
            with pytest.raises(ZeroDivisionError):
                stream.step(frame)
        depths.append(stream.step(frame))
    np.testing.assert_array_equal(np.stack(depths), expected)


def live_tensors() -> int:
    """Tensors that exist now."""
    gc.collect()
    return sum(1 for x in gc.get_objects() if issubclass(type(x), torch.Tensor))


def test_state_does_not_grow(golden_model: video_depth.VideoDepthAnything, fp32: Execution) -> None:
    stream = DepthStream(golden_model, 28, fp32)
    assert stream.state_bytes == 0
    frames = synthetic_frames(100, 28, 28, seed=8)
    stream.step(frames[0])
    stream.step(frames[1])
    held, tensors = stream.state_bytes, live_tensors()
    # Per module: pixels and channels; two attentions, keys and values, float32, and their 32 projected positions.
    maps = ((2 * 2, 192), (1, 384), (2 * 2, 64), (4 * 4, 64))
    assert held == sum(2 * 2 * 4 * channels * ((RING + 1) * pixels + 32) for pixels, channels in maps)
    pointers = {x.keys.data_ptr() for i in range(4) for x in stream._memory.of_module(i)}
    for frame in frames[2:]:
        stream.step(frame)
        assert stream.state_bytes == held
    assert stream.frames_seen == 100
    assert live_tensors() == tensors
    assert {x.keys.data_ptr() for i in range(4) for x in stream._memory.of_module(i)} == pointers


@pytest.mark.parametrize(("dtype", "bound"), [(torch.bfloat16, 0.08), (torch.float16, 0.01)])
def test_half_precision(
    golden_model: video_depth.VideoDepthAnything, fp32: Execution, dtype: torch.dtype, bound: float
) -> None:
    frames = synthetic_frames(20, 48, 64, seed=75)
    exact = DepthStream(golden_model, 56, fp32)
    half = DepthStream(golden_model, 56, Execution(torch.device("cpu"), dtype, 1))
    expected, depths = run(exact, frames), run(half, frames)
    assert depths.dtype == np.float32
    # Random weights amplify rounding, here as much as in the offline mode.
    assert 0 < np.linalg.norm(depths - expected) / np.linalg.norm(expected) < bound
    # Keys and values are kept in the type the projections have; the position tables stay in float32.
    assert half.state_bytes < 0.6 * exact.state_bytes


@pytest.mark.parametrize("dtype", [None, torch.float16, torch.bfloat16])
def test_nothing_leaves_the_device(dtype: torch.dtype | None) -> None:
    """Fake tensors carry device and type without a GPU: an operation across devices fails here as it would there."""
    with torch.device("meta"):
        model = video_depth.VideoDepthAnything("vits").eval()
    memory = TemporalMemory()
    with FakeTensorMode(allow_non_fake_inputs=True) as mode, torch.no_grad():
        weights = {key: torch.empty(value.shape, device="cuda") for key, value in model.state_dict().items()}
        model.load_state_dict(weights, assign=True)
        mode.allow_non_fake_inputs = False
        with forced_autocast(dtype):
            for _ in range(3):
                depth = model.step(model.encode(torch.empty(1, 3, 56, 84, device="cuda")), memory)
    assert (depth.device.type, depth.dtype, tuple(depth.shape)) == ("cuda", torch.float32, (1, 56, 84))
    held = [x for i in range(4) for m in memory.of_module(i) for x in (m.keys, m.values)]
    assert {(x.device.type, x.dtype) for x in held} == {("cuda", dtype or torch.float32)}
    assert memory.frames_seen == 3


def test_clips_beside_each_other_equal_clips_alone(golden_model: video_depth.VideoDepthAnything) -> None:
    clips = torch.randn(3, 2, 3, 28, 42, generator=torch.Generator().manual_seed(1))
    together, alone = TemporalMemory(), [TemporalMemory(), TemporalMemory()]
    with torch.inference_mode():
        for images in clips:
            depth = golden_model.step(golden_model.encode(images), together)
            expected = [golden_model.step(golden_model.encode(image[None]), m) for image, m in zip(images, alone)]
            torch.testing.assert_close(depth, torch.cat(expected), atol=2e-5, rtol=1e-5)


def test_infer_video_depth_one(
    streaming_model: VideoDepthAnything, golden_model: video_depth.VideoDepthAnything, fp32: Execution
) -> None:
    frames = synthetic_frames(4, 28, 42, seed=9)
    expected = run(DepthStream(golden_model, 28, fp32), frames)
    streaming_model.reset_stream()
    depths = [streaming_model.infer_video_depth_one(frame, 28, "cpu", True) for frame in frames]
    np.testing.assert_array_equal(np.stack(depths), expected)
    assert list(streaming_model.state_dict()) == list(golden_model.state_dict())
    assert len(list(streaming_model.modules())) == len(list(golden_model.modules()))
    streaming_model.load_state_dict(golden_model.state_dict(), strict=True)
    streaming_model.reset_stream()
    np.testing.assert_array_equal(streaming_model.infer_video_depth_one(frames[0], 28, fp32=True), expected[0])


def test_infer_video_depth_one_refuses_other_frames(streaming_model: VideoDepthAnything) -> None:
    frame, wide = synthetic_frames(1, 28, 28, seed=0)[0], synthetic_frames(1, 28, 42, seed=0)[0]
    streaming_model.reset_stream()
    streaming_model.infer_video_depth_one(frame, 28, fp32=True)
    with pytest.raises(ValueError, match="frame 1 is 42x28, but the video began with 28x28"):
        streaming_model.infer_video_depth_one(wide, 28, fp32=True)
    with pytest.raises(ValueError, match="the model is on cpu, not on cuda"):
        streaming_model.infer_video_depth_one(frame, 28, device="cuda")
    streaming_model.reset_stream()
    assert streaming_model.infer_video_depth_one(wide, 28, fp32=True).shape == (28, 42)


def test_usual_precision_is_the_default(golden_model: video_depth.VideoDepthAnything) -> None:
    assert DepthStream(golden_model).execution == golden_model.execution()
    assert DepthStream(golden_model).input_size == 518


def test_metric_flag_is_kept() -> None:
    with torch.device("meta"):
        assert VideoDepthAnything("vits", metric=True).metric
