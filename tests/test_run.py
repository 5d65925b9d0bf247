"""run.py as a user meets it: real small files, every output, every mistake in one line."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from conftest import MakeVideo
from ffmpeg import ffmpeg_header, run_ffmpeg

from utils.dc_utils import read_video_frames
from video_depth_anything.cli.main import COMMANDS
from video_depth_anything.video_depth import VideoDepthAnything

ROOT = Path(__file__).resolve().parents[1]
SMALL = ("--encoder", "vits", "--input_size", "56", "--device", "cpu", "--backend", "torch", "--fp32")

Here = Callable[..., subprocess.CompletedProcess[str]]


def run(*arguments: str | Path, cwd: Path = ROOT, **environment: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(ROOT / "run.py"), *map(str, arguments)]
    return subprocess.run(
        command, cwd=cwd, env={**os.environ, **environment}, capture_output=True, text=True, check=False, timeout=300
    )


@pytest.fixture
def here(call: Callable[..., tuple[int, str, str]]) -> Here:
    """`run` in this process: starting one takes longer than what most mistakes need."""

    def run_here(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
        return subprocess.CompletedProcess(arguments, *call(lambda words: COMMANDS["run"](words, "run.py"), *arguments))

    return run_here


def shown(folder: Path) -> set[str]:
    """Names of what a run wrote, as a user sees them."""
    return {path.name for path in folder.iterdir() if not path.name.startswith(".")}


def frame_count(path: Path) -> tuple[int, int, int]:
    frames, _ = read_video_frames(path)
    return len(frames), frames.shape[1], frames.shape[2]


@pytest.fixture
def clip(make_video: MakeVideo) -> Path:
    return make_video("my clip.mp4", count=25, fps=Fraction(24000, 1001))


def test_everything_a_relative_run_writes(
    clip: Path, checkpoint: Path, tmp_path: Path, golden_model: VideoDepthAnything
) -> None:
    out = tmp_path / "out" / "deep"
    flags = ("--input_video", clip, "--output_dir", out, "--checkpoint", checkpoint, "--save_npz", "--save_exr")
    result = run(*flags, *SMALL)
    assert result.returncode == 0, result.stderr
    assert "25/25" in result.stderr
    assert result.stdout.count("\n") == 1
    assert "25 frames in" in result.stdout
    assert "frames/s, peak memory" in result.stdout
    names = {"my clip_src.mp4", "my clip_vis.mp4", "my clip_depths.npz", "my clip_depths_exr"}
    assert shown(out) == names
    for name in names:
        assert name in result.stdout
    assert len(list((out / "my clip_depths_exr").glob("frame_000??.exr"))) == 25
    frames, fps = read_video_frames(clip)
    expected, _ = golden_model.infer_video_depth(frames, fps, input_size=56, fp32=True)
    with np.load(out / "my clip_depths.npz") as archive:
        depths = archive["depths"]
        assert str(archive["kind"]) == "disparity"
        assert float(archive["fps"]) == pytest.approx(24000 / 1001)
        assert archive["source_size"].tolist() == [48, 64]
    assert depths.dtype == np.float32
    np.testing.assert_allclose(depths, expected, atol=5e-5 * float(np.ptp(expected)))
    for name in ("my clip_src.mp4", "my clip_vis.mp4"):
        assert frame_count(out / name) == (25, 48, 64)
        assert cv2.VideoCapture(str(out / name)).get(cv2.CAP_PROP_FPS) == pytest.approx(24000 / 1001, abs=1e-6)


def test_everything_a_metric_run_writes(clip: Path, checkpoint: Path, tmp_path: Path) -> None:
    limits = ("--max_len", "3", "--max_res", "32", "--target_fps", "12", "--grayscale", "--metric")
    flags = ("--input_video", clip, "--output_dir", tmp_path / "out", "--checkpoint", checkpoint)
    result = run(*flags, *limits, *SMALL, "--focal-length-x", "100", "--focal-length-y", "50")
    assert result.returncode == 0, result.stderr
    names = {"my clip_src.mp4", "my clip_vis.mp4"} | {f"my clip_point{i:04d}.ply" for i in range(3)}
    assert shown(tmp_path / "out") == names
    assert frame_count(tmp_path / "out" / "my clip_vis.mp4") == (3, 24, 32)
    vis, fps = read_video_frames(tmp_path / "out" / "my clip_vis.mp4")
    assert fps == 12
    assert np.ptp(vis.astype(int), axis=3).max() <= 6  # gray


def test_defaults_of_the_original() -> None:
    result = run("--help")
    assert result.returncode == 0
    text = " ".join(result.stdout.split())
    for flag, default in {
        "--output_dir FOLDER": "outputs",
        "--input_size PIXELS": "518",
        "--max_res PIXELS": "1280",
        "--max_len FRAMES": "-1",
        "--target_fps FPS": "-1",
        "--device DEVICE": "auto",
        "--precision {auto,fp32,fp16,bf16,int8}": "auto",
    }.items():
        described = text.rpartition(flag)[2]
        assert described.partition("(default: ")[2].split(")")[0] == default, flag
    assert "470.4" in text
    for useless in ("(default: False)", "(default: inf)", "(default: None)", str(ROOT)):
        assert useless not in text
    for flag in ("--metric", "--fp32", "--grayscale", "--save_npz", "--save_exr", "--checkpoint", "--input_video"):
        assert flag in text


def one_line(result: subprocess.CompletedProcess[str], code: int = 2) -> str:
    assert result.returncode == code, result.stderr
    assert "Traceback" not in result.stderr
    lines = [line for line in result.stderr.strip().splitlines() if not line.startswith("see `")]
    return lines[-1]


def test_mistakes_end_in_one_line(
    clip: Path, checkpoint: Path, tmp_path: Path, here: Here, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In the order a user makes them; no folder is made, nothing is left."""
    out = tmp_path / "out"
    flags = ("--output_dir", out, *SMALL)
    monkeypatch.chdir(tmp_path)
    line = one_line(here("--input_video", clip, *flags, "--encoder", "vitb"))
    assert "checkpoints/video_depth_anything_vitb.pth" in line
    assert "vda weights vitb" in line
    line = one_line(here("--input_video", "none.mp4", "--checkpoint", checkpoint, *flags))
    assert line == "error: input video none.mp4 not found"
    (tmp_path / "bad.mp4").write_bytes(b"bad")
    line = one_line(here("--input_video", tmp_path / "bad.mp4", "--checkpoint", checkpoint, *flags))
    assert "not a video, or damaged" in line
    assert "argument --max_len" in one_line(here("--input_video", clip, "--max_len", "0", *flags))
    assert "argument --target_fps" in one_line(here("--input_video", clip, "--target_fps", "-5", *flags))
    assert "argument --encoder" in one_line(here("--input_video", clip, "--encoder", "vitg", *flags))
    assert not out.exists()


