"""The training programs as their users meet them: by their command lines."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
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


def test_metric_weights_train_on_metres_and_say_so(
    call: Callable[..., Result], recipe: list[object], checkpoint: Path, tmp_path: Path
) -> None:
    """The network that gives 1 everywhere: its loss is Eigen's of the recording's metres; the result stays metric."""
    state = torch.load(checkpoint, weights_only=True)
    for name in ("weight", "bias"):
        state[f"head.scratch.output_conv2.2.{name}"] *= 0
    state["head.scratch.output_conv2.2.bias"] += 1
    torch.save(state, tmp_path / "metric_ones.pth")
    recipe[recipe.index(checkpoint)] = tmp_path / "metric_ones.pth"
    recipe += ["--stage", "clip", "--frames", 6, "--stop_after", 1, "--flip", 0, "--height", 56, "--width", 84]
    recipe += ["--no-tensorboard", "--output"]
    code, _, messages = call(train.main, *recipe, tmp_path / "run")
    assert code == 0, messages
    assert f"{tmp_path / 'run' / 'model.pth'} --encoder vits --input_size 56 --metric" in messages
    line, *_ = map(json.loads, (tmp_path / "run" / "log.jsonl").read_text().splitlines())
    depth = np.stack([np.tile(1.5 + 1.5 * np.arange(84) / 83 + 0.02 * t, (56, 1)) for t in range(6)])
    depth[:, 10:20, 10:30] = np.nan
    error = np.log(np.round(depth, 3))  # whole millimetres
    silog = np.sqrt(np.nanmean(error**2) - 0.5 * np.nanmean(error) ** 2)
    assert line["train/spatial_loss"] == pytest.approx(silog, rel=2e-3)
    # Every pixel goes 2 centimetres away a frame, less than 5 % of the frame's range, and the network says 0; times 10.
    assert line["train/stable_loss"] == pytest.approx(0.2, rel=0.05)
    # What was trained as metric goes on as metric under any name, and as nothing else.
    recipe[recipe.index("--checkpoint") + 1] = tmp_path / "run" / "model.pth"
    code, _, messages = call(train.main, *recipe, tmp_path / "more", "--no-metric")
    assert (code, messages.count("\n")) == (2, 1) and "holds metric weights" in messages
    code, _, messages = call(train.main, *recipe, tmp_path / "more", "--log_weight", 1)
    assert (code, messages.count("\n")) == (2, 1) and "--log_weight" in messages


def test_recordings_are_held_out_and_seen_as_inference_sees_them(
    call: Callable[..., Result], rgbd_folder: Path, checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of two recordings the last, of one its last frames; no scene is rendered, so nothing needs open3d."""
    monkeypatch.setitem(sys.modules, "open3d", None)
    other = rgbd_folder.rename(tmp_path / "held")
    shutil.copytree(other, tmp_path / "shown")
    common = ["--stage", "image", "--batch", 1, "--steps", 1, "--log_every", 1, "--val_frames", 2, "--no-tensorboard"]
    common += ["--checkpoint", checkpoint, "--input_size", 28, *CPU, "--output"]
    for number, folders in enumerate(((tmp_path / "shown", other), (other,))):
        code, _, messages = call(train.main, *common, tmp_path / str(number), "--rgbd", *folders)
        assert code == 0, messages
        assert "held out for validation" in messages
        line = (tmp_path / str(number) / "log.jsonl").read_text().splitlines()[-1]
        assert {key for key in json.loads(line) if key.startswith("val/")} == {"val/held/delta1", "val/held/abs_rel"}
    code, _, messages = call(train.main, *common, tmp_path / "none", "--rgbd", other, "--val_rgbd")
    assert code == 0 and "held out" not in messages
    assert "--input_size 28" in messages  # 84x56 is 42x28 there, as in inference


@pytest.mark.slow
def test_two_processes_under_torchrun_equal_one_with_the_whole_batch(
    call: Callable[..., Result], recipe: list[object], tmp_path: Path
) -> None:
    """Trimming and the mean over valid pixels see the whole batch, so shares of different difficulty would show.

    Each process has an output folder of its own, as on machines that share none: the second resumes the first's run.
    """
    recipe += ["--stage", "clip", "--frames", 2, "--trim", 0.2, "--warmup", 0, "--no-tensorboard", "--output"]
    launch = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2"]
    script = tmp_path / "ranks.py"
    script.write_text(
        "import os, sys\nfrom training.train import main\n"
        f"main([*sys.argv[1:], {str(tmp_path / 'two')!r} + '_' * int(os.environ['RANK'])])\n"
    )
    for ending in (["--stop_after", "2"], ["--resume"]):
        command = [*launch, str(script), *ending, *map(str, recipe)]
        environment = os.environ | {"PYTHONPATH": str(ROOT)}
        result = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, env=environment)
        assert result.returncode == 0, result.stderr
    assert not list((tmp_path / "two_").iterdir())
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


def test_help_needs_nothing_heavy() -> None:
    heavy = "sys.exit(', '.join(sorted({'torch', 'cv2', 'numpy'} & set(sys.modules))) or 0)"
    code = f"import sys; from training import train; train.parser().format_help(); {heavy}"
    result = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False)
    assert (result.returncode, result.stderr) == (0, "")
