"""Fixtures shared by the tests: one network with the golden weights, its checkpoint file, small videos."""

from __future__ import annotations

import copy
import logging
import os
import signal
from collections.abc import Callable, Generator, Iterator
from dataclasses import replace
from fractions import Fraction
from itertools import count as integers
from pathlib import Path
from typing import TYPE_CHECKING

import cv2
import numpy as np
import numpy.typing as npt
import pytest
import torch
from recipes import random_state_dict, synthetic_frames

from video_depth_anything.device import Execution
from video_depth_anything.video_depth import VideoDepthAnything

if TYPE_CHECKING:
    from training.clips import Clip

MakeVideo = Callable[..., Path]

# Set to "cpu", the tests for a GPU run there what a CPU can do too: it is how they are checked where no GPU is.
STAND_IN = os.environ.get("VIDEO_DEPTH_CUDA_TESTS_ON", "cuda")


def pytest_addoption(parser: pytest.Parser) -> None:
    help = "fail where a test marked needs_cuda would be skipped, so that a run on a GPU cannot pass by skipping"
    parser.addoption("--require-cuda", action="store_true", help=help)


def pytest_runtest_setup(item: pytest.Item) -> None:
    if item.get_closest_marker("needs_cuda") and STAND_IN == "cuda" and not torch.cuda.is_available():
        pytest.skip("no NVIDIA GPU is here")


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    if report.skipped and item.get_closest_marker("needs_cuda") and item.config.getoption("--require-cuda"):
        reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else report.longrepr
        report.outcome, report.longrepr = "failed", f"{reason}; --require-cuda lets nothing be skipped"
    return report


@pytest.fixture(scope="session")
def golden_model() -> VideoDepthAnything:
    """vits with the weights of the golden values; tests must not change it."""
    model = VideoDepthAnything("vits").eval()
    model.load_state_dict(random_state_dict(model.state_dict()), strict=True)
    return model.requires_grad_(False)


@pytest.fixture(scope="session")
def device() -> torch.device:
    """Where the tests for a GPU run: there, or where they are checked without one."""
    return torch.device(STAND_IN)


@pytest.fixture
def gpu(device: torch.device) -> torch.device:
    """A GPU, for what has no counterpart on a CPU."""
    if device.type != "cuda":
        pytest.skip("only a GPU does this")
    return device


@pytest.fixture(scope="session")
def device_model(golden_model: VideoDepthAnything, device: torch.device) -> VideoDepthAnything:
    """The golden network on that device; tests must not change it."""
    return copy.deepcopy(golden_model).to(device)


