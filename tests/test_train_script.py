"""The training programs as their users meet them: on the command line."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from video_depth_anything.checkpoint import load_model

ROOT = Path(__file__).resolve().parents[1]
SIZE = ["--height", "28", "--width", "42", "--threads", "1", "--device", "cpu", "--precision", "fp32"]


def run(module: str, *args: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", f"training.{module}", *map(str, args)]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)


@pytest.fixture
def train(rgbd_folder: Path, checkpoint: Path, tmp_path: Path) -> list[object]:
    """Arguments of a short image stage on an RGB-D folder."""
    data = ["--rgbd", rgbd_folder, "--val_rgbd", rgbd_folder, "--val_clips", 0, "--val_frames", 2]
    return ["--checkpoint", checkpoint, *data, "--batch", 2, "--steps", 4, "--log_every", 1, *SIZE, "--output", tmp_path]


def test_training_on_an_rgbd_folder_resumes_exactly_and_makes_a_checkpoint(
    train: list[object], checkpoint: Path, tmp_path: Path
) -> None:
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    result = run("train", *train[:-1], whole)
    assert result.returncode == 0, result.stderr
    assert "delta1" in result.stderr
    # A deadline that has passed after any step ends the run there.
    ended = run("train", *train[:-1], parts, "--max_minutes", "1e-9")
    assert ended.returncode == 0, ended.stderr
    steps = 0
    for _ in range(2):
        run("train", *train[:-1], parts, "--resume", "--no-tensorboard", "--steps", 4, "--max_minutes", "0.001")
        steps += 1
    final = run("train", *train[:-1], parts, "--resume", "--no-tensorboard")
    assert final.returncode == 0, final.stderr
    states = [torch.load(folder / "model.pth", weights_only=True) for folder in (whole, parts)]
    assert all(torch.equal(value, states[1][name]) for name, value in states[0].items())
    original = torch.load(checkpoint, weights_only=True)
    assert not torch.equal(states[0]["head.projects.0.weight"], original["head.projects.0.weight"])
    assert torch.equal(states[0]["pretrained.norm.weight"], original["pretrained.norm.weight"])
    load_model("vits", checkpoint=whole / "model.pth", device="cpu")
    lines = [json.loads(line) for line in (whole / "log.jsonl").read_text().splitlines()]
    assert [line["step"] for line in lines if "train/total_loss" in line] == [1, 2, 3, 4]
    assert any("val/recording/delta1" in line for line in lines)
    assert list((whole / "tensorboard").glob("events*"))


def test_a_run_is_not_overwritten_and_must_be_the_same_to_go_on(train: list[object]) -> None:
    train += ["--no-tensorboard"]
    assert run("train", *train, "--steps", 1).returncode == 0
    again = run("train", *train)
    assert (again.returncode, again.stderr.count("\n")) == (2, 1)
    assert "--resume" in again.stderr
    other = run("train", *train, "--resume", "--lr", "0.5")
    assert other.returncode == 2
    assert "--lr" in other.stderr


def test_cache_then_train(checkpoint: Path, tmp_path: Path) -> None:
    made = run(
        "make_cache", "--out", tmp_path / "cache", "--clips", 2, "--frames", 3, "--views", 2, "--checkpoint", checkpoint, *SIZE
    )
    assert made.returncode == 0, made.stderr
    assert len(list((tmp_path / "cache").glob("clip_*/preview.jpg"))) == 4
    recipe = ["--stage", "clip", "--frames", 3, "--render", 2, "--steps", 2, "--batch", 2, "--val_clips", 1, "--val_frames", 2]
    files = ["--cache", tmp_path / "cache", "--checkpoint", checkpoint, "--output", tmp_path / "run", "--half"]
    trained = run("train", *files, *recipe, *SIZE, "--no-tensorboard")
    assert trained.returncode == 0, trained.stderr
    assert "scenes/delta1" in trained.stderr
    state = torch.load(tmp_path / "run" / "model.pth", weights_only=True)
    assert {value.dtype for value in state.values()} == {torch.float16}


def test_torchrun_trains_with_two_processes(train: list[object], tmp_path: Path) -> None:
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2"]
    command += ["-m", "training.train", *map(str, train), "--steps", "2", "--no-tensorboard"]
    result = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr
    lines = [json.loads(line) for line in (tmp_path / "log.jsonl").read_text().splitlines()]
    assert [line["step"] for line in lines if "train/total_loss" in line] == [1, 2]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"--checkpoint": "missing.pth"}, "missing.pth not found"),
        ({"--checkpoint": "README.md"}, "cannot be read"),
        ({"--rgbd": "assets"}, "no images there"),
        ({"--encoder": "vitb"}, "vits checkpoint"),
    ],
)
def test_bad_input_ends_in_one_line(train: list[object], changes: dict[str, str], message: str) -> None:
    for flag, value in changes.items():
        if flag in train:
            train[train.index(flag) + 1] = value
        else:
            train += [flag, value]
    result = run("train", *train)
    assert (result.returncode, result.stderr.count("\n")) == (2, 1), result.stderr
    assert message in result.stderr


def test_help_is_instant() -> None:
    heavy = "{'torch', 'cv2', 'numpy', 'open3d'}"
    for module in ("train", "make_cache", "evaluate"):
        code = f"import sys, training.{module} as m; m.parser().format_help(); sys.exit(str({heavy} & set(sys.modules)) if {heavy} & set(sys.modules) else 0)"
        result = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False)
        assert (result.returncode, result.stderr) == (0, "")
