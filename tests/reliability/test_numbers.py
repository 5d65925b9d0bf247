"""Depth that is no number is never written without a word."""

from __future__ import annotations

import zipfile
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from conftest import MakeVideo
from runs import SMALL, Result, left, run, shown
from torch import Tensor

LAST = "head.scratch.output_conv2.2"


@pytest.fixture
def weights(checkpoint: Path) -> dict[str, Tensor]:
    return torch.load(checkpoint, weights_only=True)


def given(weights: dict[str, Tensor], clip: Path, folder: Path, command: str = "run") -> Result:
    """A run with these weights."""
    path = folder / "weights.pth"
    torch.save(weights, path)
    return run(command, clip, "--checkpoint", path, "--save", "vis", "npz", *SMALL, folder=folder)


@pytest.mark.parametrize(
    ("value", "said"),
    [
        (float("nan"), "not finite"),
        (float("inf"), "not finite"),
        (torch.int8, "holds int8"),
        ("meta", "holds no values"),
    ],
)
def test_weights_that_are_no_numbers(
    weights: dict[str, Tensor], make_video: MakeVideo, tmp_path: Path, value: object, said: str
) -> None:
    key = "pretrained.blocks.3.mlp.fc1.weight"
    if isinstance(value, float):
        weights[key][7, 7] = value
    else:
        weights[key] = weights[key].to(value)  # type: ignore[call-overload]
    result = given(weights, make_video(), tmp_path)
    assert result.code == 2
    assert len(result.lines) == 1
    assert said in result.lines[0]
    assert "weights.pth" in result.lines[0]
    assert not (tmp_path / "outputs").exists()


def test_a_flipped_byte_in_the_weights(weights: dict[str, Tensor], make_video: MakeVideo, tmp_path: Path) -> None:
    path = tmp_path / "weights.pth"
    torch.save(weights, path)
    with zipfile.ZipFile(path) as archive:
        largest = max(archive.infolist(), key=lambda entry: entry.file_size)
    data = bytearray(path.read_bytes())
    data[largest.header_offset + largest.file_size // 2] ^= 0x40
    path.write_bytes(data)
    result = run("run", make_video(), "--checkpoint", path, *SMALL, folder=tmp_path)
    assert result.code == 2
    assert "weights.pth cannot be read: damaged" in result.lines[0]
    assert not (tmp_path / "outputs").exists()


@pytest.mark.parametrize("command", ["run", "stream"])
def test_finite_weights_that_make_frames_without_depth(
    weights: dict[str, Tensor], make_video: MakeVideo, tmp_path: Path, command: str
) -> None:
    weights["pretrained.norm.weight"] *= 1e38
    result = given(weights, make_video(), tmp_path, command)
    assert result.code == 1
    assert "no pixel has a finite depth" in result.lines[-1]
    assert shown(tmp_path / "outputs") == set()
    assert left(tmp_path / "outputs") == set()


@pytest.mark.parametrize("command", ["run", "stream"])
def test_some_pixels_without_depth_are_said_once(
    weights: dict[str, Tensor], make_video: MakeVideo, tmp_path: Path, command: str
) -> None:
    clip = make_video(count=12)
    usual = given(weights, clip, tmp_path, command)
    assert usual.code == 0
    with np.load(tmp_path / "outputs" / "clip_depths.npz") as archive:
        high = float(np.quantile(archive["depths"], 0.9))
    # The last layer is linear: a tenth of the pixels overflows.
    factor = torch.finfo(torch.float32).max / high
    for part in ("weight", "bias"):
        weights[f"{LAST}.{part}"] *= factor
    result = given(weights, clip, tmp_path, command)
    assert result.code == 0
    told = [line for line in result.lines if "NaN or infinite depth" in line]
    assert len(told) == 1
    assert "frame" in told[0]
    with np.load(tmp_path / "outputs" / "clip_depths.npz") as archive:
        finite = np.isfinite(archive["depths"])
    assert 0.5 < finite.mean() < 1
    assert finite.any(axis=(1, 2)).all()


def test_frames_that_go_wrong_late_end_only_their_input(weights: dict[str, Tensor], tmp_path: Path) -> None:
    """With such weights a gray frame has the depth that it had, and a red one overflows within the network.

    A convolution is scaled up and the one that follows it down: what lies between, before a ReLU, reaches 3.77 on gray
    and 4.62 on red with these weights as they were.
    """
    unit, factor = "head.scratch.refinenet3.resConfUnit2", torch.finfo(torch.float32).max / 4.15
    for part in ("weight", "bias"):
        weights[f"{unit}.conv1.{part}"] *= factor
    weights[f"{unit}.conv2.weight"] /= factor
    torch.save(weights, tmp_path / "weights.pth")
    gray, red = np.full((48, 64, 3), (104, 116, 124), np.uint8), np.full((48, 64, 3), (0, 0, 255), np.uint8)
    for name, images in (("late", [gray, gray, gray, red]), ("well", [gray, gray])):
        (tmp_path / name).mkdir()
        for index, image in enumerate(images):
            cv2.imwrite(str(tmp_path / name / f"{index}.png"), image)
    flags = ("--checkpoint", tmp_path / "weights.pth", "--save", "npz", "exr", *SMALL)
    result = run("stream", "late", "well", *flags, folder=tmp_path)
    assert result.code == 1
    assert "error: frame 3: no pixel has a finite depth; try --precision fp32" in result.err
    assert "error: 1 of 2 inputs failed:" in result.err
    assert shown(tmp_path / "outputs") == {"late_depths_exr", "well_depths_exr", "well_depths.npz"}
    assert len(list((tmp_path / "outputs" / "late_depths_exr").iterdir())) == 3
    assert "the run failed; the frames done so far are kept in outputs/late_depths_exr" in result.err