@pytest.fixture(scope="session")
def checkpoint(golden_model: VideoDepthAnything, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The golden weights as a checkpoint file."""
    path = tmp_path_factory.mktemp("weights") / "random_vits.pth"
    torch.save(golden_model.state_dict(), path)
    return path


@pytest.fixture(scope="session")
def fp32() -> Execution:
    """Float32 on the CPU, several frames at once so that batching is exercised."""
    return Execution(torch.device("cpu"), None, 3)


@pytest.fixture
def make_video(tmp_path: Path) -> MakeVideo:
    """Write a small synthetic .mp4 with this repository's own writer and return its path."""

    def make(
        name: str = "clip.mp4", count: int = 5, height: int = 48, width: int = 64, fps: Fraction = Fraction(24)
    ) -> Path:
        # Here, so that the tests for a GPU need no library of codecs.
        from video_depth_anything.video.writer import VideoWriter

        path = tmp_path / name
        writer = VideoWriter(path, (height, width), fps)
        for frame in synthetic_frames(count, height, width, seed=count):
            writer.write(frame)
        writer.close()
        return path

    return make


@pytest.fixture(scope="session")
def benchmark_clip() -> Clip:
    """A dozen small reddish frames of a rendered scene without sky, with exact depth and poses, for the benchmark."""
    from starter.scenes.render import SceneOptions, render_clip

    options = SceneOptions(12, 64, 80, kinds=("inside",), clean=True, fps=4)
    clips = (render_clip(seed, options) for seed in integers(7))
    # Any prediction fits a wall.
    clip = next(clip for clip in clips if np.quantile(clip.depth, 0.9) > 2 * np.quantile(clip.depth, 0.1))
    return replace(clip, images=(clip.images * np.array([1.0, 0.7, 0.4])).astype(np.uint8))


@pytest.fixture(scope="session")
def native_sets(benchmark_clip: Clip, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """That clip in the download layout of each dataset of the benchmark, a folder each."""
    from benchmark_miniatures import WRITERS

    root = tmp_path_factory.mktemp("native")
    for name, write in WRITERS.items():
        write(benchmark_clip, root / name)
    return root


@pytest.fixture(scope="session")
def extracted_sets(native_sets: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What the benchmark's extraction scripts make of them."""
    from benchmark_miniatures import KITTI_SCENE, SCENES, run_script

    out = tmp_path_factory.mktemp("extracted")
    for name, scene in SCENES.items():
        scenes = () if scene == KITTI_SCENE else ("--scenes", scene)
        script = f"dataset_extract/dataset_extract_{name}.py"
        result = run_script(script, "--root", native_sets / name, "--out", out, *scenes)
        assert result.returncode == 0, result.stderr
    return out


@pytest.fixture(scope="session")
def perfect(extracted_sets: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The ground truth of the extracted sets as predictions."""
    from benchmark_miniatures import write_perfect

    out = tmp_path_factory.mktemp("perfect")
    write_perfect(extracted_sets, out)
    return out


@pytest.fixture
def frames() -> Callable[..., npt.NDArray[np.uint8]]:
    return synthetic_frames


@pytest.fixture
def rgbd_folder(tmp_path: Path) -> Path:
    """A recording of six frames of 84x56 pixels: a slanted wall 1.5 to 3 metres away, moving, with a hole."""
    folder = tmp_path / "recording"
    for part in ("rgb", "depth"):
        (folder / part).mkdir(parents=True)
    _, x = np.mgrid[0:56, 0:84]
    for index, frame in enumerate(synthetic_frames(6, 56, 84, seed=6)):
        depth = 1500 + 1500 * x / 83 + 20 * index
        depth[10:20, 10:30] = 0
        cv2.imwrite(str(folder / "rgb" / f"{index:05d}.png"), np.ascontiguousarray(frame[..., ::-1]))
        cv2.imwrite(str(folder / "depth" / f"{index:05d}.png"), depth.astype(np.uint16))
    np.savetxt(folder / "intrinsics.txt", np.array([[80, 0, 41.5], [0, 80, 27.5], [0, 0, 1]]))
    poses = np.stack([np.eye(4)] * 6)
    poses[:, 2, 3] = -0.02 * np.arange(6)  # backwards: the wall gets farther away
    np.savetxt(folder / "poses.txt", poses.reshape(6, 16))
    return folder


@pytest.fixture
def call(capfd: pytest.CaptureFixture[str]) -> Iterator[Callable[..., tuple[int, str, str]]]:
    """Run a program's `main` in this process as its script does, since starting Python and torch takes seconds.

    Returns its exit code, standard output and standard error.
    """
    from video_depth_anything.cli.console import run_script

    handlers, level = logging.getLogger().handlers, logging.getLogger().level
    threads, before = torch.get_num_threads(), signal.getsignal(signal.SIGTERM)

    def run(main: Callable[[list[str]], int], *args: object) -> tuple[int, str, str]:
        try:
            code = run_script(lambda: main([str(arg) for arg in args]))
        except SystemExit as ended:  # of argparse
            code = int(ended.code or 0)
        return (code, *capfd.readouterr())

    yield run
    signal.signal(signal.SIGTERM, before)
    torch.set_num_threads(threads)
    logging.getLogger().handlers = handlers
    logging.getLogger().setLevel(level)


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """An empty folder for a command to run in."""
    folder = tmp_path / "home"
    folder.mkdir()
    return folder
