"""The library on an NVIDIA GPU: golden values, half precisions, recorded and compiled networks, threads, memory.

`VIDEO_DEPTH_CUDA_TESTS_ON=cpu` runs on a CPU what a CPU can do too; `pytest --require-cuda` fails where one is skipped.
"""

from __future__ import annotations

import copy
import logging
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import numpy.typing as npt
import pytest
import torch
from recipes import assert_close, golden_arrays, overflow_in_float16, synthetic_frames

from video_depth_anything.backends.compiled import CompiledNetwork
from video_depth_anything.backends.load import load_backend, with_half_weights
from video_depth_anything.device import Execution
from video_depth_anything.offline import HostCopy, infer_depth
from video_depth_anything.retry import RetryingNetwork
from video_depth_anything.video_depth import VideoDepthAnything
from video_depth_anything.video_depth_stream import DepthStream

pytestmark = pytest.mark.needs_cuda

Depths = npt.NDArray[np.float32]
# Norm of the error over the norm of the golden values; random weights amplify rounding. TF32, in which cuDNN computes
# float32 convolutions unless it is told not to, has the mantissa of float16.
BOUNDS = {torch.float16: 0.01, torch.bfloat16: 0.08}
# Of the range: the same kernels on the same numbers, but a recording may choose others for a matrix product.
RECORDED = {None: 1e-5, torch.float16: 5e-3}


@pytest.fixture
def exact_convolutions(monkeypatch: pytest.MonkeyPatch) -> None:
    """No TF32: float32 is what the golden values were recorded in."""
    monkeypatch.setattr(torch.backends.cudnn, "allow_tf32", False)


def norm_error(found: Depths, expected: Depths) -> float:
    return float(np.linalg.norm(found - expected) / np.linalg.norm(expected))


def stream_all(stream: DepthStream, frames: npt.NDArray[np.uint8]) -> Depths:
    return np.stack([stream.step(frame) for frame in frames])


@pytest.mark.parametrize(("name", "size"), [("n5_portrait_ratio2", (80, 40, 70)), ("n60", (48, 64, 56))])
@pytest.mark.usefixtures("exact_convolutions")
def test_offline_golden(
    device_model: VideoDepthAnything, device: torch.device, name: str, size: tuple[int, int, int]
) -> None:
    golden = golden_arrays("offline_vits")[name]
    height, width, input_size = size
    frames = synthetic_frames(len(golden), height, width, seed=len(golden))
    depths = list(infer_depth(device_model, frames, input_size, Execution(device, None, 8)))
    assert_close(np.stack(depths), golden)


@pytest.mark.usefixtures("exact_convolutions")
def test_streaming_golden(device_model: VideoDepthAnything, device: torch.device) -> None:
    """75 frames: the ring wraps at 42. On a GPU which entries are read is computed there."""
    golden = golden_arrays("streaming_vits")["depth"]
    stream = DepthStream(device_model, 56, Execution(device, None, 1))
    assert_close(stream_all(stream, synthetic_frames(75, 48, 64, seed=75)), golden)


@pytest.mark.parametrize("dtype", [None, *BOUNDS])
def test_usual_arithmetic_stays_within_its_bound(
    device_model: VideoDepthAnything, device: torch.device, dtype: torch.dtype | None
) -> None:
    """Both pipelines as the commands run them: half weights, and TF32 where cuDNN has it."""
    execution = Execution(device, dtype, 8)
    network = load_backend(device_model, execution)
    bound = BOUNDS[dtype or torch.float16]
    frames = synthetic_frames(23, 48, 64, seed=23)
    offline = np.stack(list(infer_depth(network, frames, 56, execution)))
    assert norm_error(offline, golden_arrays("offline_vits")["n23"]) < bound
    golden = golden_arrays("streaming_vits")["depth"][:45]
    streamed = stream_all(DepthStream(network, 56, execution), synthetic_frames(75, 48, 64, seed=75)[:45])
    assert norm_error(streamed, golden) < bound
    assert offline.dtype == streamed.dtype == np.float32


@pytest.mark.slow
def test_compiled(device_model: VideoDepthAnything, device: torch.device) -> None:
    """Offline, and a stream whose frames are recorded; a CPU captures the pieces and runs them as they are."""
    dtype = torch.float16 if device.type == "cuda" else None
    # One at once, so that each piece has one shape to be compiled for.
    execution = Execution(device, dtype, 1, compile=True, graphs=device.type == "cuda")
    usual = Execution(device, dtype, 1)
    plain = load_backend(device_model, usual)
    network = load_backend(device_model, execution) if device.type == "cuda" else CompiledNetwork(device_model, "eager")
    frames = synthetic_frames(4, 28, 42, seed=4)
    expected = np.stack(list(infer_depth(plain, frames, 28, usual)))
    bound = 0.02 if dtype else 1e-5  # fused operations round less often
    assert norm_error(np.stack(list(infer_depth(network, frames, 28, execution))), expected) < bound
    expected = stream_all(DepthStream(plain, 28, usual), frames)
    assert norm_error(stream_all(DepthStream(network, 28, execution), frames), expected) < bound


