"""The window schedule."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from recipes import golden_json, num_windows, window_schedule

from video_depth_anything.windows import (
    INFER_LEN,
    KEYFRAMES,
    OVERLAP,
    STEP,
    frames_of_window,
    window_matters,
)


def test_schedule_matches_golden() -> None:
    golden = golden_json("window_schedule")
    assert [frames_of_window(index) for index in range(4)] == window_schedule(4 * STEP) == golden
    assert window_schedule(3 * STEP + 1) == golden


@pytest.mark.parametrize(("frames", "windows"), [(1, 1), (22, 1), (23, 2), (44, 2), (45, 3), (95, 5)])
def test_number_of_windows(frames: int, windows: int) -> None:
    assert num_windows(frames) == windows == len(window_schedule(frames))


@given(st.integers(1, 3000))
def test_schedule_properties(frames: int) -> None:
    schedule = [frames_of_window(index) for index in range(num_windows(frames))]
    assert schedule == window_schedule(frames)
    assert {len(window) for window in schedule} == {INFER_LEN}
    assert set(range(frames)) <= {frame for window in schedule for frame in window}
    for index, window in enumerate(schedule[1:], start=1):
        assert window[0] == 0
        assert window[:OVERLAP] == [schedule[index - 1][slot] for slot in KEYFRAMES]
        assert window[2:] == list(range(STEP * index + 2, STEP * index + INFER_LEN))


@given(st.integers(1, 3000))
def test_windows_left_out_reach_no_frame(frames: int) -> None:
    for index in range(1, num_windows(frames)):
        # Slot 2 fades in with weight zero, slot 3 is the first to count.
        assert window_matters(index, frames) == (window_schedule(frames)[index][3] < frames)
    assert not window_matters(num_windows(frames), frames)
