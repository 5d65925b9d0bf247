"""Scale and shift, cross-fade, and the joining of windows."""

from __future__ import annotations

import logging

import numpy as np
import numpy.typing as npt
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from recipes import assert_close, golden_arrays, window_schedule
from torch import Tensor

from utils.util import compute_scale_and_shift, get_interpolate_frames
from video_depth_anything.alignment import WindowAligner, fit_maps


def test_fits_match_golden() -> None:
    golden = golden_arrays("utils")
    arrays = golden["prediction"], golden["target"], golden["mask"]
    np.testing.assert_allclose(compute_scale_and_shift(*arrays), golden["scale_shift"], rtol=2e-6)
    scale, shift = compute_scale_and_shift(*arrays, scale_only=True)
    np.testing.assert_allclose(scale, golden["scale_only"], rtol=2e-6)
    assert shift == 0


def test_constant_prediction_is_singular() -> None:
    golden = golden_arrays("utils")
    for value in (0.0, 0.1, 1 / 3, 7.7, 1e6):
        constant = np.full_like(golden["prediction"], value)
        fit = compute_scale_and_shift(constant, golden["target"], golden["mask"])
        assert fit == tuple(golden["constant_scale_shift"])
    nothing = np.zeros_like(golden["mask"])
    assert compute_scale_and_shift(golden["prediction"], golden["target"], nothing) == (1, 0)


def test_cross_fade_matches_golden() -> None:
    golden = golden_arrays("utils")
    faded = get_interpolate_frames(list(golden["pre"]), list(golden["post"]))
    assert_close(np.stack(faded), golden["interpolated"], 1e-6)
    with pytest.raises(ValueError, match="cannot cross-fade 8 frames with 7"):
        get_interpolate_frames(list(golden["pre"]), list(golden["post"][1:]))


@given(
    st.integers(0, 2**32 - 1),
    st.floats(0.01, 100),
    st.floats(-50, 50),
    st.integers(3, 40),
)
def test_fit_recovers_what_was_applied(seed: int, scale: float, shift: float, size: int) -> None:
    rng = np.random.default_rng(seed)
    prediction = rng.random((size, size))
    mask = rng.random((size, size)) > 0.2
    mask[:2, :2] = True
    found = compute_scale_and_shift(prediction, scale * prediction + shift, mask)
    np.testing.assert_allclose(found, (scale, shift), rtol=1e-6, atol=1e-6)


@given(st.integers(0, 2**32 - 1))
def test_fit_is_numpys_least_squares(seed: int) -> None:
    rng = np.random.default_rng(seed)
    prediction, target = rng.random((2, 9, 7))
    columns = np.stack([prediction.ravel(), np.ones(63)], axis=1)
    expected = np.linalg.lstsq(columns, target.ravel(), rcond=None)[0]
    found = compute_scale_and_shift(prediction, target, np.ones((9, 7)))
    np.testing.assert_allclose(found, expected, rtol=1e-8, atol=1e-10)


@pytest.mark.parametrize("size", [1, 9, 200])
def test_fit_on_a_device_is_the_hosts(size: int) -> None:
    rng = np.random.default_rng(size)
    prediction, target = rng.random((2, 2, size, size), np.float32)
    if size > 1:
        prediction[0, 0, 1], target[1, 2, 0] = np.nan, np.inf
    fit = fit_maps(torch.from_numpy(prediction), torch.from_numpy(target))
    finite = np.isfinite(prediction) & np.isfinite(target)
    assert fit is not None
    np.testing.assert_allclose(fit, compute_scale_and_shift(prediction, target, finite), rtol=1e-9)
    assert fit_maps(torch.full((2, 3, 3), 0.1), torch.rand(2, 3, 3)) is None


def windows_of(truth: npt.NDArray[np.float32], rng: np.random.Generator) -> list[npt.NDArray[np.float32]]:
    """What a network would predict that is right up to a scale and shift of its own in every window."""
    frames = len(truth)
    predicted = []
    for index, slots in enumerate(window_schedule(frames)):
        shown = truth[np.minimum(slots, frames - 1)]
        scale, shift = (1.0, 0.0) if index == 0 else (rng.uniform(0.3, 3), rng.uniform(-0.5, 0.5))
        predicted.append(((shown - shift) / scale).astype(np.float32))
    return predicted


@settings(max_examples=40, deadline=None)
@given(st.integers(1, 150), st.integers(0, 2**32 - 1))
def test_windows_of_any_scale_are_joined(frames: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    truth = (1 + rng.random((frames, 5, 6))).astype(np.float32)
    aligner = WindowAligner(metric=False)
    out: list[Tensor] = []
    for index, window in enumerate(windows_of(truth, rng)):
        shown = frames - 22 * index
        if shown > 3 or index == 0:
            out += aligner.add(torch.from_numpy(window[: min(shown, 32)]))
    out += aligner.finish()
    assert len(out) == frames
    np.testing.assert_allclose(torch.stack(out).numpy(), truth, rtol=2e-4)


def test_metric_windows_are_only_faded() -> None:
    first = np.full((32, 2, 2), 1.0, dtype=np.float32)
    second = np.full((32, 2, 2), 3.0, dtype=np.float32)
    aligner = WindowAligner(metric=True)
    out = aligner.add(torch.from_numpy(first)) + aligner.add(torch.from_numpy(second)) + aligner.finish()
    values = [float(frame[0, 0]) for frame in out]
    assert len(values) == 54
    np.testing.assert_allclose(values[:24], 1)
    np.testing.assert_allclose(values[24:32], 1 + 2 * np.arange(8) / 7, rtol=1e-6)
    np.testing.assert_allclose(values[32:], 3)


@pytest.mark.parametrize("fault", ["constant", "turned", "nan"])
def test_one_bad_window_does_not_poison_the_next(fault: str, caplog: pytest.LogCaptureFixture) -> None:
    rng = np.random.default_rng(1)
    truth = (1 + rng.random((98, 5, 6))).astype(np.float32)
    windows = windows_of(truth, rng)[:4]
    windows[1] = {
        "constant": np.full_like(windows[1], 0.7),
        "turned": 10 - windows[1],
        "nan": np.full_like(windows[1], np.nan),
    }[fault]
    aligner = WindowAligner(metric=False)
    with caplog.at_level(logging.WARNING):
        out = [frame for window in windows for frame in aligner.add(torch.from_numpy(window))] + aligner.finish()
    assert len(out) == 98
    assert len(caplog.records) == 1
    assert "could not be aligned" in caplog.text
    if fault != "nan":
        assert np.isfinite(torch.stack(out).numpy()).all()


def test_pixels_without_a_number_are_left_out() -> None:
    rng = np.random.default_rng(2)
    truth = (1 + rng.random((54, 5, 6))).astype(np.float32)
    windows = windows_of(truth, rng)[:2]
    windows[1][:, 2, 3] = np.inf
    aligner = WindowAligner(metric=False)
    first, second = (torch.from_numpy(window) for window in windows)
    out = torch.stack(aligner.add(first) + aligner.add(second) + aligner.finish()).numpy()
    out[:, 2, 3] = truth[:, 2, 3]
    np.testing.assert_allclose(out, truth, rtol=2e-4)
