"""The benchmark from extracted sets to results, through the command line: predictions, metrics, TAE, and mistakes."""

from __future__ import annotations

import importlib.metadata
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from benchmark_miniatures import (
    INDICES,
    SCANNET_SCENE,
    all_indices,
    index_path,
    result_of,
    run_script,
)

from benchmark.datasets import EVALUATION_SETS, TAE_SETS
from benchmark.index import prediction_path, scenes_of
from benchmark.infer import predictions
from benchmark.infer.predictions import provenance_path

MODEL = ("--encoder", "vits", "--input_size", "28", "--device", "cpu", "--backend", "torch")


def infer(*arguments: str | Path) -> Any:
    return run_script("infer/infer.py", *MODEL, *arguments)


@pytest.fixture(scope="session")
def predicted(extracted_sets: Path, checkpoint: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Predictions with the golden weights for all miniatures, in one run of one model."""
    out = tmp_path_factory.mktemp("predicted")
    result = infer("--infer_path", out, "--checkpoint", checkpoint, "--json_file", *all_indices(extracted_sets))
    assert result.returncode == 0, result.stderr
    return out


def test_every_set_from_predictions_to_results(predicted: Path, extracted_sets: Path, tmp_path: Path) -> None:
    paths = ("--infer_path", predicted, "--benchmark_path", extracted_sets, "--out", tmp_path)
    result = run_script("eval/eval.py", *paths, "--per_scene", "--datasets", *INDICES)
    assert result.returncode == 0, result.stderr
    for name, dataset in INDICES.items():
        found = result_of(tmp_path, name)
        scenes = scenes_of(index_path(extracted_sets, name), dataset)
        assert (found["scenes"], found["frames"], found["missing_predictions"]) == (1, len(scenes[0].frames), 0)
        assert found["settings"] == {
            "protocol": "paper",
            "alignment": "scale_shift",
            "prediction": "disparity",
            "index": EVALUATION_SETS[name].index,
        }
        assert len(found["prediction"]["checkpoint_sha256"]) == 64 and found["prediction"]["encoder"] == "vits"
        assert found["prediction"]["precision"] == "float32"
        assert set(found["versions"]) == {"python", "torch", "numpy", "opencv"}
        # Random weights see nothing, but the best fit of anything is no disaster.
        assert 0.01 < found["metrics"]["abs_relative_difference"] < 3 and 0 < found["metrics"]["delta1_acc"] < 1
        assert found["per_scene"][scenes[0].name]["abs_relative_difference"] > 0
        text = (tmp_path / f"results_{name}.md").read_text()
        assert "| AbsRel |" in text and "protocol: paper" in text and found["prediction"]["checkpoint_sha256"] in text
    assert result.stdout.count(SCANNET_SCENE) == 1
    assert "VDA-L [table7]" in result.stdout and "0.079" in result.stdout
    taes = run_script("eval/eval_tae.py", *paths, "--datasets", *TAE_SETS)
    assert taes.returncode == 0, taes.stderr
    for name in TAE_SETS:
        assert result_of(tmp_path, f"{name}_tae")["metrics"]["tae"] > 1
    # Frames 10 and 11 of the miniature's twelve count, in both directions.
    assert result_of(tmp_path, "scannet_tae")["metrics"]["pairs"] == 2
    assert "0.570" in taes.stdout


def test_any_package_of_opencv_will_do(monkeypatch: pytest.MonkeyPatch) -> None:
    """`pip install .` brings opencv-python-headless, whose metadata has another name."""
    known = importlib.metadata.version

    def version(name: str) -> str:
        if name.startswith("opencv"):
            raise importlib.metadata.PackageNotFoundError(name)
        return known(name)

    monkeypatch.setattr(predictions, "version", version)
    assert predictions.versions()["opencv"] == cv2.__version__


def test_predictions_show_the_whole_image_frame_by_frame(predicted: Path, extracted_sets: Path) -> None:
    for index in all_indices(extracted_sets):
        dataset = index.parent.name
        (scene,) = scenes_of(index, dataset)
        for frame in scene.frames:
            image = cv2.imread(str(index.parent / frame.image))
            prediction = np.load(prediction_path(predicted, dataset, frame.image))
            assert image is not None and prediction.shape == image.shape[:2] and prediction.dtype == np.float32
            assert prediction.std() > 0
    assert not list(predicted.rglob(".partial_*"))


def test_streaming_and_resume(predicted: Path, extracted_sets: Path, checkpoint: Path, tmp_path: Path) -> None:
    def paths(folder: Path, name: str) -> list[Path]:
        (scene,) = scenes_of(index_path(extracted_sets, name), name)
        return [prediction_path(folder, name, frame.image) for frame in scene.frames]

    command: list[str | Path] = ["--infer_path", tmp_path, "--checkpoint", checkpoint, "--streaming", "--json_file"]
    command += [index_path(extracted_sets, "bonn"), index_path(extracted_sets, "scannet")]
    assert infer(*command).returncode == 0
    note = json.loads((tmp_path / "bonn" / "inference_bonn_video.json").read_text())
    assert note["settings"]["streaming"] is True
    streamed = [np.load(path) for path in paths(tmp_path, "bonn")]
    assert not np.allclose(streamed[2], np.load(paths(predicted, "bonn")[2]), rtol=1e-3)
    # What is finished stays; a scene with a hole is predicted again.
    for name in ("bonn", "scannet"):
        os.utime(paths(tmp_path, name)[0], (1, 1))
    paths(tmp_path, "bonn")[1].unlink()
    assert infer(*command, "--resume").returncode == 0
    assert paths(tmp_path, "scannet")[0].stat().st_mtime == 1 < paths(tmp_path, "bonn")[0].stat().st_mtime
    assert np.array_equal(np.load(paths(tmp_path, "bonn")[1]), streamed[1])
    other = infer(*command, "--resume", "--input_size", "42")
    assert other.returncode == 2 and "other settings (input_size)" in other.stderr


@pytest.mark.parametrize(
    ("script", "flag", "message"),
    [
        ("infer/infer.py", "--json_file", "index file"),
        ("infer/infer.py", "--checkpoint", "checkpoint"),
        ("infer/infer.py", "--datasets", "no scenes of absent"),
        ("eval/eval.py", "--infer_path", "the folder that infer.py wrote to"),
        ("eval/eval.py", "--benchmark_path", "not found; dataset_extract_*.py writes it"),
        ("eval/eval_tae.py", "--datasets", "kitti comes without camera poses"),
    ],
)
def test_wrong_paths_end_in_one_line(
    predicted: Path, extracted_sets: Path, tmp_path: Path, script: str, flag: str, message: str
) -> None:
    given: dict[str, str | Path] = {"--infer_path": predicted}
    if script == "infer/infer.py":
        given |= {"--json_file": index_path(extracted_sets, "bonn"), "--encoder": "vits"}
    else:
        given |= {"--benchmark_path": extracted_sets, "--datasets": "sintel"}
    given[flag] = {"eval/eval_tae.py": "kitti", "infer/infer.py": "absent"}.get(script, tmp_path / "absent")
    result = run_script(script, *(part for pair in given.items() for part in pair))
    assert result.returncode == 2 and result.stderr.count("\n") == 1
    assert message in result.stderr


@pytest.mark.slow
def test_scenes_are_shared_out_by_torchrun(
    predicted: Path, extracted_sets: Path, checkpoint: Path, tmp_path: Path
) -> None:
    """Each rank predicts some; predictions are those of one process."""
    names = ("sintel", "nyuv2_500", "rgbd")
    script = Path(__file__).resolve().parents[1] / "benchmark" / "infer" / "infer.py"
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", str(script)]
    command += [*MODEL, "--infer_path", str(tmp_path), "--checkpoint", str(checkpoint), "--json_file"]
    command += [str(index_path(extracted_sets, name)) for name in names]
    result = subprocess.run(command, capture_output=True, text=True, check=False, timeout=200)
    assert result.returncode == 0, result.stderr
    for name in names:
        index, dataset = index_path(extracted_sets, name), INDICES[name]
        scenes = scenes_of(index, dataset)
        assert provenance_path(tmp_path, dataset, index).is_file()
        for frame in (frame for scene in scenes for frame in scene.frames):
            depth, expected = (np.load(prediction_path(p, dataset, frame.image)) for p in (tmp_path, predicted))
            # torchrun gives each process one thread, which rounds otherwise.
            np.testing.assert_allclose(depth, expected, atol=1e-3 * float(np.ptp(expected)))
