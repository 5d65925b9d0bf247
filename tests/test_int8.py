"""The encoder in eight bits: close to float, calibrated once for its weights, refused where it cannot be had."""

from __future__ import annotations

import logging
import os
import platform
import subprocess
import sys
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

import imageio.v3 as iio
import numpy as np
import pytest

from video_depth_anything import Execution, choose_execution, infer_depth, load_backend, load_model
from video_depth_anything.device import cpu_has_int8
from video_depth_anything.errors import DeviceError
from video_depth_anything.transform import Image
from video_depth_anything.video_depth import VideoDepthAnything

pytest.importorskip("nncf")
pytest.importorskip("openvino")

from video_depth_anything.backends.openvino import OpenVinoNetwork

ROOT = Path(__file__).resolve().parents[1]
CLIP = ROOT / "assets/example_videos/box.mp4"
SIZE = 98


@pytest.fixture(scope="module")
def frames() -> list[Image]:
    """Of the bundled clip, by another reader than ours."""
    return list(islice(iio.imiter(CLIP, plugin="pyav"), 0, None, 19))


@pytest.fixture(scope="module")
def model() -> VideoDepthAnything:
    return load_model("vits", checkpoint=ROOT / "assets/checkpoints/starter_vits.pth")


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The user's cache folder, empty at first."""
    folder = tmp_path_factory.mktemp("cache")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(folder))
        yield folder / "video-depth-anything"


@pytest.fixture(scope="module")
def execution() -> Execution:
    if not cpu_has_int8():
        pytest.skip("this CPU has no VNNI")
    return choose_execution("cpu", "int8", "openvino")


@pytest.fixture(scope="module")
def network(cache: Path, model: VideoDepthAnything, execution: Execution, frames: list[Image]) -> OpenVinoNetwork:
    """Calibrated on every other frame."""
    assert not cache.exists()
    return calibrated(model, execution, frames[::2])


def calibrated(model: VideoDepthAnything, execution: Execution, frames: list[Image]) -> OpenVinoNetwork:
    network = load_backend(model, execution, lambda: iter(frames))
    assert isinstance(network, OpenVinoNetwork)
    return network


def depth_of(network: object, frames: list[Image], execution: Execution) -> np.ndarray:
    return np.stack(list(infer_depth(network, frames, SIZE, execution)))  # type: ignore[arg-type]


@pytest.mark.slow
def test_depth_is_close_at_another_size(
    network: OpenVinoNetwork, model: VideoDepthAnything, execution: Execution, frames: list[Image]
) -> None:
    exact = depth_of(model, frames, choose_execution("cpu", "fp32"))
    found = depth_of(network, frames, execution)
    error = np.linalg.norm(found - exact) / np.linalg.norm(exact)
    assert 1e-4 < error < 0.04  # float32 would be below


@pytest.mark.slow
def test_streaming_depth_is_close(network: OpenVinoNetwork, model: VideoDepthAnything, frames: list[Image]) -> None:
    from video_depth_anything import DepthStream

    exact = DepthStream(model, SIZE, choose_execution("cpu", "fp32"))
    stream = DepthStream(network, SIZE, choose_execution("cpu", "int8", "openvino"))
    for frame in frames[:3]:
        expected, found = exact.step(frame), stream.step(frame)
        assert np.linalg.norm(found - expected) / np.linalg.norm(expected) < 0.05


@pytest.mark.slow
def test_calibrated_once(
    network: OpenVinoNetwork, cache: Path, model: VideoDepthAnything, execution: Execution, frames: list[Image]
) -> None:
    (kept,) = cache.iterdir()  # and nothing else stays
    again = calibrated(model, execution, [])  # has nothing to calibrate with
    np.testing.assert_array_equal(depth_of(again, frames[:2], execution), depth_of(network, frames[:2], execution))
    assert kept.stat().st_size < 40e6


@pytest.mark.slow
def test_a_damaged_model_is_made_again(
    network: OpenVinoNetwork, cache: Path, model: VideoDepthAnything, execution: Execution, frames: list[Image],
    caplog: pytest.LogCaptureFixture,
) -> None:  # fmt: skip
    (kept,) = cache.iterdir()
    whole = kept.read_bytes()
    kept.write_bytes(whole[: len(whole) // 2] + b"\0" * 1000 + whole[len(whole) // 2 + 1000 :])
    with caplog.at_level(logging.WARNING):
        again = calibrated(model, execution, frames[::2])
    assert f"{kept} is damaged" in caplog.text
    np.testing.assert_array_equal(depth_of(again, frames[:2], execution), depth_of(network, frames[:2], execution))


@pytest.mark.slow
@pytest.mark.usefixtures("network")
def test_other_weights_are_calibrated_anew(execution: Execution, golden_model: VideoDepthAnything) -> None:
    with pytest.raises(ValueError, match="no frames to calibrate with"):
        calibrated(golden_model, execution, [])


@pytest.mark.slow
def test_uncalibrated(golden_model: VideoDepthAnything, execution: Execution, frames: list[Image]) -> None:
    network = load_backend(golden_model, execution)
    with pytest.raises(RuntimeError, match="needs frames to calibrate with"):
        depth_of(network, frames, execution)


@pytest.mark.slow
@pytest.mark.usefixtures("network")
def test_command_line(tmp_path: Path) -> None:
    settings = ["--input_size", "56", "--max_len", "3", "--precision", "int8", "--output_dir", str(tmp_path)]
    command = [sys.executable, str(ROOT / "run.py"), str(CLIP), *settings]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 0, done.stderr
    assert "calibrating" not in done.stderr  # kept by the fixture
    assert (tmp_path / "box_vis.mp4").is_file()


@pytest.mark.parametrize(("device", "backend"), [("auto", "torch"), ("intel-gpu", "openvino"), ("cuda", "auto")])
def test_refused_elsewhere(device: str, backend: str) -> None:
    with pytest.raises(DeviceError, match="precision int8 needs OpenVINO on a CPU"):
        choose_execution(device, "int8", backend)


@pytest.mark.skipif(platform.machine() not in ("x86_64", "AMD64"), reason="only x86 has CPUs whose 8-bit sums overflow")
def test_refused_without_vnni(tmp_path: Path) -> None:
    environment = os.environ | {"ONEDNN_MAX_CPU_ISA": "AVX2"}
    command = [sys.executable, str(ROOT / "run.py"), str(CLIP), "--precision", "int8", "--output_dir", str(tmp_path)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False, timeout=120)
    assert (done.returncode, done.stderr.count("\n")) == (2, 1)
    assert "VNNI" in done.stderr and not list(tmp_path.iterdir())
