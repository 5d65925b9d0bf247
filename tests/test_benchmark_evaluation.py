"""Evaluation of predictions whose errors are known, through the command line; missing and damaged predictions."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from benchmark_miniatures import INDICES, NYUV2_SCENE, ROOT, index_path, result_of, run_script, true_disparity

from benchmark.datasets import TAE_SETS
from benchmark.eval.sequence import PredictionSource, Sequence
from benchmark.index import prediction_path, scenes_of
from benchmark.infer.predictions import SceneWriter, predictions_place


def test_ground_truth_is_right_about_itself(perfect: Path, extracted_sets: Path, tmp_path: Path) -> None:
    paths = ("--infer_path", perfect, "--benchmark_path", extracted_sets, "--out", tmp_path)
    result = run_script("eval/eval.py", *paths, "--datasets", *INDICES)
    assert result.returncode == 0, result.stderr
    for name in INDICES:
        found = result_of(tmp_path, name)
        metrics = found["metrics"]
        assert metrics["abs_relative_difference"] < 1e-5 and metrics["rmse_linear"] < 1e-4, name
        assert metrics["delta1_acc"] == 1 and metrics["flicker"] < 1e-3, name
        # Where every second column has no depth there may be no boundary to find.
        assert metrics["boundary_f1"] == pytest.approx(1, abs=0.01) or (
            name == "kitti" and metrics["boundary_f1"] is None
        ), name
        assert found["prediction"] is None
    arguments = ("--start_idx", "1", "--protocol", "corrected")
    result = run_script("eval/eval_tae.py", *paths, "--datasets", *TAE_SETS, *arguments)
    assert result.returncode == 0, result.stderr
    for name in TAE_SETS:
        found = result_of(tmp_path, f"{name}_tae_corrected")
        # What is left is rounding to pixels, of which this image has few.
        assert found["metrics"]["tae"] < 1.5 and found["metrics"]["pairs"] == 20, name


def test_larger_uncropped_predictions_show_the_same_part_when_corrected(extracted_sets: Path, tmp_path: Path) -> None:
    entry = TAE_SETS["scannet"]
    root = extracted_sets / "scannet"
    (scene,) = scenes_of(root / entry.index, "scannet")
    # Disparity that tells the column, of twice the depth's size: 11 columns are half as much of it.
    columns = np.broadcast_to((np.arange(160) + 0.5) / 160, (128, 160)).astype(np.float32)
    for frame in scene.frames:
        path = prediction_path(tmp_path, "scannet", frame.image)
        path.parent.mkdir(parents=True, exist_ok=True)
        np.save(path, columns)
    wanted = ((np.arange(80) + 0.5) / 80)[11:-11]
    for protocol, error in (("corrected", 0.0), ("paper", 5.5 / 80)):
        source = PredictionSource(tmp_path, hard_crop=True, protocol=protocol)  # type: ignore[arg-type]
        truth, disparity = Sequence(scene, root, "scannet", entry.crop, source).pair(0)
        assert truth.shape == disparity.shape == (48, 58)
        assert np.abs(disparity - wanted).max() == pytest.approx(error, abs=1e-4 if not error else 0.01)


def copied(source: Path, target: Path, dataset: str) -> Path:
    shutil.copytree(source / dataset, target / dataset)
    return target


def test_missing_predictions_are_an_error_or_counted(perfect: Path, extracted_sets: Path, tmp_path: Path) -> None:
    mine = copied(perfect, tmp_path / "mine", "nyuv2")
    (mine / "nyuv2" / NYUV2_SCENE / "rgb" / "3.npy").unlink()
    command = ("eval/eval.py", "--infer_path", mine, "--benchmark_path", extracted_sets, "--datasets", "nyuv2_500")
    result = run_script(*map(str, command))
    assert result.returncode == 2 and result.stderr.count("\n") == 1
    assert "1 of 12 predictions are missing" in result.stderr and "3.npy" in result.stderr
    assert not list(mine.glob("results*"))
    result = run_script(*map(str, command), "--allow_missing", "--per_scene")
    assert result.returncode == 0 and "MISSING 1 predictions, 0 whole scenes" in result.stdout
    found = result_of(mine, "nyuv2_500")
    assert (found["frames"], found["missing_predictions"]) == (11, 1)
    assert found["per_scene"][NYUV2_SCENE]["missing_predictions"] == 1


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"no array", "not a .npy file"),
        (np.full((64, 80), np.nan), "not finite"),
        (np.ones((64, 80, 3)), "must hold (H, W) numbers"),
    ],
)
def test_damaged_predictions_are_named(
    perfect: Path, extracted_sets: Path, tmp_path: Path, content: Any, message: str
) -> None:
    mine = copied(perfect, tmp_path / "mine", "sintel")
    (path, *_) = sorted((mine / "sintel").rglob("*.npy"))
    if isinstance(content, bytes):
        path.write_bytes(content)
    else:
        np.save(path, content)
    result = run_script(
        "eval/eval.py", "--infer_path", mine, "--benchmark_path", extracted_sets, "--datasets", "sintel"
    )
    assert result.returncode == 2
    assert message in result.stderr and path.name in result.stderr and "Traceback" not in result.stderr


def test_metric_predictions_are_measured_as_they_are(perfect: Path, extracted_sets: Path, tmp_path: Path) -> None:
    mine = copied(perfect, tmp_path / "mine", "sintel")
    for path in (mine / "sintel").rglob("*.npy"):
        np.save(path, 1.1 / np.load(path))  # metres, ten percent too far
    common = ("--infer_path", mine, "--benchmark_path", extracted_sets, "--datasets", "sintel", "--prediction", "depth")
    for alignment, error in (("none", 0.1), ("median", 0.0), ("scale", 0.0)):
        result = run_script("eval/eval.py", *common, "--alignment", alignment)
        assert result.returncode == 0, result.stderr
        found = result_of(mine, f"sintel_{alignment}")
        assert found["metrics"]["abs_relative_difference"] == pytest.approx(error, abs=1e-5)
        assert found["settings"]["prediction"] == "depth"


def test_predictions_of_two_index_files_lie_side_by_side(extracted_sets: Path, tmp_path: Path) -> None:
    """One folder of predictions serves them all; each evaluation finds its own."""
    index, other = (index_path(extracted_sets, name) for name in ("scannet", "scannet_500"))
    for path, factor in ((index, 1.0), (other, 2.0), (index, 1.0)):
        (scene,) = scenes_of(path, "scannet")
        writer = SceneWriter(tmp_path, "scannet", path, [scene], {}, resume=False)
        # The second one is half as far, which shows without a fit.
        depths = (factor * true_disparity(path, frame) for frame in scene.frames)
        assert len(list(writer.write(scene, depths))) == len(scene.frames)
    assert predictions_place(tmp_path, "scannet", index) == "scannet"
    assert predictions_place(tmp_path, "scannet", other) == "scannet_video_500"
    for script in ("eval.sh", "eval_500.sh"):
        command = ["sh", str(ROOT / "benchmark" / "eval" / script), str(tmp_path), str(extracted_sets)]
        command += ["--datasets", "scannet" if script == "eval.sh" else "scannet_500", "--alignment", "none"]
        result = subprocess.run(command, env=os.environ | {"PYTHON": sys.executable}, capture_output=True, text=True)
        assert result.returncode == 0, result.stderr
    assert result_of(tmp_path, "scannet_none")["metrics"]["abs_relative_difference"] < 1e-5
    assert result_of(tmp_path, "scannet_500_none")["metrics"]["abs_relative_difference"] == pytest.approx(0.5, abs=1e-5)


def test_results_are_also_lines_of_text(perfect: Path, extracted_sets: Path, tmp_path: Path) -> None:
    common = ("--infer_path", perfect, "--benchmark_path", extracted_sets, "--out", tmp_path)
    for script, name in (("eval", "nyuv2_500"), ("eval", "sintel"), ("eval_tae", "scannet")):
        result = run_script(f"eval/{script}.py", *common, "--datasets", name)
        assert result.returncode == 0 and str(tmp_path / "results.txt") in result.stdout
    lines = (tmp_path / "results.txt").read_text().splitlines()
    dashes = "-" * 50
    assert lines[0] == f"<{dashes} nyuv2 start {dashes}>" and lines[-1] == f"<{dashes} scannet finish {dashes}>"
    values = [line.split(": ") for line in lines if not line.startswith("<")]
    names = ["abs_relative_difference", "rmse_linear", "delta1_acc"]
    assert [name for name, _ in values] == [*names, *names, "scannet"]
    assert values[2] == ["delta1_acc", "1.000000"]
    assert float(values[-1][1]) == result_of(tmp_path, "scannet_tae")["metrics"]["tae"]