def test_wrong_checkpoint_and_output_folder(clip: Path, checkpoint: Path, tmp_path: Path, here: Here) -> None:
    wrong = ("--checkpoint", checkpoint, "--encoder", "vitb", "--output_dir", tmp_path / "out")
    line = one_line(here("--input_video", clip, *wrong))
    assert "a vits checkpoint, not vitb" in line
    line = one_line(here("--input_video", clip, "--checkpoint", checkpoint, "--output_dir", clip, *SMALL))
    assert f"cannot write to {clip}" in line


@pytest.mark.skipif(torch.cuda.is_available(), reason="here is a GPU")
def test_no_gpu(clip: Path, here: Here) -> None:
    line = one_line(here("--input_video", clip, "--encoder", "vits", "--device", "cuda"))
    assert line.startswith("error: device cuda is not available")


def test_full_disk_ends_in_one_line(clip: Path, checkpoint: Path, tmp_path: Path) -> None:
    """A file size limit stands for a full disk."""
    if shutil.which("prlimit") is None:
        pytest.skip("prlimit is not installed")
    command = ["prlimit", "--fsize=60000", sys.executable, str(ROOT / "run.py"), "--input_video", str(clip)]
    command += ["--output_dir", str(tmp_path / "out"), "--checkpoint", str(checkpoint), "--save_npz", *SMALL]
    result = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, timeout=120)
    assert "large" in one_line(result) or "cannot write" in one_line(result)
    assert list((tmp_path / "out").iterdir()) == []


