"""OpenVINO's backend gives the depth of the PyTorch network, is ready in advance, and is chosen as asked."""

from __future__ import annotations

import gc
import signal
import subprocess
import sys
import weakref
from pathlib import Path

import numpy as np
import pytest
import torch
from recipes import synthetic_frames

from video_depth_anything import DepthStream, Execution, choose_execution, infer_depth, load_backend
from video_depth_anything.device import openvino_core
from video_depth_anything.errors import DeviceError
from video_depth_anything.video_depth import VideoDepthAnything

pytest.importorskip("openvino")

from video_depth_anything.backends.openvino import OpenVinoNetwork

ROOT = Path(__file__).resolve().parents[1]
GOLDEN = Path(__file__).parent / "golden"
# Of the range, as for the PyTorch network.
TOLERANCE = 5e-5


@pytest.fixture(scope="module")
def network(golden_model: VideoDepthAnything) -> OpenVinoNetwork:
    loaded = load_backend(golden_model, choose_execution("cpu", "fp32", "openvino"))
    assert isinstance(loaded, OpenVinoNetwork)
    return loaded


def test_offline_depth_matches_golden(network: OpenVinoNetwork) -> None:
    golden = np.load(GOLDEN / "offline_vits.npz")["n23"]
    execution = choose_execution("cpu", "fp32", "openvino")
    depth = np.stack(list(infer_depth(network, synthetic_frames(23, 48, 64, seed=23), 56, execution)))
    assert np.abs(depth - golden).max() <= TOLERANCE * np.ptp(golden)


def test_streaming_depth_matches_golden(network: OpenVinoNetwork) -> None:
    golden = np.load(GOLDEN / "streaming_vits.npz")
    (key,) = golden.files
    stream = DepthStream(network, 56, choose_execution("cpu", "fp32", "openvino"))
    for index, frame in enumerate(synthetic_frames(75, 48, 64, seed=75)[:46]):
        expected = golden[key][index]
        assert np.abs(stream.step(frame) - expected).max() <= TOLERANCE * np.ptp(golden[key]), index


def test_positions_of_a_side_of_37_patches(golden_model: VideoDepthAnything) -> None:
    """There the grid keeps its length, and only the scale factor moves the sampling points."""
    images = torch.from_numpy(np.random.default_rng(0).standard_normal((1, 3, 28, 37 * 14), dtype=np.float32))
    network = load_backend(golden_model, choose_execution("cpu", "fp32", "openvino"))
    with torch.inference_mode():
        for found, expected in zip(network.encode(images), golden_model.encode(images)):
            assert (found - expected).abs().max() <= 1e-4 * expected.abs().max()


def test_bf16_changes_little_and_is_used(golden_model: VideoDepthAnything, network: OpenVinoNetwork) -> None:
    execution = choose_execution("cpu", "bf16", "openvino")
    half = load_backend(golden_model, execution)
    frame = synthetic_frames(1, 48, 64, seed=1)[0]
    exact = DepthStream(network, 56, choose_execution("cpu", "fp32", "openvino")).step(frame)
    rounded = DepthStream(half, 56, execution).step(frame)
    assert rounded.dtype == np.float32
    error = np.linalg.norm(rounded - exact) / np.linalg.norm(exact)
    # A CPU without bf16 is allowed to compute in float32.
    assert error < 0.08
    assert error > 1e-5 or "BF16" not in openvino_core().get_property("CPU", "OPTIMIZATION_CAPABILITIES")


def test_bf16_offline(golden_model: VideoDepthAnything) -> None:
    """Its largest maps wait in float16 between the pieces."""
    golden = np.load(GOLDEN / "offline_vits.npz")["n23"]
    execution = choose_execution("cpu", "bf16", "openvino")
    half = load_backend(golden_model, execution)
    depth = np.stack(list(infer_depth(half, synthetic_frames(23, 48, 64, seed=23), 56, execution)))
    assert np.linalg.norm(depth - golden) <= 0.08 * np.linalg.norm(golden)


