"""The speed benchmarks: the yardstick computes the same, the scripts run and their tables hold what they say."""

from __future__ import annotations

import argparse
import contextlib
import shutil
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
from recipes import assert_close, synthetic_frames

from benchmark.speed import host
from benchmark.speed.against import Against
from benchmark.speed.counted import count_work
from benchmark.speed.variants import Contender, Difference, reference_of, speedups, take_turns
from video_depth_anything import load_model
from video_depth_anything.device import cpu_has_bf16
from video_depth_anything.errors import InputError

ROOT = Path(__file__).resolve().parents[1]
SMALL = ("--input_size", "28", "--size", "64x48", "--device", "cpu")
# Twice the depth: nobody else's output can be mistaken for this tree's.
DOUBLED = """
_once = VideoDepthAnything.infer_video_depth
def _twice(self, *arguments, **settings):
    depths, fps = _once(self, *arguments, **settings)
    return 2 * depths, fps
VideoDepthAnything.infer_video_depth = _twice
"""


def run(script: str, *arguments: str | Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(ROOT / "benchmark" / "speed" / f"{script}.py"), *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=200)


def tables(result: subprocess.CompletedProcess[str]) -> list[list[dict[str, str]]]:
    """The Markdown tables of a run, as rows by column title; checks what every run says about itself."""
    assert result.returncode == 0, result.stderr
    for line in ("- machine: ", "- date: ", "- command: `python benchmark/speed/"):
        assert line in result.stdout
    found: list[list[dict[str, str]]] = []
    for block in result.stdout.split("\n\n"):
        lines = [line for line in block.splitlines() if line.startswith("|")]
        if lines:
            titles, rule, *rows = ([cell.strip() for cell in line.strip("|").split("|")] for line in lines)
            assert set("".join(rule)) <= set("-:")
            assert all(len(row) == len(titles) for row in rows)
            found.append([dict(zip(titles, row)) for row in rows])
    return found


