"""run.py under torchrun, as a user meets it: the bits of one process, whatever dies on the way."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
import torch
from conftest import MakeVideo

from video_depth_anything.checkpoint import load_model
from video_depth_anything.device import choose_execution
from video_depth_anything.offline import infer_depth
from video_depth_anything.video.source import open_video

ROOT = Path(__file__).resolve().parents[1]
FLAGS = ("--encoder", "vits", "--input_size", "28", "--device", "cpu", "--backend", "torch", "--fp32", "--save", "npz")


def command(ranks: int, *arguments: str | Path) -> list[str]:
    launcher = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", str(ranks)]
    return [*launcher, str(ROOT / "run.py"), *map(str, arguments), *FLAGS]


def start(ranks: int, *arguments: str | Path) -> subprocess.Popen[str]:
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    pipe = subprocess.PIPE
    return subprocess.Popen(command(ranks, *arguments), cwd=ROOT, env=environment, stdout=pipe, stderr=pipe, text=True)


def one_process(checkpoint: Path, video: Path) -> npt.NDArray[np.float32]:
    """What `infer_depth` gives for a video, on one thread as the ranks have it."""
    model = load_model("vits", False, checkpoint, "cpu")
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        execution = choose_execution("cpu", "fp32", "torch", input_size=28)
        return np.stack(list(infer_depth(model, open_video(video), 28, execution)))
    finally:
        torch.set_num_threads(threads)


def written(folder: Path, name: str) -> npt.NDArray[np.float32]:
    with np.load(folder / f"{name}_depths.npz") as archive:
        depths: npt.NDArray[np.float32] = archive["depths"]
        return depths


def process_of_rank(launcher: int, rank: int) -> int:
    """Process id of a rank that torchrun started."""
    for child in Path(f"/proc/{launcher}/task/{launcher}/children").read_text().split():
        if f"RANK={rank}".encode() in Path(f"/proc/{child}/environ").read_bytes().split(b"\0"):
            return int(child)
    raise AssertionError(f"rank {rank} does not run")


@pytest.mark.slow
@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="looks for processes in /proc")
def test_a_rank_dies_and_resume_goes_on(make_video: MakeVideo, checkpoint: Path, tmp_path: Path) -> None:
    """200 frames: two ranks, one of which dies, then three, for which a video of one frame has too little work."""
    video, out = make_video("long.mp4", count=200, height=28, width=28), tmp_path / "out"
    flags = ("--input_video", video, "--output_dir", out, "--checkpoint", checkpoint)
    process = start(2, *flags)
    deadline = time.monotonic() + 100
    while len(list(out.glob(".long-*_windows/[0-9]*.npz"))) < 2:
        assert process.poll() is None and time.monotonic() < deadline
        time.sleep(0.05)
    os.kill(process_of_rank(process.pid, 1), signal.SIGKILL)
    _, stderr = process.communicate(timeout=60)
    assert process.returncode == 1
    assert "ended by SIGTERM, as torchrun does when another rank has died" in stderr, stderr
    assert "rank      : 1 (local_rank: 1)" in stderr and "SIGKILL" in stderr
    assert [path.name for path in out.iterdir()] == [path.name for path in out.glob(".long-*_windows")]
    kept = {path: path.stat().st_mtime_ns for path in out.glob(".long-*_windows/[0-9]*.npz")}
    assert 2 <= len(kept) < 10

    short = make_video("short.mp4", count=1, height=28, width=28)
    process = start(3, "--resume", *flags, "--input_video", video, short)
    while process.poll() is None:
        assert all(path.stat().st_mtime_ns == when for path, when in kept.items() if path.exists())
        time.sleep(0.2)
    _, stderr = process.communicate()
    assert process.returncode == 0, stderr
    assert f"{len(kept)} windows were already computed" in stderr
    for name, path in (("long", video), ("short", short)):
        np.testing.assert_array_equal(written(out, name), one_process(checkpoint, path))
    names = [f"{kind}{name}" for name in ("long", "short") for kind in (".", "")]
    endings = ["_run.json", "_depths.npz"] * 2
    assert {path.name for path in out.iterdir()} == {name + ending for name, ending in zip(names, endings)}