def test_a_size_is_compiled_once(
    golden_model: VideoDepthAnything, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    execution = choose_execution("cpu", "fp32", "openvino")
    frames = synthetic_frames(3, 48, 64, seed=1)
    network = load_backend(golden_model, execution)
    assert isinstance(network, OpenVinoNetwork)
    with caplog.at_level("INFO"):
        first = list(infer_depth(network, frames, 56, execution))
    assert caplog.messages == ["preparing the network for 70x56 with OpenVINO; this takes a few seconds"]
    monkeypatch.setattr("video_depth_anything.backends.openvino.convert", None)  # would fail if called
    depth = np.stack(list(infer_depth(network, frames, 56, execution)))
    np.testing.assert_array_equal(depth, np.stack(first))
    expected = np.stack(list(infer_depth(golden_model, frames, 56, Execution(torch.device("cpu"), None, 1))))
    assert np.abs(depth - expected).max() <= TOLERANCE * np.ptp(expected)


def test_motion_modules_serve_all_sizes(network: OpenVinoNetwork, monkeypatch: pytest.MonkeyPatch) -> None:
    """Maps are filled up to a number of pixels that no size changes, and give what their pixels alone give."""
    execution = choose_execution("cpu", "fp32", "openvino")
    list(infer_depth(network, synthetic_frames(2, 28, 28, seed=2), 28, execution))
    DepthStream(network, 56, execution).step(synthetic_frames(1, 48, 64, seed=1)[0])
    converted: list[str] = []
    monkeypatch.setattr("video_depth_anything.backends.openvino.convert", lambda *_: converted.append("piece"))
    frames = synthetic_frames(2, 48, 64, seed=2)
    assert len(list(infer_depth(network, frames, 56, execution))) == 2
    assert not converted


def test_networks_of_the_latest_two_sizes_are_kept(golden_model: VideoDepthAnything) -> None:
    execution = choose_execution("cpu", "fp32", "openvino")
    network = load_backend(golden_model, execution)
    assert isinstance(network, OpenVinoNetwork)
    first = synthetic_frames(1, 28, 28, seed=1)[0]
    expected = DepthStream(network, 28, execution).step(first)
    piece = network._pieces["encode", ((1, 28, 28, 3),)]
    compiled = weakref.ref(piece)
    del piece
    for width in (42, 56):
        DepthStream(network, 28, execution).step(synthetic_frames(1, 28, width, seed=1)[0])
    gc.collect()
    assert compiled() is None
    np.testing.assert_array_equal(DepthStream(network, 28, execution).step(first), expected)


def test_choice_of_backend() -> None:
    assert choose_execution("cpu", backend="auto").openvino_device == "CPU"
    assert choose_execution("cpu", backend="torch").openvino_device is None
    assert choose_execution("cpu").openvino_device is None
    with pytest.raises(DeviceError, match="needs --backend openvino"):
        choose_execution("intel-gpu", backend="torch")
    with pytest.raises(DeviceError, match="does not support meta"):
        choose_execution("meta", backend="openvino")
    with pytest.raises(DeviceError, match="unknown backend 'tensorrt'; use one of auto, torch, openvino"):
        choose_execution("cpu", backend="tensorrt")


def test_ctrl_c_after_networks_came_and_went(golden_model: VideoDepthAnything) -> None:
    """On a processor with AMX each of OpenVINO's cores replaces the stack on which signals are handled."""
    execution = choose_execution("cpu", "fp32", "openvino")
    frame = synthetic_frames(1, 48, 64, seed=1)[0]
    first, second = (OpenVinoNetwork(golden_model, execution) for _ in range(2))
    for network in (first, second):
        DepthStream(network, 28, execution).step(frame)
    del first, second, network
    gc.collect()
    caught: list[int] = []
    before = signal.signal(signal.SIGINT, lambda number, _: caught.append(number))
    signal.raise_signal(signal.SIGINT)
    signal.signal(signal.SIGINT, before)
    assert caught


@pytest.mark.skipif("NPU" in openvino_core().available_devices, reason="here is an NPU")
def test_missing_device_ends_in_one_line(checkpoint: Path) -> None:
    command = [sys.executable, "run.py", "--encoder", "vits", "--checkpoint", str(checkpoint), "--device", "intel-npu"]
    result = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert result.returncode == 2
    assert result.stderr.splitlines()[-1].startswith("error: OpenVINO finds no NPU here")


LARGE_BLOCKS = """
import ctypes, resource
from video_depth_anything.pipelines.commands import free_large_blocks
libc = ctypes.CDLL(None)
libc.malloc.restype, libc.malloc.argtypes, libc.free.argtypes = ctypes.c_void_p, [ctypes.c_size_t], [ctypes.c_void_p]
libc.free(libc.malloc(30 << 20))  # from now on glibc would keep blocks of this size
{call}
blocks = [libc.malloc(20 << 20) for _ in range(8)]
for block in blocks:
    ctypes.memset(block, 1, 20 << 20)
for block in blocks[:7]:  # the last one keeps the heap from shrinking
    libc.free(block)
for line in open("/proc/self/status"):
    if line.startswith("VmRSS"):
        print(int(line.split()[1]) >> 10)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="glibc's allocator")
def test_large_blocks_are_given_back() -> None:
    kept, given_back = (
        int(
            subprocess.run(
                [sys.executable, "-c", LARGE_BLOCKS.format(call=call)], check=True, capture_output=True
            ).stdout
        )
        for call in ("", "free_large_blocks()")
    )
    assert kept - given_back > 100
