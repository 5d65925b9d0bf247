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
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.profiler import ProfilerActivity, profile

from benchmark.speed.counted import MIB, Counter, count_offline, count_streaming, count_work
from benchmark.speed.roofline import profiled, union_seconds
from video_depth_anything import DepthStream, Execution, VideoDepthAnything, infer_depth

CPU = torch.device("cpu")


def allocator_peak(work: Callable[[], object], trace: Path) -> float:
    """Most MiB that PyTorch's CPU allocator has given out during some work, as its own profiler says."""
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as recorded:
        work()
    recorded.export_chrome_trace(str(trace))
    events = [event["args"] for event in json.loads(trace.read_text())["traceEvents"] if event["name"] == "[memory]"]
    return max(event["Total Allocated"] for event in events if event["Device Type"] == 0) / 2**20


@pytest.mark.slow
def test_counted_memory_is_what_the_allocator_gives_out(golden_model: VideoDepthAnything, tmp_path: Path) -> None:
    execution = Execution(CPU, None, 2)
    frames = synthetic_frames(32, 48, 64, seed=1)
    weights = sum(x.nbytes for x in golden_model.state_dict().values()) / 2**20

    def stream() -> None:
        depth_stream = DepthStream(golden_model, 56, execution)
        for frame in frames[:3]:
            depth_stream.step(frame)

    measured = allocator_peak(lambda: list(infer_depth(golden_model, frames, 56, execution)), tmp_path / "offline.json")
    assert count_offline("vits", 56, (48, 64), execution).peak / MIB - weights == pytest.approx(measured, rel=0.1)
    measured = allocator_peak(stream, tmp_path / "stream.json")
    assert count_streaming("vits", 56, (48, 64), execution).peak / MIB - weights == pytest.approx(measured, rel=0.1)


@pytest.mark.slow
def test_table_of_what_is_counted() -> None:
    flags = ("--encoders", "vits", "--input_sizes", "28", "--size", "64x48", "--frames_at_once", "4")
    (rows,) = tables(run("counted", *flags))
    assert [(row["precision"], row["way"]) for row in rows] == [
        (precision, way) for precision in ("fp16", "fp32") for way in ("offline, 4 at once", "streaming")
    ]
    for half, exact in zip(rows[:2], rows[2:]):
        assert 111 < float(exact["peak, MiB"]) < 130  # the weights of vits take 110.9 MiB
        assert 55.5 < float(half["peak, MiB"]) < 65  # nearly all of them are cast before they go to the device
        assert float(half["GFLOP"]) == float(exact["GFLOP"])
    offline, streaming = ({title: float(row[title]) for title in ("GFLOP", "launches", "copies")} for row in rows[2:])
    work = count_work("vits", (28, 42))
    assert offline["GFLOP"] == pytest.approx(work.per_output_frame, abs=0.06)
    assert streaming["GFLOP"] == pytest.approx(work.per_streamed_frame, abs=0.06)
    assert streaming["launches"] > 2 * offline["launches"]  # nothing is shared by several frames


def test_launches_and_copies_are_those_of_the_operations() -> None:
    counter = Counter("cuda")
    with FakeTensorMode(), counter:
        a = torch.empty(4, 8).to("cuda")  # waits
        counter.share = 0.5
        b = (a.t().reshape(-1) + 1).view(4, 8)  # a copy into another layout, and a sum
        b.mul_(2)
        a.to("cpu", non_blocking=True)
        c = a @ b.t()
    assert (counter.copies, counter.waits, counter.launches) == (1.5, 1, 2)
    read_and_written = (128 + 128) + (128 + 128) + (128 + 128) + (128 + 128 + 64)
    assert counter.moved == read_and_written / 2 and counter.flops == 2 * 4 * 8 * 4 / 2
    assert counter.peak == 3 * 128 and c.shape == (4, 4)  # `a`, its copy and the sum


@pytest.mark.slow
def test_roofline() -> None:
    flags = ("--device", "cpu", "--variants", "torch:fp32", "--input_sizes", "28", "--size", "64x48")
    quick = ("--windows", "1", "--stream_frames", "2", "--warm_up", "2", "--side", "64", "--kernel_seconds", "0.001")
    result = run("roofline", *flags, *quick)
    kernels, ((work),), rows = tables(result)
    best = max(float(row["GFLOP/s"]) for row in kernels)
    assert 0 < float(work["of that, attention"]) < float(work["encoder, GFLOP"])
    assert [(row["variant"], row["way"]) for row in rows] == [("torch:fp32", "offline"), ("torch:fp32", "streaming")]
    for row in rows:
        assert 0 < float(row["ms a frame"]) < 10_000
        assert float(row["of the limit"]) == pytest.approx(float(row["GFLOP/s"]) / best, abs=0.01)
        assert row["peak, MiB"] == ""  # of a GPU
        assert 0 <= float(row["host share"]) < 1 and float(row["launches"]) > 50
    streamed = float(work["per streamed frame"]) / float(rows[1]["ms a frame"]) * 1000
    assert float(rows[1]["GFLOP/s"]) == pytest.approx(streamed, rel=0.02, abs=0.06)
    assert "Left out" not in result.stdout


@pytest.mark.slow
def test_roofline_ends_in_time() -> None:
    flags = ("--device", "cpu", "--variants", "torch:fp32", "--input_sizes", "28", "--size", "64x48", "--side", "64")
    result = run("roofline", *flags, "--kernel_seconds", "0.001", "--seconds", "0.001")
    assert tables(result)[2] == []
    assert "Left out, since 0.001 s were over: vits at 28 by torch:fp32." in result.stdout


def test_busy_time_counts_what_runs_side_by_side_once() -> None:
    assert union_seconds([(0, 2e6), (1e6, 3e6), (5e6, 6e6), (5.2e6, 5.4e6)]) == pytest.approx(4)
    assert union_seconds([]) == 0
    a = torch.randn(300, 300)
    busy, launches = profiled(lambda: [a @ a for _ in range(5)], Execution(CPU, None, 1))
    assert launches == 5 and 0 < busy < 5


@pytest.mark.skipif(torch.cuda.is_available(), reason="here is a GPU")
def test_without_a_gpu_the_script_says_so_in_one_line() -> None:
    script = ["bash", str(ROOT / "benchmark" / "speed" / "gpu.sh")]
    result = subprocess.run(script, capture_output=True, text=True, check=False, timeout=120)
    assert result.returncode == 2
    (line,) = result.stderr.splitlines()
    assert "sees no NVIDIA GPU" in line or "lacks" in line


@pytest.mark.slow
@pytest.mark.skipif(torch.cuda.is_available(), reason="here is a GPU")
def test_skipped_tests_fail_where_a_gpu_is_required() -> None:
    test = "tests/test_cuda.py::test_copies_to_the_host"
    command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "--require-cuda", test]
    result = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, timeout=200)
    assert result.returncode == 1
    assert "no NVIDIA GPU is here; --require-cuda lets nothing be skipped" in result.stdout
