"""Averages of checkpoints: right values, parts of two joined, and mistakes in one line."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from starter.average import main
from video_depth_anything.cli.console import run_script

ENCODER, HEAD = "pretrained.norm.weight", "head.scratch.weight"


@pytest.fixture
def files(tmp_path: Path) -> list[Path]:
    paths = [tmp_path / "a.pth", tmp_path / "b.pth"]
    for path, value in zip(paths, (1.0, 4.0)):
        torch.save({ENCODER: torch.full((3,), value), HEAD: torch.full((2, 2), 10 * value).half()}, path)
    return paths


def written(*words: object) -> dict[str, torch.Tensor]:
    assert main([str(word) for word in words]) == 0
    state: dict[str, torch.Tensor] = torch.load(str(words[-1]), weights_only=True)
    return state


def test_shares_need_not_sum_to_one(files: list[Path], tmp_path: Path) -> None:
    state = written(f"{files[0]}=2", f"{files[1]}=1", "--output", tmp_path / "new" / "c.pth")
    assert state[ENCODER].tolist() == [2, 2, 2]
    assert state[HEAD].tolist() == [[20, 20], [20, 20]]
    assert {x.dtype for x in state.values()} == {torch.float32}


def test_without_shares_all_count_alike(files: list[Path], tmp_path: Path) -> None:
    state = written(*files, "--half", "--output", tmp_path / "c.pth")
    assert state[ENCODER].tolist() == [2.5, 2.5, 2.5]
    assert {x.dtype for x in state.values()} == {torch.float16}


def test_encoder_of_another(files: list[Path], tmp_path: Path) -> None:
    state = written(files[0], "--encoder_of", files[1], "--output", tmp_path / "c.pth")
    assert (state[ENCODER][0], state[HEAD][0, 0]) == (4, 10)


@pytest.mark.usefixtures("files")
@pytest.mark.parametrize("words", [("a.pth=0", "b.pth=0"), ("a.pth", "other.pth"), ("a.pth", "none.pth")])
def test_mistakes_end_in_one_line(tmp_path: Path, words: tuple[str, str], capsys: pytest.CaptureFixture[str]) -> None:
    torch.save({ENCODER: torch.zeros(5)}, tmp_path / "other.pth")
    arguments = [*(str(tmp_path / word) for word in words), "--output", str(tmp_path / "c.pth")]
    assert run_script(lambda: main(arguments)) == 2
    assert len(capsys.readouterr().err.splitlines()) == 1
    assert not (tmp_path / "c.pth").exists()
