"""`vda run` and `vda stream` on an NVIDIA GPU, as processes; see test_cuda.py for how they run without one."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt
import pytest
import torch
from recipes import synthetic_frames

from video_depth_anything.video_depth import VideoDepthAnything

pytestmark = pytest.mark.needs_cuda

ROOT = Path(__file__).resolve().parents[1]
# Before the command's own code: a device, or a process, that can have only so many bytes more than it has by then.
LIMITS = {
    "cuda": "torch.cuda.set_per_process_memory_fraction({bytes} / torch.cuda.get_device_properties(0).total_memory)",
    "cpu": "used = int(open('/proc/self/statm').read().split()[0]) * resource.getpagesize(); "
    "resource.setrlimit(resource.RLIMIT_AS, (used + {bytes}, -1))",
}


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A video as a folder of pictures, which need neither FFmpeg nor a codec."""
    folder = tmp_path_factory.mktemp("video") / "clip"
    folder.mkdir()
    for index, frame in enumerate(synthetic_frames(26, 48, 64, seed=26)):
        cv2.imwrite(str(folder / f"{index:03d}.png"), frame[..., ::-1])
    return folder


@pytest.fixture(scope="module")
def expected(golden_model: VideoDepthAnything) -> npt.NDArray[np.float32]:
    """Depth of that video by the library on a CPU."""
    frames = synthetic_frames(26, 48, 64, seed=26)
    depths, _ = golden_model.infer_video_depth(frames, 24, input_size=56, device="cpu", fp32=True)
    return depths


def vda(command: str, images: Path, checkpoint: Path, *flags: str, first: str = "") -> subprocess.CompletedProcess[str]:
    words = [command, str(images), "--checkpoint", str(checkpoint), "--input_size", "56", "--backend", "torch"]
    # Grey needs no table of colours: a machine with a GPU may lack matplotlib.
    words += ["--grayscale", "--save", "npz", "-o", str(images.parent / "outputs"), "--overwrite", *flags]
    code = f"import sys, resource, torch; {first or 'pass'}\nfrom video_depth_anything.cli.main import main\n"
    code += f"sys.exit(main({words!r}))"
    return subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False)


def depths_of(images: Path) -> npt.NDArray[np.float32]:
    (path,) = (images.parent / "outputs").glob("*.npz")
    depths: npt.NDArray[np.float32] = np.load(path)["depths"]
    return depths


@pytest.mark.parametrize(
    ("flags", "bound"),
    [(("--precision", "fp32"), 0.01), (("--precision", "fp16"), 0.01), (("--precision", "bf16"), 0.08)],
    ids=["fp32", "fp16", "bf16"],
)
def test_run(
    images: Path,
    checkpoint: Path,
    device: torch.device,
    expected: npt.NDArray[np.float32],
    flags: tuple[str, ...],
    bound: float,
) -> None:
    result = vda("run", images, checkpoint, "--device", device.type, "--frames_at_once", "5", *flags)
    assert result.returncode == 0, result.stderr
    found = depths_of(images)
    assert np.linalg.norm(found - expected) / np.linalg.norm(expected) < bound


@pytest.mark.usefixtures("gpu")
def test_usual_settings_take_the_gpu(images: Path, checkpoint: Path) -> None:
    result = vda("run", images, checkpoint, "-v")
    assert result.returncode == 0, result.stderr
    assert np.isfinite(depths_of(images)).all()
    assert len(depths_of(images)) == 26


def test_stream(images: Path, checkpoint: Path, device: torch.device, expected: npt.NDArray[np.float32]) -> None:
    result = vda("stream", images, checkpoint, "--device", device.type, "--precision", "fp32")
    assert result.returncode == 0, result.stderr
    found = depths_of(images)
    assert found.shape == expected.shape
    # Frame 0 is a window of its own in streaming, so depth differs; on the same scale.
    assert 0.5 < np.median(found) / np.median(expected) < 2


@pytest.mark.parametrize("command", ["run", "stream"])
def test_out_of_memory_is_one_line(images: Path, checkpoint: Path, device: torch.device, command: str) -> None:
    """Weights of vits take 111 MiB; what an input of 2,002 pixels needs is far beyond the limit."""
    first = LIMITS[device.type].format(bytes=1 << 30)
    flags = ("--device", device.type, "--precision", "fp32", "--input_size", "2002")
    result = vda(command, images, checkpoint, *flags, first=first)
    assert result.returncode == 2, result.stderr
    error = [line for line in result.stderr.splitlines() if line.startswith("error: ")]
    assert len(error) == 1
    assert "out of memory" in error[0]
    for flag in ("--input_size", "--frames_at_once", "--max_res", "--encoder"):
        assert flag in error[0]
    assert "Traceback" not in result.stderr
