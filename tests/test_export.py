"""Exported files give PyTorch's depth in ONNX Runtime and OpenVINO; the documented example runs as it stands."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt
import pytest
import torch
from conftest import MakeVideo

from video_depth_anything import DepthStream, Execution, VideoDepthAnything
from video_depth_anything.cli.export import main
from video_depth_anything.device import openvino_core
from video_depth_anything.exports.modules import StepModule, WindowModule

pytest.importorskip("onnxscript")
onnxruntime = pytest.importorskip("onnxruntime")

DOCUMENT = Path(__file__).resolve().parents[1] / "docs" / "lab" / "export.md"
CPU = Execution(torch.device("cpu"), None, 1)
TOLERANCE = 1e-4  # of the range
F32 = {"INFERENCE_PRECISION_HINT": "f32"}  # by default OpenVINO computes in bf16 where the processor does
Array = npt.NDArray[np.float32]
RunStep = Callable[[dict[str, npt.NDArray[np.generic]]], Iterable[Array]]


@pytest.fixture(scope="module")
def step_file(checkpoint: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("step") / "step.onnx"
    words = ["--form", "step", "--frame_size", "42", "28", "--input_size", "28", "--encoder", "vits"]
    assert main([*words, "--checkpoint", str(checkpoint), "--output", str(path)]) == 0
    return path


def images(count: int, height: int, width: int) -> Array:
    return np.random.default_rng(count).standard_normal((1, count, 3, height, width), dtype=np.float32)


def assert_depth(found: Array, expected: Array, tolerance: float = TOLERANCE) -> None:
    assert found.dtype == np.float32
    assert expected.std() > 0.05
    assert np.abs(found - expected).max() <= tolerance * np.ptp(expected)


def documented(word: str) -> str:
    """The one example with this word in it."""
    examples = re.findall(r"```python\n(.*?)```", DOCUMENT.read_text(encoding="utf-8"), re.DOTALL)
    (example,) = [x for x in examples if word in x]
    return str(example)


@pytest.mark.parametrize("size", [(28, 42), (518, 28), (28, 518), (518, 518)])
def test_positions_of_any_size(golden_model: VideoDepthAnything, size: tuple[int, int]) -> None:
    grid = (size[0] // 14, size[1] // 14)
    found = WindowModule(golden_model).positions(*grid)
    expected = golden_model.pretrained.position_embedding(*grid)
    assert (found - expected).abs().max() <= 1e-5 * expected.abs().max()


@pytest.mark.slow
def test_window_of_any_length_and_size(golden_model: VideoDepthAnything, checkpoint: Path, tmp_path: Path) -> None:
    words = ["--encoder", "vits", "--checkpoint", str(checkpoint)]
    assert main([*words, "--output", str(tmp_path / "window")]) == 0
    session = onnxruntime.InferenceSession(tmp_path / "window.onnx")
    for length, height, width in ((1, 28, 42), (5, 56, 28), (32, 28, 28), (2, 518, 518)):
        frames = images(length, height, width)
        (depth,) = session.run(None, {"frames": frames})
        with torch.inference_mode():
            assert_depth(depth, golden_model(torch.from_numpy(frames)).numpy())


@pytest.mark.slow
def test_documented_step_over_a_video(
    golden_model: VideoDepthAnything,
    step_file: Path,
    make_video: MakeVideo,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Longer than the ring of 42 frames, so that every entry of it is written over."""
    (tmp_path / "step.onnx").symlink_to(step_file)
    make_video("clip.mp4", 50, 28, 42)
    monkeypatch.chdir(tmp_path)
    example = documented("onnxruntime")
    assert len([line for line in example.splitlines() if line.strip()]) <= 30
    exec(compile(example, str(DOCUMENT), "exec"), {})
    stream = DepthStream(golden_model, 28, CPU)
    video = cv2.VideoCapture("clip.mp4")
    expected = []
    while (read := video.read())[0]:
        expected.append(stream.step(cv2.cvtColor(read[1], cv2.COLOR_BGR2RGB)))
    assert len(expected) == 50
    assert_depth(np.load("depth.npy"), np.stack(expected))


