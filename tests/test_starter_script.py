"""The programs that make the demo checkpoint, by their command lines, from scenes to quality."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from starter import evaluate, make_cache
from starter import train as starter_train
from video_depth_anything.checkpoint import load_model

pytestmark = pytest.mark.slow

CPU = ["--threads", "1", "--device", "cpu", "--precision", "fp32"]
SIZE = ["--height", "28", "--width", "42"]
Result = tuple[int, str, str]  # exit code, standard output, standard error


def test_scenes_to_cache_to_checkpoint_to_quality(
    call: Callable[..., Result], checkpoint: Path, rgbd_folder: Path, tmp_path: Path
) -> None:
    cache, run = tmp_path / "cache", tmp_path / "run"
    making = ["--out", cache, "--frames", 3, "--views", 2, "--checkpoint", checkpoint, *SIZE, *CPU]
    assert call(make_cache.main, *making, "--clips", 1)[0] == 0
    first = (cache / "clip_00000000_v0" / "tokens.npy").stat().st_mtime_ns
    assert call(make_cache.main, *making, "--clips", 2)[0] == 0
    assert len(list(cache.glob("clip_*/preview.jpg"))) == 4
    assert (cache / "clip_00000000_v0" / "tokens.npy").stat().st_mtime_ns == first
    recipe = ["--stage", "clip", "--frames", 3, "--render", 2, "--steps", 2, "--batch", 2]
    files = ["--cache", cache, "--checkpoint", checkpoint, "--output", run, "--half", "--no-tensorboard"]
    code, _, messages = call(starter_train.main, *recipe, *files, "--val_clips", 1, "--val_frames", 2, *CPU)
    assert code == 0, messages
    assert "scenes/delta1" in messages
    state = torch.load(run / "model.pth", weights_only=True)
    assert {value.dtype for value in state.values()} == {torch.float16}
    asked = ["--checkpoint", run / "model.pth", "--folders", rgbd_folder, "--scenes", 1, "--input_size", 28]
    code, table, messages = call(evaluate.main, *asked, "--frames", 3, "--json", tmp_path / "numbers.json", *CPU)
    assert code == 0, messages
    rows = json.loads((tmp_path / "numbers.json").read_text())
    assert [row["method"] for row in rows] == ["constant", "plane", "image", "offline", "constant", "plane", "image"]
    assert all(row["method"] in table for row in rows)
    assert all(0 < row["delta1"] <= 1 for row in rows)
    assert all(row["tae"] is not None for row in rows[:4]) and all(row["f1"] is not None for row in rows[4:])


def test_live_encoder_blocks_from_a_cache_to_a_checkpoint(
    call: Callable[..., Result], checkpoint: Path, tmp_path: Path
) -> None:
    cache, run = tmp_path / "cache", tmp_path / "run"
    making = ["--frames", 1, "--encoder_blocks", 3, "--kinds", "inside", "--checkpoint", checkpoint, *SIZE, *CPU]
    assert call(make_cache.main, *making, "--out", cache, "--clips", 4)[0] == 0
    assert np.load(cache / "clip_00000000_v0" / "stream.npy").shape == (1, 7, 384)
    assert np.load(cache / "clip_00000000_v0" / "tokens.npy").shape == (1, 2, 2, 3, 384)
    recipe = ["--checkpoint", checkpoint, "--steps", 1, "--batch", 2, "--val_clips", 0, *CPU, "--no-tensorboard"]
    files = ["--cache", cache, "--output", run]
    code, _, messages = call(starter_train.main, *recipe, *files, "--encoder_blocks", 3)
    assert code == 0, messages
    trained, original = (torch.load(p, weights_only=True) for p in (run / "model.pth", checkpoint))
    assert list(trained) == list(original)
    for block, same in ((8, True), (9, False), (11, False)):
        key = f"pretrained.blocks.{block}.mlp.fc1.weight"
        assert torch.equal(trained[key], original[key]) == same
    load_model("vits", checkpoint=run / "model.pth", device="cpu")
    code, _, messages = call(starter_train.main, *recipe, "--cache", cache, "--output", tmp_path / "other")
    assert (code, messages.count("\n")) == (2, 1) and "--encoder_blocks 3, not 0" in messages
