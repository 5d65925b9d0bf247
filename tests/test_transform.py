"""The size rule and the network's input."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from recipes import assert_close, golden_arrays, golden_json, synthetic_frames

from video_depth_anything.transform import adjusted_input_size, network_size, preprocess, preprocess_tensor


def test_sizes_match_golden() -> None:
    cases = golden_json("preprocess_sizes")
    assert len(cases) == 120
    for case in cases:
        height, width, input_size = case["frame_h"], case["frame_w"], case["input_size"]
        assert adjusted_input_size(height, width, input_size) == case["adjusted_input_size"], case
        assert network_size(height, width, input_size) == (case["net_h"], case["net_w"]), case


def test_preprocessed_frame_matches_golden() -> None:
    golden = golden_arrays("utils")
    height, width = golden["frame"].shape[:2]
    tensor = preprocess(golden["frame"], network_size(height, width, 56))
    assert tensor.dtype == np.float32
    assert_close(tensor, golden["preprocessed"], 2e-6)


@pytest.mark.parametrize("size", [(28, 42), (56, 70), (98, 126), (48, 64)])
def test_resizing_on_a_device_is_opencvs(size: tuple[int, int]) -> None:
    frames = synthetic_frames(2, 48, 64, seed=3)
    found = preprocess_tensor(torch.from_numpy(frames), size).numpy()
    assert found.flags.c_contiguous
    np.testing.assert_allclose(found, np.stack([preprocess(frame, size) for frame in frames]), atol=1e-5)


def test_a_frame_of_the_right_size_is_only_normalised() -> None:
    frame = synthetic_frames(1, 28, 42, seed=0)[0]
    back = preprocess(frame, (28, 42)).transpose(1, 2, 0) * [0.229, 0.224, 0.225] + [0.485, 0.456, 0.406]
    np.testing.assert_allclose(back * 255, frame, atol=1e-3)


@given(st.integers(1, 8000), st.integers(1, 8000), st.integers(1, 1200))
def test_sizes_are_positive_multiples_of_the_patch(height: int, width: int, input_size: int) -> None:
    target = adjusted_input_size(height, width, input_size)
    for side in network_size(height, width, input_size):
        assert side % 14 == 0
        assert side >= target


def test_impossible_sizes() -> None:
    with pytest.raises(ValueError, match="all must be positive"):
        network_size(0, 10, 518)
