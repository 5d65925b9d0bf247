"""What is counted and measured for a GPU, checked on a CPU: memory against the allocator's own, tables, idle time."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from recipes import synthetic_frames
from test_speed_benchmarks import ROOT, run, tables
from torch.profiler import ProfilerActivity, profile

from benchmark.speed.live_bytes import offline_peak, streaming_peak
from benchmark.speed.profile_device import profiled, union_seconds
from video_depth_anything import DepthStream, Execution, VideoDepthAnything, infer_depth

CPU = torch.device("cpu")


def allocator_peak(work: Callable[[], object], trace: Path) -> float:
    """Most MiB that PyTorch's CPU allocator has given out during some work, as its own profiler says."""
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as recorded:
        work()
    recorded.export_chrome_trace(str(trace))
    events = [event["args"] for event in json.loads(trace.read_text())["traceEvents"] if event["name"] == "[memory]"]
    return max(event["Total Allocated"] for event in events if event["Device Type"] == 0) / 2**20


def test_counted_memory_is_what_the_allocator_gives_out(golden_model: VideoDepthAnything, tmp_path: Path) -> None:
    execution = Execution(CPU, None, 2)
    frames = synthetic_frames(32, 48, 64, seed=1)
    weights = sum(x.nbytes for x in golden_model.state_dict().values()) / 2**20

    def stream() -> None:
        depth_stream = DepthStream(golden_model, 56, execution)
        for frame in frames[:3]:
            depth_stream.step(frame)

    measured = allocator_peak(lambda: list(infer_depth(golden_model, frames, 56, execution)), tmp_path / "offline.json")
    assert offline_peak("vits", 56, (48, 64), execution) - weights == pytest.approx(measured, rel=0.1)
    measured = allocator_peak(stream, tmp_path / "stream.json")
    assert streaming_peak("vits", 56, (48, 64), execution) - weights == pytest.approx(measured, rel=0.1)


def test_memory_table() -> None:
    flags = ("--encoders", "vits", "--input_sizes", "28", "--size", "64x48", "--frames_at_once", "4")
    (rows,) = tables(run("memory_table", *flags))
    assert [row["precision"] for row in rows] == ["fp16", "fp32"]
    half, exact = ({title: float(row[title]) for title in ("offline, 4 at once", "streaming")} for row in rows)
    for title in half:
        assert 111 < exact[title] < 130  # the weights of vits take 110.9 MiB
        assert 55.5 < half[title] < 65  # nearly all of them are cast before they go to the device


def test_gpu_tables() -> None:
    flags = ("--device", "cpu", "--precision", "fp32", "--encoders", "vits", "--input_sizes", "28", "--size", "64x48")
    result = run("gpu", *flags, "--windows", "1", "--stream_frames", "2", "--warm_up", "2", "--side", "64")
    kernels, rows = tables(result)
    assert [row["way"] for row in rows] == ["offline", "streaming"]
    assert kernels[-1]["kernel"] == "linear 64x64x64"
    for row in rows:
        assert 0 < float(row["ms a frame"]) < 10_000
        assert 0 <= float(row["host share"]) < 1
        assert 100 < float(row["peak, MiB"]) < 4000
        assert 0 <= float(row["of the roofline"]) < 1
        assert float(row["launches a frame"]) > 50
    assert "Left out" not in result.stdout


def test_gpu_tables_end_in_time() -> None:
    flags = ("--device", "cpu", "--precision", "fp32", "--encoders", "vits", "--input_sizes", "28", "--size", "64x48")
    result = run("gpu", *flags, "--side", "64", "--seconds", "0.001")
    assert tables(result)[1] == []
    assert "Left out, since 0.001 s were over: vits at 28." in result.stdout


def test_busy_time_counts_what_runs_side_by_side_once() -> None:
    assert union_seconds([(0, 2e6), (1e6, 3e6), (5e6, 6e6), (5.2e6, 5.4e6)]) == pytest.approx(4)
    assert union_seconds([]) == 0
    a = torch.randn(300, 300)
    found = profiled(lambda: [a @ a for _ in range(5)], CPU)
    assert found.launches == 5
    assert 0 < found.busy < 5


@pytest.mark.skipif(torch.cuda.is_available(), reason="here is a GPU")
def test_without_a_gpu_the_script_says_so_in_one_line() -> None:
    script = ["bash", str(ROOT / "benchmark" / "speed" / "gpu.sh")]
    result = subprocess.run(script, capture_output=True, text=True, check=False, timeout=120)
    assert result.returncode == 2
    (line,) = result.stderr.splitlines()
    assert "sees no NVIDIA GPU" in line or "lacks" in line


@pytest.mark.skipif(torch.cuda.is_available(), reason="here is a GPU")
def test_skipped_tests_fail_where_a_gpu_is_required() -> None:
    test = "tests/test_cuda.py::test_copies_to_the_host"
    command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "--require-cuda", test]
    result = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, timeout=200)
    assert result.returncode == 1
    assert "no NVIDIA GPU is here; --require-cuda lets nothing be skipped" in result.stdout
