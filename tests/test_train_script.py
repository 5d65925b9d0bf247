"""The training programs as their users meet them: by their command lines."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from training import train
from training.batches import Batch
from training.trainer import Trainer
from video_depth_anything.checkpoint import load_model

ROOT = Path(__file__).resolve().parents[1]
CPU = ["--threads", "1", "--device", "cpu", "--precision", "fp32"]
SIZE = ["--height", "28", "--width", "42"]
Result = tuple[int, str, str]  # exit code, standard output, standard error


@pytest.fixture
def recipe(rgbd_folder: Path, checkpoint: Path) -> list[object]:
    """Arguments of a short image stage on an RGB-D folder."""
    data = ["--rgbd", rgbd_folder, "--val_rgbd", rgbd_folder, "--val_frames", 2]
    return ["--checkpoint", checkpoint, *data, "--batch", 2, "--steps", 3, "--log_every", 1, *SIZE, *CPU]


def test_training_on_recordings_resumes_exactly_and_makes_a_checkpoint(
    call: Callable[..., Result], recipe: list[object], checkpoint: Path, tmp_path: Path
) -> None:
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    code, _, messages = call(train.main, *recipe, "--output", whole)
    assert code == 0, messages
    assert "delta1" in messages
    for _ in range(2):  # one step, one step, the rest
        ended = call(train.main, *recipe, "--output", parts, "--resume", "--no-tensorboard", "--stop_after", 1)
        assert ended[0] == 0, ended
    assert torch.load(parts / "state.pth", weights_only=True)["step"] == 2
    assert call(train.main, *recipe, "--output", parts, "--resume", "--no-tensorboard")[0] == 0
    states = [torch.load(folder / "model.pth", weights_only=True) for folder in (whole, parts)]
    assert all(torch.equal(value, states[1][name]) for name, value in states[0].items())
    original = torch.load(checkpoint, weights_only=True)
    assert not torch.equal(states[0]["head.projects.0.weight"], original["head.projects.0.weight"])
    assert torch.equal(states[0]["pretrained.norm.weight"], original["pretrained.norm.weight"])
    load_model("vits", checkpoint=whole / "model.pth", device="cpu")
    for folder in (whole, parts):
        lines = [json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines()]
        assert [line["step"] for line in lines if "train/total_loss" in line] == [1, 2, 3]
        assert any("val/recording/delta1" in line for line in lines)
    assert list((whole / "tensorboard").glob("events*"))


def test_a_signal_ends_the_run_after_its_step_with_all_saved(
    call: Callable[..., Result], recipe: list[object], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    step = Trainer.train_step

    def signalled(trainer: Trainer, batch: Batch) -> dict[str, float]:
        signal.raise_signal(signal.SIGTERM)
        return step(trainer, batch)

    monkeypatch.setattr(Trainer, "train_step", signalled)
    assert call(train.main, *recipe, "--output", tmp_path, "--no-tensorboard")[0] == 130
    assert torch.load(tmp_path / "state.pth", weights_only=True)["step"] == 1
    load_model("vits", checkpoint=tmp_path / "model.pth", device="cpu")


def test_a_run_is_not_overwritten_and_must_be_the_same_to_go_on(
    call: Callable[..., Result], recipe: list[object], tmp_path: Path
) -> None:
    recipe += ["--output", tmp_path / "run", "--no-tensorboard"]
    assert call(train.main, *recipe, "--stop_after", 1)[0] == 0
    code, _, messages = call(train.main, *recipe)
    assert (code, messages.count("\n")) == (2, 1)
    assert "--resume" in messages
    code, _, messages = call(train.main, *recipe, "--resume", "--lr", "0.5")
    assert code == 2
    assert "--lr" in messages


@pytest.mark.slow
def test_two_processes_under_torchrun_equal_one_with_the_whole_batch(
    call: Callable[..., Result], recipe: list[object], tmp_path: Path
) -> None:
    """Trimming and the mean over valid pixels see the whole batch, so shares of different difficulty would show."""
    recipe += ["--stage", "clip", "--frames", 2, "--trim", 0.2, "--warmup", 0, "--no-tensorboard", "--output"]
    launch = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2"]
    command = [*launch, "-m", "training.train", *map(str, recipe), str(tmp_path / "two")]
    result = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr
    assert call(train.main, *recipe, tmp_path / "one")[0] == 0
    logs = []
    for folder in ("two", "one"):
        lines = map(json.loads, (tmp_path / folder / "log.jsonl").read_text().splitlines())
        logs.append([line for line in lines if "train/total_loss" in line])
    assert [line["step"] for line in logs[0]] == [1, 2, 3]
    for two, one in zip(*logs):
        assert two["train/total_loss"] == pytest.approx(one["train/total_loss"], rel=1e-4)
        assert two["train/grad_norm"] == pytest.approx(one["train/grad_norm"], rel=1e-3)
    two, one = (torch.load(tmp_path / folder / "state.pth", weights_only=True)["weights"] for folder in ("two", "one"))
    for name, value in one.items():
        # Adam's first steps are the gradient's sign, so where it is near zero it may turn either way: 3 steps of 1e-4.
        torch.testing.assert_close(two[name], value, rtol=0, atol=7e-4, msg=name)
        assert (two[name] - value).abs().mean() < 2e-6, name


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"--checkpoint": "missing.pth"}, "missing.pth not found"),
        ({"--checkpoint": "README.md"}, "cannot be read"),
        ({"--rgbd": "assets"}, "no images there"),
        ({"--encoder": "vitb"}, "vits checkpoint"),
    ],
)
def test_bad_input_ends_in_one_line(
    call: Callable[..., Result], recipe: list[object], tmp_path: Path, changes: dict[str, str], message: str
) -> None:
    for flag, value in changes.items():
        if flag in recipe:
            recipe[recipe.index(flag) + 1] = value
        else:
            recipe += [flag, value]
    code, _, messages = call(train.main, *recipe, "--output", tmp_path / "run")
    assert (code, messages.count("\n")) == (2, 1), messages
    assert message in messages