@pytest.fixture(scope="module")
def other_tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the library alone."""
    path = tmp_path_factory.mktemp("tree")
    shutil.copytree(ROOT / "video_depth_anything", path / "video_depth_anything")
    return path


@pytest.mark.slow
def test_offline(checkpoint: Path, other_tree: Path) -> None:
    flags = ("--variants", "torch:fp32", "torch:bf16", "torch:fp32", "--frames", "3", "--repeats", "2")
    result = run("offline", *SMALL, *flags, "--checkpoint", checkpoint, "--against", other_tree)
    (rows,) = tables(result)
    names = ["against:fp32=True", "against:fp32=False", "torch:fp32", "torch:bf16"]
    assert [row["variant"] for row in rows] == names
    for row in rows:
        assert 0 < float(row["least"]) <= float(row["ms per frame"]) <= float(row["most"])
        assert float(row["times fp32"]) > 0
        # Without bf16 in hardware this project's fp32=False computes in fp32.
        exact = row["variant"] in (names[0], names[2]) or (row["variant"] == names[1] and not cpu_has_bf16())
        lowest, highest = (0, 1e-4) if exact else (1e-4, 0.1)
        assert lowest <= float(row["error, range"]) < highest
    assert rows[0]["times fp32"] == rows[1]["times fp32=False"] == "1.00"
    assert "Errors against against:fp32=True" in result.stdout


@pytest.mark.slow
def test_another_tree_is_what_runs(checkpoint: Path, other_tree: Path, tmp_path: Path) -> None:
    tree = tmp_path / "doubled"
    shutil.copytree(other_tree, tree)
    with (tree / "video_depth_anything" / "video_depth.py").open("a") as file:
        file.write(DOUBLED)
    (tree / "video_depth_anything" / "video_depth_stream.py").write_text("import a_module_that_is_missing\n")
    settings = {"encoder": "vits", "device": "cpu", "input_size": 28, "threads": 1}
    frames = synthetic_frames(2, 48, 64, 1)
    with contextlib.closing(Against(tree, False, checkpoint=checkpoint, **settings)) as against:
        seconds, depths = against.infer(frames, fp32=True)
    stream = Against(tree, True, checkpoint=checkpoint, **settings)
    with contextlib.closing(stream), pytest.raises(InputError, match="a_module_that_is_missing"):
        stream.infer(frames[0], fp32=True)
    model = load_model("vits", checkpoint=checkpoint, device="cpu")
    expected, _ = model.infer_video_depth(frames, 24, input_size=28, fp32=True)
    assert seconds > 0
    assert_close(depths, 2 * expected)


@pytest.mark.slow
def test_streaming(checkpoint: Path, other_tree: Path) -> None:
    flags = ("--variants", "torch:fp32", "--frames", "14", "--checkpoint", checkpoint)
    phases, summary = tables(run("streaming", *SMALL, *flags, "--against", other_tree))
    names = ["against:fp32=True", "torch:fp32"]
    assert [(row["frames"], row["variant"]) for row in phases] == [
        (block, name) for block in ("1-1", "2-10", "11-14") for name in names
    ]
    assert all(0 < float(row["median ms"]) <= float(row["95 % ms"]) for row in phases)
    assert [row["variant"] for row in summary] == names
    assert summary[0]["times fp32"] == "1.00"
    assert all(float(row["error, range"]) < 1e-4 for row in summary)


@pytest.mark.slow
def test_memory_of_runs(checkpoint: Path) -> None:
    flags = ("--lengths", "3", "--checkpoint", checkpoint, "--flags", "--backend", "torch", "--fp32", "--save", "npz")
    ((row,),) = tables(run("memory", *SMALL, *flags))
    assert (row["frames"], row["against the first"]) == ("3", "1.000")
    assert 200 < float(row["peak memory, MiB"]) < 4000


def test_memory_is_that_of_the_command_alone() -> None:
    held = 200
    code = (
        "import sys; from pathlib import Path; from benchmark.speed.memory import peak_memory; "
        f"print(peak_memory([sys.executable, '-c', 'x = b\"1\" * ({held} << 20)'], Path('.')))"
    )
    result = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert held < float(result.stdout) < held + 50


def test_operations_are_those_of_the_formulas() -> None:
    """Encoder of vits at 518x924: 2442 patches and the class token, 384 channels, 12 blocks."""
    tokens, width, blocks = 2443, 384, 12
    work = count_work("vits", (518, 924))
    attention = 4 * tokens**2 * width * blocks
    layers = 2 * tokens * 12 * width**2 * blocks  # qkv, projection, and the MLP of ratio 4
    patches = 2 * (tokens - 1) * 3 * 14 * 14 * width
    assert work.attention == pytest.approx(attention / 1e9, rel=1e-6)
    assert work.encoder == pytest.approx((attention + layers + patches) / 1e9, rel=1e-6)
    once = work.encoder + work.head_frame
    assert work.of_clip(44) == pytest.approx(44 * once + 2 * work.mixing + (32 + 22) * work.rendering)
    # The schedule has a third window from frame 44 on, but it cannot change frame 46.
    assert work.of_clip(47) == pytest.approx(47 * once + 2 * work.mixing + (32 + 25) * work.rendering)


def test_host() -> None:
    """Every stage of every size is there; whole runs cost time and cores."""
    found = tables(run("host", "--sizes", "96x64", "64x48", "--frames", "120", "--repeats", "1", "--input_size", "28"))
    assert len(found) == 2
    for rows in found:
        assert [row["stage"].split(",")[0].strip("*") for row in rows] == [
            *("reading", "preprocessing", "colouring", "both eyes' views for `sbs`"),
            *("writing `src`", "writing `vis`", "in all", "in all"),
        ]
        assert all(float(row["frames a second"]) > 0 for row in rows)
        for row in rows[-2:]:
            assert float(row["ms a frame"]) * float(row["frames a second"]) == pytest.approx(1000, rel=0.02)
            assert float(row["core ms a frame"]) > 0


def test_the_hosts_path_is_the_real_one(tmp_path: Path) -> None:
    args = argparse.Namespace(max_res=64, input_size=28, codec="libx264", input_video=host.EXAMPLE, frames=65)
    path = host.HostRun(args, (72, 96), tmp_path)
    assert len(path.frames) == host.HELD and path.frames[0].shape == (48, 64, 3)
    shown = [id(frame) for frame, _ in path.shown()]
    assert shown[:32] == [id(frame) for frame in path.frames] and len(shown) == 65
    assert shown[31:63] == shown[31::-1] and shown[62:] == shown[:3]
    path.run("src", "vis")
    for ending in ("src", "vis"):
        capture = cv2.VideoCapture(str(tmp_path / "outputs" / f"clip_72_{ending}.mp4"))
        count = 0
        while capture.read()[0]:
            count += 1
        assert count == 65


def test_turns_alternate_and_yardsticks_come_first() -> None:
    turns: list[str] = []

    def contender(name: str, precision: str, yardstick: bool) -> Contender:
        def work(frames: np.ndarray) -> tuple[float, np.ndarray]:
            turns.append(name)
            return float(len(turns)), frames.astype(np.float32)

        return Contender(name, precision, yardstick, work)

    first, second, third = contender("a", "bf16", False), contender("b", "fp32", False), contender("c", "fp32", True)
    take_turns([first, second, third], np.zeros((1, 2, 2, 3), np.uint8), 3)
    assert "".join(turns) == "abccbaabc"
    assert (first.median, second.median) == (6.0, 5.0)
    assert reference_of([first, second, third]) is third
    assert reference_of([first, second]) is second
    assert reference_of([first]) is first
    assert speedups(first, [first, second, third]) == ["0.67", ""]
    fourth = contender("d", "half", True)
    fourth.seconds = [10.0]
    assert speedups(second, [first, second, third, fourth]) == ["0.80", "2.00"]


def test_difference_over_several_maps() -> None:
    difference = Difference()
    difference.add(np.array([1.0, 2.0], np.float32), np.array([1.0, 1.0], np.float32))
    difference.add(np.array([5.0, 3.0], np.float32), np.array([5.0, 3.0], np.float32))
    assert difference.of_range == pytest.approx(1 / 4)
    assert difference.of_norm == pytest.approx(1 / 6)
    with pytest.raises(ValueError, match="compared"):
        difference.add(np.zeros(3, np.float32), np.zeros(2, np.float32))


def test_a_bad_tree_is_one_line(tmp_path: Path) -> None:
    result = run("offline", *SMALL, "--against", tmp_path / "nowhere")
    assert result.returncode == 2
    assert result.stderr.count("\n") == 1
    assert "--against" in result.stderr and "nowhere" in result.stderr