def test_several_inputs_the_rest_finishes(make_video: MakeVideo, checkpoint: Path, tmp_path: Path, here: Here) -> None:
    first, second = make_video("a.mp4", count=3), make_video("b.mp4", count=2)
    flags = ("--output_dir", tmp_path / "out", "--checkpoint", checkpoint, *SMALL)
    (tmp_path / "broken.mp4").write_bytes(b"broken")
    command = [sys.executable, str(ROOT / "run.py"), "--input_video", "-", *map(str, flags)]
    listed = f"{first}\n\n{tmp_path / 'broken.mp4'}\n{second}\n"
    result = subprocess.run(command, cwd=ROOT, input=listed, capture_output=True, text=True, check=False, timeout=120)
    assert one_line(result, 1).endswith("not a video, or damaged: it has no video stream")
    assert "1 of 3 inputs failed" in result.stderr
    assert "[1/3] a: 3/3 frames" in result.stderr
    assert "[3/3] b: 2/2 frames" in result.stderr
    assert result.stdout.count("wrote ") == 2
    assert shown(tmp_path / "out") == {"a_src.mp4", "a_vis.mp4", "b_src.mp4", "b_vis.mp4"}
    again = here("--input_video", first, second, "--resume", *flags)
    assert again.returncode == 0
    assert again.stderr.count("already finished, skipped") == 2
    (tmp_path / "out" / "b_vis.mp4").unlink()
    again = here("--input_video", first, second, "--resume", *flags)
    assert (again.stderr.count("skipped"), again.stdout.count("wrote ")) == (1, 1)
    again = here("--input_video", first, "--resume", *flags, "--grayscale")
    assert again.stdout.count("wrote ") == 1


def test_every_new_flag_at_once(tmp_path: Path, make_video: MakeVideo, checkpoint: Path) -> None:
    silent = make_video("silent.mp4", count=48)
    path = tmp_path / "my film.mkv"
    beep = ("-f", "lavfi", "-i", "sine=duration=2")
    run_ffmpeg("-i", silent, *beep, "-map", "0", "-map", "1", "-c:v", "copy", path)
    flags = ["--save", "src", "vis", "npz", "exr", "png16", "mkv16", "ply", "--metric", "--keep_audio"]
    flags += ["--vis", "side-by-side", "--colormap", "turbo", "--vis_range", "0.5", "4", "--start", "0.5", "--end", "1"]
    flags += ["--fov", "60", "--principal-point", "30", "20", "--ply_every", "4", "--ply_stride", "2"]
    flags += ["--ply_max_depth", "100", "--target_fps", "24/2"]
    out = tmp_path / "out"
    result = run("--input_video", path, "--output_dir", out, "--checkpoint", checkpoint, *flags, *SMALL)
    assert result.returncode == 0, result.stderr
    assert "disk: up to " in result.stderr
    assert "focal length" not in result.stderr
    names = {"_src.mp4", "_vis.mp4", "_depths.npz", "_depths_exr", "_depths_png16", "_depths16.mkv", "_depths16.json"}
    assert shown(out) == {f"my film{name}" for name in names} | {f"my film_point{i:04d}.ply" for i in (0, 4)}
    assert frame_count(out / "my film_vis.mp4") == (6, 48, 128)
    with np.load(out / "my film_depths.npz") as archive:
        assert str(archive["kind"]) == "depth_metres"
        np.testing.assert_allclose(archive["timestamps"], 0.5 + np.arange(6) / 12, atol=1e-3)
    for name in ("_src.mp4", "_vis.mp4"):
        header = ffmpeg_header(out / f"my film{name}")
        assert " Audio: " in header
        assert float(header.split("Duration: 00:00:")[1].split(",")[0]) == pytest.approx(0.5, abs=0.06)


def test_flags_that_make_no_sense(clip: Path, checkpoint: Path, tmp_path: Path, here: Here) -> None:
    flags = ("--input_video", clip, "--checkpoint", checkpoint, "--output_dir", tmp_path / "out", *SMALL)
    assert "--save ply needs depth in metres" in one_line(here(*flags, "--save", "ply"))
    assert "no colour map 'nope'" in one_line(here(*flags, "--colormap", "nope"))
    assert "argument --vis_range: '5 1'" in one_line(here(*flags, "--vis_range", "5", "1"))
    assert "--end 1 is not after --start 2" in one_line(here(*flags, "--start", "2", "--end", "1"))
    assert "no frame after --start 60 seconds" in one_line(here(*flags, "--start", "60"))
    assert shown(tmp_path / "out") == set()