@pytest.mark.parametrize("dtype", RECORDED)
def test_recorded_steps_equal_plain_ones(
    device_model: VideoDepthAnything, gpu: torch.device, dtype: torch.dtype | None
) -> None:
    """One CUDA graph for all frames after the first, over the ring's end; two of them side by side, and anew."""
    network = device_model if dtype is None else with_half_weights(device_model, dtype)
    clips = [synthetic_frames(50, 48, 64, seed=seed) for seed in (1, 2)]
    expected = [stream_all(DepthStream(network, 56, Execution(gpu, dtype, 1)), clip) for clip in clips]
    streams = [DepthStream(network, 56, Execution(gpu, dtype, 1, graphs=True)) for _ in clips]
    pairs = [[stream.step(frame) for stream, frame in zip(streams, frames)] for frames in zip(*clips)]
    for found, depths in zip(zip(*pairs), expected):
        assert_close(np.stack(found), depths, RECORDED[dtype])
    streams[0].reset()
    assert_close(stream_all(streams[0], clips[1]), expected[1], RECORDED[dtype])
    assert [stream.frames_seen for stream in streams] == [50, 50]


@pytest.mark.parametrize("recorded", [False, True])
def test_two_streams_in_two_threads(device_model: VideoDepthAnything, device: torch.device, recorded: bool) -> None:
    clips = [synthetic_frames(12, 28, 42, seed=seed) for seed in (3, 4)]
    execution = Execution(device, None, 1, graphs=recorded)
    expected = [stream_all(DepthStream(device_model, 28, Execution(device, None, 1)), clip) for clip in clips]
    together = threading.Barrier(2)

    def work(clip: npt.NDArray[np.uint8]) -> Depths:
        stream = DepthStream(device_model, 28, execution)
        depths = []
        for frame in clip:
            together.wait(60)  # so that they begin, and record, at once
            depths.append(stream.step(frame))
        return np.stack(depths)

    with ThreadPoolExecutor(2) as pool:
        for found, depths in zip(pool.map(work, clips), expected):
            assert_close(found, depths, RECORDED[None])


def test_copies_to_the_host(device: torch.device) -> None:
    """On a GPU they are pinned, run behind what the device still does, and hold what the maps were when they began."""
    maps = [torch.full((64, 96), float(value), device=device) for value in range(3)]
    list(HostCopy(maps).wait())  # the first pinned memory is asked of the driver, which may wait for the device
    if device.type == "cuda":
        torch.cuda._sleep(200_000_000)  # about 0.1 s of clock cycles
    begun = HostCopy(maps)
    assert begun.ready == (device.type == "cpu")
    if device.type == "cuda":
        assert all(x.device.type == "cpu" and x.is_pinned() for x in begun._maps)
        for x in maps:
            x.fill_(-1)  # queued behind the copy
    for value, found in enumerate(begun.wait()):
        assert found.dtype == np.float32
        assert (found == value).all()
    assert begun.ready


def test_a_window_can_be_copied_while_the_next_is_encoded(
    device_model: VideoDepthAnything, device: torch.device
) -> None:
    """Depth that is taken slowly equals depth that is taken at once: nothing is overwritten meanwhile."""
    frames = synthetic_frames(60, 28, 42, seed=5)
    execution = Execution(device, None, 8)
    expected = np.stack(list(infer_depth(device_model, frames, 28, execution)))

    def slow() -> Iterator[Depths]:
        for depth in infer_depth(device_model, frames, 28, execution):
            if device.type == "cuda":
                torch.cuda.synchronize()
            yield depth.copy()

    np.testing.assert_array_equal(np.stack(list(slow())), expected)


def test_a_full_gpu_gets_half_as_many_frames(
    device_model: VideoDepthAnything, gpu: torch.device, caplog: pytest.LogCaptureFixture
) -> None:
    """The limit lies between what eight frames and what four need, by the allocator's own count."""
    images = torch.rand(8, 3, 518, 518, device=gpu)
    total = torch.cuda.get_device_properties(gpu).total_memory

    def reserved(count: int) -> int:
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats(gpu)
        device_model.encode(images[:count])
        return torch.cuda.max_memory_reserved(gpu)

    with torch.inference_mode():
        expected = device_model.encode(images)
        four, eight = reserved(4), reserved(8)
        assert eight - four > 50 << 20
        torch.cuda.empty_cache()
        torch.cuda.set_per_process_memory_fraction((four + 3 * eight) / 4 / total, gpu)
        try:
            network = RetryingNetwork(device_model, 8)
            with caplog.at_level(logging.WARNING):
                found = network.encode(images)
        finally:
            torch.cuda.set_per_process_memory_fraction(1.0, gpu)
    assert "out of memory with 8 frames at once; continuing with 4" in caplog.text
    for x, y in zip(found, expected):
        assert float((x - y).abs().max() / y.abs().max()) < 5e-3  # another batch may take other kernels


def test_float16_that_overflows_gives_finite_depth(
    golden_model: VideoDepthAnything, device: torch.device, caplog: pytest.LogCaptureFixture
) -> None:
    model = copy.deepcopy(golden_model)
    overflow_in_float16(model)
    model = model.to(device)
    frames = synthetic_frames(4, 28, 28, seed=1)
    half, exact = Execution(device, torch.float16, 2), Execution(device, None, 2)
    for run in (
        lambda execution: np.stack(list(infer_depth(model, frames, 28, execution))),
        lambda execution: stream_all(DepthStream(model, 28, execution), frames),
    ):
        caplog.clear()
        with caplog.at_level(logging.WARNING):
            depths = run(half)
        assert np.isfinite(depths).all()
        assert norm_error(depths, run(exact)) < BOUNDS[torch.bfloat16]
        assert "float16 overflows" in caplog.text
