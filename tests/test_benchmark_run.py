"""The benchmark from extracted sets to results, through the command line: predictions, metrics, TAE, and mistakes."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from benchmark_miniatures import BONN_SCENE, NYUV2_SCENE, SCANNET_SCENE, run_script

from benchmark.datasets import EVALUATION_SETS, TAE_SETS
from benchmark.eval.sequence import PredictionSource, Sequence
from benchmark.index import prediction_path, scenes_of
from benchmark.infer.predictions import Provenance, SceneWriter, image_folders, provenance_path, read_provenance
from video_depth_anything.errors import OutputError

# One index for each dataset, and the TAE's where it has images of its own.
INDICES = {
    "sintel": "sintel",
    "kitti": "kitti",
    "bonn": "bonn",
    "scannet": "scannet",
    "nyuv2_500": "nyuv2",
    "rgbd": "rgbd",
}
MODEL = ("--encoder", "vits", "--input_size", "28", "--device", "cpu", "--backend", "torch", "--fp32")


def index_path(extracted: Path, evaluation: str) -> Path:
    entry = EVALUATION_SETS[evaluation]
    return extracted / entry.dataset / entry.index


def all_indices(extracted: Path) -> list[Path]:
    tae = TAE_SETS["scannet"]
    return [*(index_path(extracted, name) for name in INDICES), extracted / tae.dataset / tae.index]


def infer(*arguments: str | Path) -> Any:
    return run_script("infer/infer.py", *MODEL, *arguments)


@pytest.fixture(scope="session")
def predicted(extracted_sets: Path, checkpoint: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Predictions with the golden weights for all miniatures, in one run of one model."""
    out = tmp_path_factory.mktemp("predicted")
    result = infer("--infer_path", out, "--checkpoint", checkpoint, "--json_file", *all_indices(extracted_sets))
    assert result.returncode == 0, result.stderr
    return out


@pytest.fixture(scope="session")
def perfect(extracted_sets: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Ground truth as predictions: disparity, of the part that the images show."""
    out = tmp_path_factory.mktemp("perfect")
    for index in all_indices(extracted_sets):
        dataset = index.parent.name
        crop = np.s_[:, :] if index.name.endswith("_tae.json") else _image_crop(dataset)
        for scene in scenes_of(index, dataset):
            for frame in scene.frames:
                depth = cv2.imread(str(index.parent / frame.gt_depth), cv2.IMREAD_UNCHANGED)
                assert depth is not None
                metres = depth[crop].astype(np.float64) / frame.factor
                path = prediction_path(out, dataset, frame.image)
                path.parent.mkdir(parents=True, exist_ok=True)
                np.save(path, np.divide(1, metres, out=np.zeros_like(metres), where=metres > 0).astype(np.float32))
    return out


def _image_crop(dataset: str) -> tuple[slice, slice]:
    crops = {"scannet": np.s_[8:-8, 11:-11], "nyuv2": np.s_[45:471, 41:601]}
    return crops.get(dataset, np.s_[:, :])


def result_of(folder: Path, name: str) -> Any:
    return json.loads((folder / f"results_{name}.json").read_text())


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
        assert set(found["versions"]) == {"python", "torch", "numpy", "opencv-python"}
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


def test_streaming_and_resume(predicted: Path, extracted_sets: Path, checkpoint: Path, tmp_path: Path) -> None:
    def paths(folder: Path, name: str) -> list[Path]:
        (scene,) = scenes_of(index_path(extracted_sets, name), name)
        return [prediction_path(folder, name, frame.image) for frame in scene.frames]

    command: list[str | Path] = ["--infer_path", tmp_path, "--checkpoint", checkpoint, "--streaming", "--json_file"]
    command += [index_path(extracted_sets, "bonn"), index_path(extracted_sets, "scannet")]
    assert infer(*command).returncode == 0
    note = json.loads((tmp_path / "bonn" / "inference_bonn_video.json").read_text())
    assert note["settings"]["streaming"] is True and note["scenes"] == [BONN_SCENE]
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


def test_predictions_of_two_index_files_are_not_mixed(predicted: Path, extracted_sets: Path) -> None:
    index = index_path(extracted_sets, "scannet_500")
    before = sorted(predicted.rglob("*.json"))
    provenance = Provenance(index.name, {}, image_folders(scenes_of(index, "scannet")))
    with pytest.raises(OutputError, match=r"for scannet_video\.json, which would be mixed .* choose another"):
        SceneWriter(predicted, "scannet", index, provenance, resume=False)
    assert sorted(predicted.rglob("*.json")) == before


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
    """Each rank predicts some; the list of finished scenes has them all, and predictions are those of one process."""
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
        found = read_provenance(provenance_path(tmp_path, dataset, index))
        assert found is not None and found.scenes == sorted(scene.name for scene in scenes)
        for frame in (frame for scene in scenes for frame in scene.frames):
            depth, expected = (np.load(prediction_path(p, dataset, frame.image)) for p in (tmp_path, predicted))
            # torchrun gives each process one thread, which rounds otherwise.
            np.testing.assert_allclose(depth, expected, atol=1e-3 * float(np.ptp(expected)))
