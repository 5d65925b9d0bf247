"""Comparison of systems, and what all scripts of the benchmark have in common."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
from benchmark_miniatures import ROOT, SCENES, run_script
from test_imports import HEAVY

from benchmark.datasets import EVALUATION_SETS
from benchmark.eval.boundaries import boundary_f1
from benchmark.eval.flicker import flicker
from benchmark.eval.metrics import ALIGNMENTS
from benchmark.eval.results import COLUMNS, published
from benchmark.eval.session import prediction_kind
from benchmark.eval.tae import PROTOCOLS
from benchmark.flags import ALIGNMENTS as NAMED_ALIGNMENTS
from benchmark.flags import PROTOCOLS as NAMED_PROTOCOLS
from benchmark.index import prediction_path, scenes_of
from utils.dc_utils import read_video_frames

SCRIPTS = sorted(
    path
    for path in (ROOT / "benchmark").rglob("*.py")
    if "__main__" in path.read_text() and path.parent.name != "speed"
)


@pytest.fixture(scope="session")
def two_systems(extracted_sets: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The rgbd miniature's ground truth as one system, and as another that trembles and lacks its last frame."""
    folders = {name: tmp_path_factory.mktemp(name) for name in ("good", "bad")}
    index = extracted_sets / "rgbd" / "rgbd_video.json"
    (scene,) = scenes_of(index, "rgbd")
    for k, frame in enumerate(scene.frames):
        depth = cv2.imread(str(index.parent / frame.gt_depth), cv2.IMREAD_UNCHANGED)
        assert depth is not None
        disparity = (frame.factor / depth).astype(np.float32)
        for name, folder in folders.items():
            path = prediction_path(folder, "rgbd", frame.image)
            path.parent.mkdir(parents=True, exist_ok=True)
            if name == "good":
                np.save(path, disparity)
            elif k < len(scene.frames) - 1:
                np.save(path, disparity * (1 + 0.8 * (k % 2)) + 0.1)
    return folders


def test_table_curves_and_grid(two_systems: dict[str, Path], extracted_sets: Path, tmp_path: Path) -> None:
    named = [f"{name}={folder}" for name, folder in two_systems.items()]
    command: list[str | Path] = ["--benchmark_path", extracted_sets, "--dataset", "rgbd", "--out", tmp_path]
    command += ["--predictions", *named]
    incomplete = run_script("compare.py", *command)
    assert incomplete.returncode == 2 and "1 of 12 predictions are missing" in incomplete.stderr
    result = run_script("compare.py", *command, "--allow_missing", "--tile_height", "48")
    assert result.returncode == 0, result.stderr
    good, bad = (line.split() for line in result.stdout.splitlines()[1:])
    assert good[:3] == ["good", "*0.000", "*1.000"] and good[-1] == "0"
    assert bad[0] == "bad" and float(bad[1]) > 0.03 and bad[-1] == "1"
    assert "| good | \\*0.000 |" in (tmp_path / "rgbd.md").read_text()
    curves = cv2.imread(str(tmp_path / f"{SCENES['rgbd']}_curves.png"))
    assert curves is not None and curves.shape[0] > 400 and curves.std() > 10
    frames, _ = read_video_frames(tmp_path / f"{SCENES['rgbd']}_grid.mp4")
    # Two rows of two tiles, each with a line for its name; the last frame of one system is gray.
    assert frames.shape == (12, 2 * (48 + 22), 2 * 60, 3)
    truth, right, wrong = frames[0, 22:70, 60:], frames[0, 92:, :60], frames[-1, 92:, 60:]
    assert np.abs(truth.astype(int) - right).mean() < 6 and truth.std() > 20
    assert np.abs(wrong.astype(int) - 60).mean() < 6


def test_mistakes_are_said(two_systems: dict[str, Path], extracted_sets: Path, tmp_path: Path) -> None:
    folder = two_systems["good"]
    command: list[str | Path] = ["--benchmark_path", extracted_sets, "--dataset", "rgbd", "--out", tmp_path]
    command += ["--predictions", folder]
    absent = run_script("compare.py", *command, "--scenes", "attic")
    assert absent.returncode == 2 and "has no scenes attic" in absent.stderr
    twice = run_script("compare.py", *command, folder)
    assert twice.returncode == 2 and "two are named" in twice.stderr