def run_steps(step: RunStep, state: Mapping[str, npt.NDArray[np.generic]], frames: Array) -> Array:
    depths = []
    for number, image in enumerate(frames[0]):
        depth, *new = step({"image": image[None], "frame": np.array(number), **state})
        for entries, entry in zip(state.values(), new):
            entries[42 if number == 0 else number % 42] = entry
        depths.append(depth[0])
    return np.stack(depths)


def pytorch_steps(model: VideoDepthAnything, frames: Array) -> Array:
    """The same by PyTorch."""
    step = StepModule(model, (frames.shape[3], frames.shape[4]))

    @torch.inference_mode()
    def run(inputs: Mapping[str, npt.NDArray[np.generic]]) -> list[Array]:
        return [x.numpy() for x in step(*(torch.from_numpy(x) for x in inputs.values()))]

    return run_steps(run, {str(n): np.zeros(shape, np.float32) for n, shape in enumerate(step.state_shapes())}, frames)


@pytest.mark.slow
def test_openvino_window_of_any_length_and_size(
    golden_model: VideoDepthAnything, checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("openvino")
    core = openvino_core()
    words = ["--format", "openvino", "--encoder", "vits", "--checkpoint", str(checkpoint)]
    size = ["--frame_size", "42", "28", "--input_size", "28"]
    assert main([*words, *size, "--output", str(tmp_path / "window")]) == 0
    assert sorted(x.name for x in tmp_path.iterdir()) == ["window.bin", "window.xml"]
    for length, height, width in ((32, 28, 42), (1, 28, 42), (5, 56, 28), (32, 28, 28), (2, 518, 518)):
        frames = images(length, height, width)
        model = core.read_model(tmp_path / "window.xml")
        if (length, height, width) != (32, 28, 42):
            model.reshape(frames.shape)
        (depth,) = core.compile_model(model, "CPU", F32)({"frames": frames}).values()
        with torch.inference_mode():
            assert_depth(depth, golden_model(torch.from_numpy(frames)).numpy())
    monkeypatch.chdir(tmp_path)
    shown: dict[str, Array] = {}
    exec(compile(documented("openvino.Core"), str(DOCUMENT), "exec"), shown)
    assert shown["depth"].shape == (1, 8, 140, 252)


@pytest.mark.slow
def test_openvino_step(golden_model: VideoDepthAnything, checkpoint: Path, tmp_path: Path) -> None:
    pytest.importorskip("openvino")
    core = openvino_core()
    words = ["--format", "openvino", "--form", "step", "--frame_size", "42", "28", "--input_size", "28"]
    words += ["--encoder", "vits", "--checkpoint", str(checkpoint)]
    assert main([*words, "--output", str(tmp_path / "step.xml")]) == 0
    step = core.compile_model(core.read_model(tmp_path / "step.xml"), "CPU", F32)
    frames = images(46, 28, 42)
    state = {x.any_name: np.zeros(tuple(x.shape), np.float32) for x in step.inputs[2:]}
    assert_depth(run_steps(lambda x: step(x).values(), state, frames), pytorch_steps(golden_model, frames))


@pytest.mark.slow
def test_step_in_half_precision(golden_model: VideoDepthAnything, checkpoint: Path, tmp_path: Path) -> None:
    path = tmp_path / "half.onnx"
    words = ["--form", "step", "--frame_size", "42", "28", "--input_size", "28", "--encoder", "vits", "--fp16"]
    assert main([*words, "--checkpoint", str(checkpoint), "--output", str(path)]) == 0
    assert path.stat().st_size < 70e6  # of 116 MB in float32
    session = onnxruntime.InferenceSession(path)
    kept = session.get_inputs()[2:]
    assert {x.type for x in kept} == {"tensor(float16)"}
    frames = images(3, 28, 42)
    state = {x.name: np.zeros(x.shape, np.float16) for x in kept}
    depth = run_steps(lambda x: session.run(None, x), state, frames)
    assert_depth(depth, pytorch_steps(golden_model, frames), 2e-2)


def test_a_missing_checkpoint_ends_in_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--checkpoint", str(tmp_path / "none.pth"), "--encoder", "vits"]) == 2
    assert capsys.readouterr().err.startswith("error: checkpoint")
