"""OpenVINO's backend gives the depth of the PyTorch network, keeps what it converted, and is chosen as asked."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from recipes import synthetic_frames

from video_depth_anything import DepthStream, Execution, choose_execution, infer_depth, load_backend
from video_depth_anything.errors import DeviceError
from video_depth_anything.video_depth import VideoDepthAnything

ov = pytest.importorskip("openvino")

from video_depth_anything.backends.openvino import OpenVinoNetwork  # noqa: E402
from video_depth_anything.backends.openvino_cache import ModelCache  # noqa: E402 - needs what is skipped for

ROOT = Path(__file__).resolve().parents[1]
GOLDEN = Path(__file__).parent / "golden"
# Of the range, as for the PyTorch network.
TOLERANCE = 5e-5


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One folder for the module: converting takes seconds."""
    return tmp_path_factory.mktemp("openvino")


@pytest.fixture(scope="module")
def network(golden_model: VideoDepthAnything, cache: Path) -> OpenVinoNetwork:
    loaded = load_backend(golden_model, choose_execution("cpu", "fp32", "openvino"), cache)
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


def test_positions_of_a_side_of_37_patches(golden_model: VideoDepthAnything, cache: Path) -> None:
    """There the grid keeps its length, and only the scale factor moves the sampling points."""
    images = torch.from_numpy(np.random.default_rng(0).standard_normal((1, 3, 28, 37 * 14), dtype=np.float32))
    network = load_backend(golden_model, choose_execution("cpu", "fp32", "openvino"), cache)
    with torch.inference_mode():
        for found, expected in zip(network.encode(images), golden_model.encode(images)):
            assert (found - expected).abs().max() <= 1e-4 * expected.abs().max()


def test_bf16_changes_little_and_is_used(
    golden_model: VideoDepthAnything, network: OpenVinoNetwork, cache: Path
) -> None:
    execution = choose_execution("cpu", "bf16", "openvino")
    half = load_backend(golden_model, execution, cache)
    frame = synthetic_frames(1, 48, 64, seed=1)[0]
    exact = DepthStream(network, 56, choose_execution("cpu", "fp32", "openvino")).step(frame)
    rounded = DepthStream(half, 56, execution).step(frame)
    assert rounded.dtype == np.float32
    error = np.linalg.norm(rounded - exact) / np.linalg.norm(exact)
    # A CPU without bf16 is allowed to compute in float32.
    assert error < 0.08
    assert error > 1e-5 or "BF16" not in ov.Core().get_property("CPU", "OPTIMIZATION_CAPABILITIES")


def test_converted_pieces_are_found_again(
    golden_model: VideoDepthAnything, network: OpenVinoNetwork, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    execution = choose_execution("cpu", "fp32", "openvino")
    frame = synthetic_frames(1, 48, 64, seed=1)[0]
    first = DepthStream(network, 56, execution).step(frame)
    monkeypatch.setattr("video_depth_anything.backends.openvino._convert", None)  # would fail if called
    again = DepthStream(load_backend(golden_model, execution, cache), 56, execution).step(frame)
    np.testing.assert_array_equal(first, again)


def test_other_weights_are_not_confused(network: OpenVinoNetwork, cache: Path) -> None:
    execution = choose_execution("cpu", "fp32", "openvino")
    other = VideoDepthAnything("vits").eval()
    frame = synthetic_frames(1, 48, 64, seed=1)[0]
    expected = DepthStream(other, 56, Execution(torch.device("cpu"), None, 1)).step(frame)
    DepthStream(network, 56, execution).step(frame)  # the same shapes, other weights, in the same folder
    found = DepthStream(load_backend(other, execution, cache), 56, execution).step(frame)
    np.testing.assert_allclose(found, expected, atol=1e-4 * float(np.abs(expected).max()))


def small_model(value: float) -> object:
    """y = x + value."""
    parameter = ov.opset13.parameter([1, 1000], np.float32)
    constant = ov.opset13.constant(np.full((1, 1000), value, np.float32))
    return ov.Model([ov.opset13.add(parameter, constant)], [parameter])


def test_the_longest_unused_models_go_first(tmp_path: Path) -> None:
    core = ov.Core()
    cache = ModelCache(core, tmp_path, max_bytes=25_000)  # each takes about 6 kB
    for key in "abcdefgh":
        path = cache.find(key, lambda: small_model(1.0))
        assert isinstance(path, Path)
        cache.find("a", lambda: pytest.fail("a was used last and must be kept"))
    assert len(list(tmp_path.iterdir())) < 8
    assert sum(file.stat().st_size for file in tmp_path.rglob("*.*")) <= 25_000


def test_a_folder_that_cannot_be_made_is_no_obstacle(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "file").write_text("in the way")
    cache = ModelCache(ov.Core(), tmp_path / "file" / "below")
    assert isinstance(cache.find("a", lambda: small_model(2.0)), ov.Model)
    assert "converted models cannot be kept" in caplog.text


def test_choice_of_backend() -> None:
    assert choose_execution("cpu", backend="auto").openvino_device == "CPU"
    assert choose_execution("cpu", backend="torch").openvino_device is None
    assert choose_execution("cpu").openvino_device is None
    with pytest.raises(DeviceError, match="needs --backend openvino"):
        choose_execution("gpu", backend="torch")
    with pytest.raises(DeviceError, match="does not compute on meta"):
        choose_execution("meta", backend="openvino")
    with pytest.raises(DeviceError, match="unknown backend 'tensorrt'; use one of auto, torch, openvino"):
        choose_execution("cpu", backend="tensorrt")


@pytest.mark.skipif("NPU" in ov.Core().available_devices, reason="here is an NPU")
def test_missing_device_ends_in_one_line(checkpoint: Path) -> None:
    command = [sys.executable, "run.py", "--encoder", "vits", "--checkpoint", str(checkpoint), "--device", "npu"]
    result = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert result.returncode == 2
    assert result.stderr.splitlines()[-1].startswith("error: OpenVINO finds no NPU here")
