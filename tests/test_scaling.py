"""The simulation of several devices: its limits are those of the resources, and it names the one that binds."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import asdict, replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmark.speed.simulation import Times, simulate

ROOT = Path(__file__).resolve().parents[1]
# A window takes a second; all else is next to nothing.
FREE = Times(1.0, 1e-6, 1e-6, 1e-6, 1e-6, 1e-6, 4.0, 1e12, 1e12)
positive = st.floats(1e-4, 1.0)


def test_devices_share_the_windows() -> None:
    assert simulate(22 * 64, 1, FREE).seconds == pytest.approx(64, rel=1e-3)
    for ranks in (2, 4, 16, 64):
        found = simulate(22 * 64, ranks, FREE)
        assert found.seconds == pytest.approx(64 / ranks, rel=0.01, abs=0.2)
        assert found.bottleneck == "inference"
    # Three windows keep three devices busy, whatever there is.
    assert simulate(60, 50, FREE).seconds == pytest.approx(1, abs=0.2)
    assert simulate(60, 50, FREE).bottleneck == "too few windows"


@pytest.mark.parametrize(
    ("change", "name", "seconds"),
    [
        ({"write": 0.5}, "outputs of rank 0", 250),
        ({"finish": 0.5}, "outputs of rank 0", 250),
        ({"join": 0.5}, "alignment on rank 0", 250),
        ({"read": 0.05}, "reading the video", 550),
        ({"disk": 128 / 0.25}, "disk of the spool", 250),
        ({"link": 128 / 0.5}, "link of rank 0", 250),
    ],
)
def test_the_bottleneck_is_named(change: dict[str, float], name: str, seconds: float) -> None:
    """500 windows over 50 devices: ten seconds of inference each, and one resource that is slower."""
    found = simulate(500 * 22, 50, replace(FREE, **change))
    assert found.bottleneck == name
    assert found.bounds[name] == pytest.approx(seconds, rel=1e-4)
    assert seconds <= found.seconds < seconds + 25


@settings(deadline=None, max_examples=60)
@given(st.integers(1, 5000), st.integers(1, 64), st.tuples(*[positive] * 6), st.floats(1e2, 1e9))
def test_nothing_is_faster_than_its_slowest_part(
    frames: int, ranks: int, times: tuple[float, ...], rate: float
) -> None:
    window, encode, read, join, write, finish = times
    found = simulate(frames, ranks, Times(window, encode, read / 22, join, write, finish, 4.0, rate, rate))
    # Reading ends before the last frame where the video ends inside a window.
    slack = 22 * read / 22
    assert found.seconds >= 0.999 * max(found.bounds.values()) - slack


def test_no_frames() -> None:
    with pytest.raises(ValueError, match="0 frames over 1 ranks"):
        simulate(0, 1, FREE)


def test_the_script_takes_given_times(tmp_path: Path) -> None:
    path = tmp_path / "times.json"
    path.write_text(json.dumps(asdict(FREE)))
    command = [
        sys.executable,
        "benchmark/speed/scaling.py",
        "--times",
        str(path),
        "--frames",
        "22000",
        "--link",
        "1e12",
    ]
    result = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    rows = [line.strip("| ").split(" | ") for line in result.stdout.splitlines() if line.startswith("| ")]
    assert [row[0] for row in rows] == ["devices", "1", "2", "4", "8", "16", "32", "64"]
    assert [row[4] for row in rows[1:]] == ["inference"] * 7
    gains = [float(row[2]) for row in rows[1:]]
    assert gains == sorted(gains) and gains[-1] > 50
