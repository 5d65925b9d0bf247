"""The original's names in the benchmark, imported and called as public programs do; values are those of our own."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from benchmark.eval import metric
from benchmark.eval.eval import depth2disparity
from benchmark.eval.eval_tae import tae_torch
from benchmark.eval.metric import *  # noqa: F403
from benchmark.eval.metric import abs_relative_difference, delta1_acc, threshold_percentage
from benchmark.eval.metrics import frame_metrics, sequence_metrics
from benchmark.eval.tae import move_depth, relative_difference, temporal_alignment_error

ROOT = Path(__file__).resolve().parents[1]
NAMES = (
    "abs_relative_difference",
    "squared_relative_difference",
    "rmse_linear",
    "rmse_log",
    "log10",
    "delta1_acc",
    "delta2_acc",
    "delta3_acc",
    "i_rmse",
    "silog_rmse",
)
K = np.array([[20.0, 0, 11.5], [0, 20.0, 8.5], [0, 0, 1]])


@pytest.fixture
def clip() -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Predicted and true depth (T, H, W) in metres, and a mask under which either may be 0."""
    rng = np.random.default_rng(0)
    truth = rng.uniform(0.5, 8, (4, 18, 24))
    predicted = truth * rng.uniform(0.6, 1.6, truth.shape)
    mask = rng.random(truth.shape) < 0.7
    truth[~mask] = 0
    predicted[~mask & (rng.random(truth.shape) < 0.5)] = 0
    return torch.from_numpy(predicted), torch.from_numpy(truth), torch.from_numpy(mask)


def test_metrics_are_those_of_the_benchmark(clip: tuple[torch.Tensor, ...]) -> None:
    predicted, truth, mask = clip
    frames = zip(predicted.numpy(), truth.numpy(), mask.numpy())
    expected = sequence_metrics(frame_metrics(*frame) for frame in frames)
    for name in NAMES:
        assert getattr(metric, name)(predicted, truth, mask).item() == pytest.approx(expected[name], rel=1e-9), name


def test_a_training_program_measures_its_clip(clip: tuple[torch.Tensor, ...]) -> None:
    """Frames without ground truth are left out by the caller, and results go on as tensors."""
    predicted, truth, mask = clip
    mask[1] = False
    valid = mask.sum((-1, -2)) > 0
    pred_depth, gt_depth, valid_mask = predicted[valid].float(), truth[valid].float(), mask[valid]
    total = 0.0
    for measured in (
        abs_relative_difference(pred_depth, gt_depth, valid_mask),
        delta1_acc(pred_depth, gt_depth, valid_mask),
    ):
        assert measured.shape == () and 0 < measured.item() < 1
        total += measured.item()
    assert threshold_percentage(pred_depth, gt_depth, 1e9, valid_mask).item() == 1


def test_metrics_without_a_mask_and_their_gradients() -> None:
    predicted, truth = torch.tensor([[[1.0, 2.0]]], requires_grad=True), torch.tensor([[[2.0, 2.0]]])
    assert metric.abs_relative_difference(predicted, truth).item() == 0.25
    assert metric.log10(predicted, truth).item() == pytest.approx(np.log10(2) / 2)
    metric.rmse_log(predicted, truth, torch.tensor([[[True, False]]])).backward()
    assert torch.isfinite(predicted.grad).all()  # type: ignore[arg-type]


def poses() -> list[np.ndarray[Any, Any]]:
    """Cameras that move ahead and turn a little."""
    found = []
    for step in range(4):
        angle, pose = 0.04 * step, np.eye(4)
        pose[:3, :3] = [[np.cos(angle), 0, np.sin(angle)], [0, 1, 0], [-np.sin(angle), 0, np.cos(angle)]]
        pose[:3, 3] = (0.1 * step, 0, 0.2 * step)
        found.append(pose)
    return found


@pytest.mark.parametrize("as_tensors", [True, False])
def test_terms_of_tae_add_up_to_that_of_the_benchmark(as_tensors: bool) -> None:
    rng = np.random.default_rng(1)
    depths, cameras = list(rng.uniform(1, 6, (4, 18, 24))), poses()
    total = 0.0
    for one, two in ((0, 1), (1, 2), (2, 3)):
        relative = np.linalg.inv(cameras[two]) @ cameras[one]
        for source, target, move in ((one, two, relative), (two, one, np.linalg.inv(relative))):
            motion = torch.from_numpy(move) if as_tensors else move
            depth1, depth2 = torch.from_numpy(depths[source]), torch.from_numpy(depths[target])
            mask = torch.ones_like(depth2) > 0
            total += tae_torch(depth1, depth2, motion[:3, :3], motion[:3, 3], K, mask).item()
    expected = temporal_alignment_error(depths, cameras, K).error
    assert 100 * total / 6 == pytest.approx(expected, rel=1e-9)


def test_a_term_of_tae_counts_what_the_mask_lets_through() -> None:
    rng = np.random.default_rng(2)
    depth1, depth2 = rng.uniform(1, 6, (2, 18, 24))
    move = np.linalg.inv(poses()[1])
    mask = rng.random((18, 24)) < 0.5
    found = tae_torch(*map(torch.from_numpy, (depth1, depth2, move[:3, :3], move[:3, 3], K, mask)))
    expected = relative_difference(np.where(mask, move_depth(depth1, (K, K), move), 0), depth2)
    assert found.item() == pytest.approx(expected, rel=1e-9)
    away = torch.tensor([1e6, 0.0, 0.0])
    assert tae_torch(torch.ones(18, 24), torch.ones(18, 24), torch.eye(3), away, K, torch.ones(18, 24) > 0).item() == 0


def test_depth_becomes_disparity() -> None:
    disparity, known = depth2disparity(np.array([[0.0, 2.0], [4.0, -1.0]], np.float32), return_mask=True)
    assert disparity.tolist() == [[0, 0.5], [0.25, 0]] and known.tolist() == [[False, True], [True, False]]
    assert depth2disparity(np.array([2.0])).tolist() == [0.5]


def test_names_are_found_from_the_folder_of_the_scripts(tmp_path: Path) -> None:
    """Some programs put the folder itself on the path."""
    code = f"import sys; sys.path.append({str(ROOT / 'benchmark' / 'eval')!r}); from eval_tae import tae_torch; "
    code += "from metric import *; print(delta1_acc.__name__, tae_torch.__name__)"
    result = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=True)
    assert result.stdout.split() == ["delta1_acc", "tae_torch"]
