"""Frame rates and the choice of frames."""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from video_depth_anything.video.frame import Frame
from video_depth_anything.video.timing import as_rate, choose_frames, parse_target_fps, played_rate

IMAGE = np.zeros((1, 1, 3), dtype=np.uint8)


def frames_at(fps: float, count: int) -> Iterator[Frame]:
    return (Frame(IMAGE, i / fps, 1 / fps, number=i) for i in range(count))


def chosen(fps: float, count: int, target: str | float) -> list[int]:
    kept = choose_frames(frames_at(fps, count), fps, parse_target_fps(target))
    return [frame.number for frame in kept if frame.number is not None]


@pytest.mark.parametrize(
    ("rounded", "exact"),
    [
        (29.97, "30000/1001"),
        (23.98, "24000/1001"),
        (23.976023976, "24000/1001"),
        (59.94, "60000/1001"),
        (24.0, "24"),
        (12.5, "25/2"),
        (0.5, "1/2"),
        (10.1, "101/10"),
    ],
)
def test_rounded_rates_are_recognised(rounded: float, exact: str) -> None:
    assert as_rate(rounded) == Fraction(exact)


@pytest.mark.parametrize("bad", [0.0, -3.0, float("inf"), float("nan")])
def test_impossible_rates(bad: float) -> None:
    with pytest.raises(ValueError, match="not a positive number"):
        as_rate(bad)


def test_all_frames() -> None:
    assert chosen(30, 10, -1) == list(range(10))
    assert chosen(30, 10, 60) == list(range(10))
    assert chosen(30000 / 1001, 300, "29.97") == list(range(300))


def test_whole_ratios_keep_every_nth() -> None:
    assert chosen(30, 30, 10) == list(range(0, 30, 3))
    assert chosen(60, 60, 30) == list(range(0, 60, 2))
    assert chosen(60000 / 1001, 600, "30000/1001") == list(range(0, 600, 2))


def test_other_ratios_keep_the_duration() -> None:
    assert chosen(30, 6, 20) == [0, 2, 3, 5]
    assert len(chosen(24, 240, 10)) == 100
    assert len(chosen(25, 250, "24000/1001")) == 240


def test_a_pause_is_not_filled() -> None:
    times = [0.0, 0.1, 0.2, 1.0, 1.1, 1.2, 1.3]
    kept = list(choose_frames((Frame(IMAGE, t, 0.1) for t in times), 10, Fraction(5)))
    assert [frame.time for frame in kept] == [0.0, 0.2, 1.0, 1.2]
    np.testing.assert_allclose([frame.duration for frame in kept], [0.2, 0.8, 0.2, 0.2])


@given(st.floats(1, 120), st.integers(1, 400), st.floats(0.5, 130))
def test_what_is_kept_plays_as_long_as_what_was_read(fps: float, count: int, target: float) -> None:
    rate = as_rate(target)
    kept = list(choose_frames(frames_at(fps, count), fps, rate))
    assert kept[-1].end - kept[0].time == pytest.approx(count / fps)
    indices = [frame.number for frame in kept if frame.number is not None]
    assert indices[0] == 0
    assert indices == sorted(set(indices))
    if rate < fps * (1 - 2e-4):
        np.testing.assert_allclose([frame.time for frame in kept], np.arange(len(kept)) / float(rate), atol=1e-9)
        error = abs(len(indices) / float(rate) - count / fps) * float(rate)
        assert error <= 0.56 or len(indices) == 1  # the nearest frame may be 0.55 of a source's frame away


@given(st.sampled_from([24.0, 25.0, 30.0, 30000 / 1001, 60.0]), st.integers(1, 60))
def test_times_in_single_precision_give_the_same_choice(fps: float, target: int) -> None:
    """decord gives them so, OpenCV does not."""
    single = [Frame(IMAGE, float(np.float32(i / fps)), 1 / fps, number=i) for i in range(200)]
    kept = choose_frames(iter(single), fps, Fraction(target))
    assert [frame.number for frame in kept] == chosen(fps, 200, target)


def test_a_time_span() -> None:
    def times(start: float, end: float | None) -> list[float]:
        return [frame.time for frame in choose_frames(frames_at(10, 100), 10, start=start, end=end)]

    np.testing.assert_allclose(times(2.0, 3.0), np.arange(10) / 10, atol=1e-9)
    assert times(9.95, None) == []
    assert len(times(0, None)) == 100


def test_the_rate_of_what_played() -> None:
    for nominal, rate in ((2, 2), (Fraction(9, 4), Fraction(9, 4)), (10, 2)):  # 1.33 seconds: within half a frame
        assert played_rate(Fraction(nominal), 3, 1.5) == rate
    assert played_rate(Fraction(24), 0, 0.0) == 24


def test_rates_of_damaged_headers_fit_into_containers() -> None:
    for fps in (1.43e-6, 1e-12, 4e-4, 123.456789, 1e9 / 3):
        rate = as_rate(fps)
        assert 0 < rate.numerator < 2**31 and rate.denominator < 2**31
