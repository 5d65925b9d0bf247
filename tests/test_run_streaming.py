"""run_streaming.py: the stream's depth in files and on standard output, live sources, scene cuts."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterable, Iterator
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from conftest import MakeVideo
from recipes import synthetic_frames
from test_run import one_line, shown

from utils.dc_utils import read_video_frames
from video_depth_anything import DepthStream, VideoDepthAnything
from video_depth_anything.device import Execution
from video_depth_anything.outputs.base import Finished, RunInfo
from video_depth_anything.outputs.run_outputs import RunOutputs
from video_depth_anything.pipelines.driver import RunSummary, run_video
from video_depth_anything.pipelines.stop import Stop
from video_depth_anything.video.frame import DepthMap, Frame
from video_depth_anything.video.realtime import Newest
from video_depth_anything.video.writer import VideoWriter

ROOT = Path(__file__).resolve().parents[1]
SMALL = ("--encoder", "vits", "--input_size", "56", "--device", "cpu", "--backend", "torch", "--fp32")


def run(*arguments: str | Path, **environment: str) -> subprocess.CompletedProcess[bytes]:
    command = [sys.executable, str(ROOT / "run_streaming.py"), *map(str, arguments)]
    return subprocess.run(
        command, cwd=ROOT, env={**os.environ, **environment}, capture_output=True, check=False, timeout=300
    )


def text(result: subprocess.CompletedProcess[bytes]) -> subprocess.CompletedProcess[str]:
    out, err = result.stdout.decode(), result.stderr.decode()
    return subprocess.CompletedProcess(result.args, result.returncode, out, err)


def test_files_hold_what_the_stream_gives(
    make_video: MakeVideo, checkpoint: Path, tmp_path: Path, golden_model: VideoDepthAnything, fp32: Execution
) -> None:
    clip = make_video(count=14)
    save = ("--save", "src", "vis", "npz", "exr")
    result = run("--input_video", clip, "--checkpoint", checkpoint, "--output_dir", tmp_path / "out", *save, *SMALL)
    assert result.returncode == 0, result.stderr
    assert result.stdout == b""
    assert b"14 frames in" in result.stderr
    assert shown(tmp_path / "out") == {"clip_src.mp4", "clip_vis.mp4", "clip_depths.npz", "clip_depths_exr"}
    stream = DepthStream(golden_model, 56, fp32)
    expected = np.stack([stream.step(frame) for frame in read_video_frames(clip)[0]])
    depths = np.load(tmp_path / "out" / "clip_depths.npz")["depths"]
    np.testing.assert_allclose(depths, expected, atol=5e-5 * float(np.ptp(expected)))


def test_metric_raw_video_on_standard_output(make_video: MakeVideo, checkpoint: Path, tmp_path: Path) -> None:
    flags = ("--checkpoint", checkpoint, "--output_dir", tmp_path / "out", "--save", "npz", "--metric", *SMALL)
    result = run("--input_video", make_video(count=5), "--stdout", "gray16le", *flags)
    assert result.returncode == 0, result.stderr
    levels = np.frombuffer(result.stdout, "<u2").reshape(5, 48, 64)
    with np.load(tmp_path / "out" / "clip_depths.npz") as archive:
        assert str(archive["kind"]) == "depth_metres"
        assert np.abs(levels / 1000 - archive["depths"]).max() <= 0.00051
    assert b"-pix_fmt gray16le -s 64x48 -r 24" in result.stderr


def test_colours_on_standard_output(make_video: MakeVideo, checkpoint: Path, tmp_path: Path) -> None:
    flags = ("--checkpoint", checkpoint, "--output_dir", tmp_path / "out", "--vis_range", "0", "5", *SMALL)
    result = run("--input_video", make_video(count=3), "--stdout", "rgb24", "--save", "vis", *flags)
    raw = np.frombuffer(result.stdout, np.uint8).reshape(3, 48, 64, 3)
    written, _ = read_video_frames(tmp_path / "out" / "clip_vis.mp4")
    assert np.abs(raw.mean(axis=3) - written.mean(axis=3)).mean() < 6


def test_no_files_are_written_where_none_are_asked_for(make_video: MakeVideo, checkpoint: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    result = run("-i", make_video(count=3), "--checkpoint", checkpoint, *SMALL, "--save", "none", "-o", out)
    assert result.returncode == 0, text(result).stderr
    assert "wrote no files: 3 frames" in text(result).stderr
    assert not out.exists()


def test_scene_cut_starts_a_new_state(
    checkpoint: Path, tmp_path: Path, golden_model: VideoDepthAnything, fp32: Execution
) -> None:
    first = np.repeat(synthetic_frames(1, 48, 64, seed=1), 24, axis=0)
    second = 255 - first[:, ::-1]
    clip = tmp_path / "cut.mp4"
    writer = VideoWriter(clip, (48, 64), Fraction(24))
    for frame in (*first, *second):
        writer.write(frame)
    writer.close()
    flags = ("--checkpoint", checkpoint, "--output_dir", tmp_path / "out", "--save", "npz", *SMALL)
    result = run("--input_video", clip, "--reset_on_cut", *flags)
    assert result.returncode == 0, result.stderr
    assert result.stderr.count(b"scene cut at") == 1
    assert b"scene cut at 1.00 s" in result.stderr
    depths = np.load(tmp_path / "out" / "cut_depths.npz")["depths"]
    expected = DepthStream(golden_model, 56, fp32).step(read_video_frames(clip)[0][24])
    np.testing.assert_allclose(depths[24], expected, atol=5e-5 * float(np.ptp(expected)))


def test_mistakes(make_video: MakeVideo, checkpoint: Path, tmp_path: Path) -> None:
    flags = ("--checkpoint", checkpoint, "--output_dir", tmp_path / "out", *SMALL)
    line = one_line(text(run("--input_video", make_video(), "--show", *flags, DISPLAY="", WAYLAND_DISPLAY="")))
    assert "--show needs a display" in line
    assert "camera 77 does not exist" in one_line(text(run("--input_video", "77", *flags)))
    assert shown(tmp_path / "out") == set()


class Recorder(RunOutputs):
    def __init__(self, stop_after: int = 10**9) -> None:
        super().__init__(RunInfo(Path(), "v", "v.mp4", "disparity", (12, 18), (12, 18), Fraction(24)))
        self.frames: list[int] = []
        self.closed = False
        self._stop_after = stop_after

    def write(self, frame: Frame) -> None:
        self.frames.append(int(frame.image[0, 0, 0]))
        if len(self.frames) == self._stop_after:
            raise Finished

    def close(self, interrupted: bool = False) -> None:
        self.closed = True

    def abort(self) -> None:
        raise AssertionError("the run did not fail")


def stream(frames: Iterable[Frame], outputs: Recorder, seconds: float = 0.0) -> RunSummary:
    """A run whose network takes so many seconds for a frame."""

    def depths(given: Iterator[Frame]) -> Iterator[DepthMap]:
        for frame in given:
            time.sleep(seconds)
            yield np.zeros(frame.image.shape[:2], np.float32)

    return run_video(frames, depths, outputs, lambda *_: None, Stop(), live=True)


def numbered(count: int, fps: float) -> Iterator[Frame]:
    return (Frame(np.full((2, 2, 3), i, np.uint8), i / fps, 1 / fps) for i in range(count))


def test_each_frame_is_out_before_the_next_is_read() -> None:
    recorder = Recorder()
    log: list[int] = []

    def source() -> Iterator[Frame]:
        for frame in numbered(20, 24):
            log.append(len(recorder.frames))
            yield frame

    summary = stream(source(), recorder)
    assert log == list(range(20))
    assert (summary.frames, summary.interrupted, recorder.closed) == (20, False, True)


def test_an_output_can_end_the_run() -> None:
    recorder = Recorder(stop_after=3)
    summary = stream(numbered(20, 24), recorder)
    assert (summary.frames, recorder.frames, recorder.closed) == (3, [0, 1, 2], True)


def test_realtime_drops_the_oldest_and_counts_them() -> None:
    newest = Newest(numbered(40, 100), paced=True)
    recorder = Recorder()
    summary = stream(newest, recorder, 0.035)
    assert summary.frames + newest.dropped == 40
    assert newest.dropped > 5
    assert recorder.frames == sorted(set(recorder.frames))
    assert recorder.frames[-1] == 39


def test_realtime_hands_errors_on() -> None:
    def source() -> Iterator[Frame]:
        yield from numbered(1, 24)
        raise ValueError("camera gone")

    with pytest.raises(ValueError, match="camera gone"):
        list(Newest(source(), paced=False))
