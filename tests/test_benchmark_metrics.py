"""Benchmark metrics against the recorded evaluation of the original, and against scenes whose answer is known."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from recipes import golden_arrays, golden_json

from benchmark.datasets import TAE_SETS, Crop
from benchmark.eval.eval import eval_depthcrafter, get_gt
from benchmark.eval.eval_tae import eval_TAE
from benchmark.eval.evaluation import evaluate_scene, evaluate_scene_tae
from benchmark.eval.metrics import (
    SequenceFit,
    align_depth,
    evaluate_sequence,
    frame_metrics,
    sequence_metrics,
    valid_mask,
)
from benchmark.eval.sequence import PredictionSource, Sequence
from benchmark.eval.tae import crop_intrinsics, move_depth, temporal_alignment_error
from benchmark.index import Frame, Scene, prediction_path

GOLDEN = golden_json("evaluation")
ARRAYS = golden_arrays("evaluation")
ARGS = GOLDEN["sequence"]["args"]
TOP, BOTTOM, LEFT, RIGHT = ARGS["crop"]
MAX_DEPTH = ARGS["max_depth_eval"]
Array = npt.NDArray[Any]


def truth() -> Array:
    return (ARRAYS["gt_uint16"] / ARGS["factor"])[:, TOP:BOTTOM, LEFT:RIGHT]


def half_size_predictions() -> Array:
    height, width = truth().shape[1:]
    return np.stack([cv2.resize(p, (width, height), interpolation=cv2.INTER_LINEAR) for p in ARRAYS["pred_half"]])


def aligned(predictions: Array) -> Array:
    _, fit = evaluate_sequence(predictions, truth(), MAX_DEPTH)
    return align_depth(predictions, fit, MAX_DEPTH)


def test_frame_metrics_are_the_golden_ones() -> None:
    depth, ground_truth, valid = ARRAYS["metric_pred"], ARRAYS["metric_gt"], ARRAYS["metric_valid"]
    found = sequence_metrics(map(frame_metrics, depth, ground_truth, valid))
    assert set(found) == set(GOLDEN["frame_metrics"])
    for name, value in GOLDEN["frame_metrics"].items():
        # The deltas were averaged in float32.
        assert found[name] == pytest.approx(value, rel=2e-7 if name.startswith("delta") else 1e-12), name


def test_sequence_is_the_golden_one() -> None:
    length = ARGS["max_eval_len"]
    found, _ = evaluate_sequence(half_size_predictions()[:length], truth()[:length], MAX_DEPTH)
    for name, value in GOLDEN["sequence"]["result"].items():
        assert found[name] == pytest.approx(value, rel=5e-8), name


@pytest.mark.parametrize("key", ["tae", "tae_hard_crop"])
def test_tae_is_the_golden_one(key: str) -> None:
    cropped = ARRAYS["pred_full"][:, TOP:BOTTOM, LEFT:RIGHT]
    depths = aligned(cropped if key == "tae_hard_crop" else half_size_predictions())
    found = temporal_alignment_error(depths, ARRAYS["poses"], ARRAYS["K"])
    assert found.error == pytest.approx(GOLDEN[key]["result"], rel=5e-8)
    assert (found.terms, found.skipped) == (16, 0)


def golden_sequence(folder: Path, predictions: Array, source: PredictionSource) -> Sequence:
    """The recorded sequence as files: 16-bit ground truth, predictions, an index."""
    frames = []
    for k, (truth16, prediction) in enumerate(zip(ARRAYS["gt_uint16"], predictions)):
        assert cv2.imwrite(str(folder / f"{k}.png"), truth16)
        path = prediction_path(source.infer_path, "golden", f"{k}.png")
        path.parent.mkdir(parents=True, exist_ok=True)
        np.save(path, prediction)
        pose = ARRAYS["poses"][k].tolist()
        frames.append(Frame(f"{k}.png", f"{k}.png", ARGS["factor"], ARRAYS["K"].tolist(), pose))
    crop = Crop(TOP, BOTTOM, LEFT, RIGHT)
    return Sequence(Scene("golden", tuple(frames)), folder, "golden", crop, source)


def test_files_give_the_golden_sequence(tmp_path: Path) -> None:
    half = golden_sequence(tmp_path, ARRAYS["pred_half"][: ARGS["max_eval_len"]], PredictionSource(tmp_path / "half"))
    result = evaluate_scene(half, MAX_DEPTH, "scale_shift", lambda: None)
    for name, value in GOLDEN["sequence"]["result"].items():
        assert result.metrics[name] == pytest.approx(value, rel=5e-8), name


def test_the_originals_function_gives_the_golden_sequence(tmp_path: Path) -> None:
    """Called as a program of its own calls it; a prediction that is missing is left out."""
    half = golden_sequence(tmp_path, ARRAYS["pred_half"], PredictionSource(tmp_path / "half"))
    truths = [str(tmp_path / frame.gt_depth) for frame in half.frames]
    predictions = [str(prediction_path(tmp_path / "half", "golden", frame.image)) for frame in half.frames]
    crop = {"a": TOP, "b": BOTTOM, "c": LEFT, "d": RIGHT}
    args = SimpleNamespace(max_eval_len=ARGS["max_eval_len"], max_depth_eval=MAX_DEPTH, **crop)
    found = eval_depthcrafter([*predictions, "none.npy"], [*truths, "none.png"], [ARGS["factor"]] * 20, args)
    golden = GOLDEN["sequence"]["result"]
    expected = [golden[name] for name in ("abs_relative_difference", "rmse_linear", "delta1_acc")]
    assert found == pytest.approx(expected, rel=5e-8)
    assert get_gt(truths[0], ARGS["factor"], None).shape == ARRAYS["gt_uint16"].shape[1:]


@pytest.mark.parametrize("key", ["tae", "tae_hard_crop"])
def test_files_give_the_golden_tae(tmp_path: Path, key: str) -> None:
    hard_crop = key == "tae_hard_crop"
    source = PredictionSource(tmp_path / key, hard_crop=hard_crop)
    sequence = golden_sequence(tmp_path, ARRAYS["pred_full" if hard_crop else "pred_half"], source)
    entry = replace(TAE_SETS["scannet"], max_depth=MAX_DEPTH, crop=Crop(TOP, BOTTOM, LEFT, RIGHT))
    result = evaluate_scene_tae(sequence, entry, "scale_shift", source.protocol, lambda: None)
    assert result.metrics["tae"] == pytest.approx(GOLDEN[key]["result"], rel=5e-8)
    # And by the original's function; a prediction that is missing is left out.
    predictions = [str(prediction_path(source.infer_path, "golden", frame.image)) for frame in sequence.frames]
    truths = [str(tmp_path / frame.gt_depth) for frame in sequence.frames]
    cameras, poses = ([ARRAYS["K"]] * 10, [*ARRAYS["poses"], ARRAYS["poses"][0]])
    args = SimpleNamespace(a=TOP, b=BOTTOM, c=LEFT, d=RIGHT, max_depth_eval=MAX_DEPTH, hard_crop=hard_crop, mask=False)
    found = eval_TAE([*predictions, "none.npy"], [*truths, "none.png"], [ARGS["factor"]] * 10, [], cameras, poses, args)
    assert found == pytest.approx(GOLDEN[key]["result"], rel=5e-8)


def test_corrected_protocol_differs_on_cropped_images() -> None:
    depths = aligned(half_size_predictions())
    camera = crop_intrinsics(ARRAYS["K"], TOP, LEFT)
    assert camera[0, 2] == ARRAYS["K"][0, 2] - LEFT and camera[1, 2] == ARRAYS["K"][1, 2] - TOP
    found = temporal_alignment_error(depths, ARRAYS["poses"], camera, "corrected")
    assert math.isfinite(found.error) and abs(found.error - GOLDEN["tae"]["result"]) > 0.01


@settings(max_examples=30, deadline=None)
@given(scale=st.floats(0.05, 20), shift=st.floats(-0.05, 5), seed=st.integers(0, 2**16))
def test_scale_and_shift_of_a_perfect_prediction_are_found(scale: float, shift: float, seed: int) -> None:
    depth = np.random.default_rng(seed).uniform(0.5, 7, (3, 6, 8))
    predicted = (1 / depth) / scale + max(shift, -0.06 / scale)
    found, _ = evaluate_sequence(predicted, depth, MAX_DEPTH)
    assert found["abs_relative_difference"] < 1e-7 and found["delta1_acc"] == 1


def test_alignments_fit_what_they_say() -> None:
    depth = np.random.default_rng(0).uniform(0.5, 7, (2, 6, 8))
    for alignment, factor, error in (("scale", 3.0, 0), ("median", 3.0, 0), ("none", 1.0, 0), ("none", 0.5, 1)):
        found, fit = evaluate_sequence(factor / depth, depth, 100, alignment)  # type: ignore[arg-type]
        assert found["abs_relative_difference"] == pytest.approx(error, abs=1e-6)
        assert fit.shift == 0
    with pytest.raises(ValueError, match="unknown alignment 'plane'"):
        SequenceFit("plane")  # type: ignore[arg-type]


def test_constant_prediction_becomes_the_mean_disparity() -> None:
    depth = np.random.default_rng(0).uniform(1, 5, (2, 6, 8))
    found, fit = evaluate_sequence(np.full(depth.shape, 0.37), depth, 10)
    assert fit == pytest.approx((0, np.mean(1 / depth)))
    assert math.isfinite(found["silog_rmse"])


def test_what_cannot_be_measured_is_an_error() -> None:
    depth = np.ones((2, 4, 4))
    with pytest.raises(ValueError, match="no valid ground truth"):
        evaluate_sequence(depth, depth * 0, 10)
    with pytest.raises(ValueError, match="1 predictions for 2 frames"):
        evaluate_sequence(depth[:1], depth, 10)
    with pytest.raises(ValueError, match="not finite"):
        evaluate_sequence(depth * np.nan, depth, 10)
    with pytest.raises(ValueError, match="no frame"):
        sequence_metrics([None])


def test_frames_without_ground_truth_are_left_out() -> None:
    depth = np.random.default_rng(0).uniform(1, 5, (3, 6, 8))
    with_hole = depth.copy()
    with_hole[1] = 0
    assert not valid_mask(with_hole[1], 10).any()
    prediction = 1 / depth + 0.01 * np.sin(np.arange(8))
    found, _ = evaluate_sequence(prediction, with_hole, 10)
    kept, _ = evaluate_sequence(prediction[::2], depth[::2], 10)
    assert found == pytest.approx(kept)


K = np.array([[10.0, 0, 7.5], [0, 10.0, 5.5], [0, 0, 1]])


def forward(metres: float) -> Array:
    pose = np.eye(4)
    pose[2, 3] = metres
    return pose


def test_a_wall_ahead_has_no_error_and_the_camera_may_come_back() -> None:
    poses = [forward(z) for z in (0, 0.5, 1, 0.2)]
    depths = [np.full((12, 16), 4 - pose[2, 3]) for pose in poses]
    for protocol in ("paper", "corrected"):
        assert temporal_alignment_error(depths, poses, K, protocol).error < 1e-9


def test_nearest_wins_only_in_the_corrected_protocol() -> None:
    depth = np.full((12, 16), 5.0)
    depth[2, 3] = 1.0
    # Sideways by one metre, the near point lands on a far one that comes later in row-major order.
    pose = np.eye(4)
    pose[0, 3] = 0.9
    row, column = 2, 12
    assert move_depth(depth, (K, K), pose, "paper")[row, column] == 5
    assert move_depth(depth, (K, K), pose, "corrected")[row, column] == 1


def test_points_behind_the_camera_hide_nothing_when_corrected() -> None:
    depth = np.full((12, 16), 3.0)
    depth[6:] = 0.5
    moved = move_depth(depth, (K, K), forward(-1), "paper")
    assert (moved < 0).any()
    corrected = move_depth(depth, (K, K), forward(-1), "corrected")
    assert (corrected >= 0).all() and (corrected > 0).sum() > (moved > 0).sum()


def test_lost_poses_are_left_out_and_counted() -> None:
    poses = [forward(0.0), np.full((4, 4), -np.inf), forward(0.0), forward(0.0)]
    depths = [np.full((12, 16), metres) for metres in (1.0, 1.0, 1.0, 2.0)]
    # Half a metre off by two metres, one by one; as published, the four skipped terms count as right.
    assert temporal_alignment_error(depths, poses, K, "paper") == (pytest.approx(100 * 1.5 / 6), 2, 4)
    assert temporal_alignment_error(depths, poses, K, "corrected") == (pytest.approx(100 * 1.5 / 2), 2, 4)
    with pytest.raises(ValueError, match="2 depth maps for 4 poses"):
        temporal_alignment_error([np.ones((12, 16))] * 2, poses, K)
    with pytest.raises(ValueError, match="more depth maps"):
        temporal_alignment_error([np.ones((12, 16))] * 5, poses, K)
    with pytest.raises(ValueError, match="unknown protocol"):
        temporal_alignment_error([], [], K, "both")  # type: ignore[arg-type]