def test_boundaries_are_right_where_depth_jumps_alike() -> None:
    truth = np.ones((8, 8))
    truth[:, 4:] = 1.3
    valid = np.ones((8, 8), dtype=bool)
    assert boundary_f1(truth * 7, truth, valid) == 1
    assert boundary_f1(1 / truth, truth, valid) == 0  # the jump goes the other way
    assert boundary_f1(np.ones((8, 8)), truth, valid) == 0
    shifted = np.roll(truth, 1, axis=1)
    shifted[:, 0] = 1
    assert boundary_f1(shifted, truth, valid) == 0
    both = np.maximum(truth, shifted.T)
    assert 0.4 < (boundary_f1(both, truth, valid) or 0) < 0.9
    assert boundary_f1(truth, np.ones((8, 8)), valid) is None
    valid[:, 4] = False
    assert boundary_f1(truth, truth, valid) is None


def test_flicker_is_the_change_that_the_scene_does_not_have() -> None:
    valid = np.ones((4, 4), dtype=bool)
    q = np.full((4, 4), 0.5)
    assert flicker((q, q * 1.02), (q, q * 1.02), valid) == pytest.approx(0)
    assert flicker((q, q * 1.02), (q, q), valid) == pytest.approx(2)
    moved = q.copy()
    moved[0] = 0.9  # something came into sight: not steady, whatever is predicted there
    assert flicker((q, q), (q, moved), valid) == pytest.approx(0)
    assert flicker((q, q), (q, q * 2), valid) is None


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.stem)
def test_help_is_quick_and_says_it_all(script: Path) -> None:
    code = f"""
import runpy, sys
sys.argv = ['script', '--help']
try:
    runpy.run_path({str(script)!r}, run_name='__main__')
except SystemExit as end:
    assert end.code == 0
sys.exit(', '.join(sorted({HEAVY!r} & set(sys.modules))) or 0)
"""
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr
    assert "--" in result.stdout and not result.stderr


@pytest.mark.parametrize("script", ["eval.sh", "eval_500.sh", "eval_tae.sh"])
def test_shell_scripts_take_predictions_and_benchmark(script: str, tmp_path: Path) -> None:
    path = ROOT / "benchmark" / "eval" / script
    alone = subprocess.run(["sh", str(path)], capture_output=True, text=True, check=False)
    assert alone.returncode == 2 and "usage:" in alone.stderr
    recorder = tmp_path / "python"
    recorder.write_text('#!/bin/sh\nfor part in "$@"; do echo "$part"; done\n')
    recorder.chmod(0o755)
    command = ["sh", str(path), "my predictions", "data", "--per_scene"]
    result = subprocess.run(command, capture_output=True, text=True, check=True, env={"PYTHON": str(recorder)})
    parts = result.stdout.splitlines()
    assert Path(parts[0]).name == ("eval_tae.py" if script == "eval_tae.sh" else "eval.py") and Path(parts[0]).is_file()
    assert parts[1:5] == ["--infer_path", "my predictions", "--benchmark_path", "data"] and parts[-1] == "--per_scene"


def test_readme_describes_every_flag_and_file() -> None:
    text = (ROOT / "docs" / "lab" / "benchmark.md").read_text()
    for script in SCRIPTS:
        assert script.name in text or script.name.startswith("dataset_extract_"), script.name
        shown = subprocess.run([sys.executable, str(script), "--help"], capture_output=True, text=True, check=True)
        flags = {word.strip(",[]") for word in shown.stdout.split() if word.strip("[").startswith("--")} - {"--help"}
        for flag in flags:
            if not flag.startswith("--no-"):
                assert f"`{flag}" in text or f" {flag} " in text, f"{flag} of {script.name}"
    assert json.loads((ROOT / "benchmark" / "published.json").read_text())["latency"]


def test_what_predictions_are_is_noted_or_said() -> None:
    assert [prediction_kind("auto", note) for note in (None, {"metric": False}, {"metric": True})] == [
        "disparity",
        "disparity",
        "depth",
    ]
    assert prediction_kind("disparity", {"metric": True}) == "disparity" and prediction_kind("depth", None) == "depth"


def test_names_of_options_are_those_of_the_modules() -> None:
    assert NAMED_ALIGNMENTS == ALIGNMENTS and NAMED_PROTOCOLS == PROTOCOLS


def test_published_numbers_are_filed_under_sets_that_exist() -> None:
    names = (*EVALUATION_SETS, "scannet_tae")
    rows = [row for alignment in ALIGNMENTS for name in names for row in published(name, alignment)]
    assert len(rows) == 70
    assert {key for row in rows for key in row} <= {"evaluation", "method", "source", "alignment", "from", *COLUMNS}
    best = [row["delta1_acc"] for row in published("scannet_500", "scale_shift") if row["method"] == "VDA-L"]
    assert best == [0.926]
