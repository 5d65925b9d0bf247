"""The web page's parts without a browser: its jobs, its files and who may read them, its arguments, the camera."""

from __future__ import annotations

import errno
import subprocess
import sys
import threading
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import MakeVideo

from video_depth_anything import DepthStream, Execution, infer_depth
from video_depth_anything.cli.arguments import run_options, run_parser
from video_depth_anything.errors import CheckpointError, InputError, OutputError, UsageError, UserError
from video_depth_anything.pipelines.options import ModelOptions, RunOptions
from video_depth_anything.video.frame import Image
from video_depth_anything.video_depth import VideoDepthAnything
from video_depth_anything.web.camera import LiveDepth
from video_depth_anything.web.jobs import Cancelled, Job, JobRunner
from video_depth_anything.web.messages import message_of
from video_depth_anything.web.turns import Refusal
from video_depth_anything.web.uploads import UploadSource

ROOT = Path(__file__).resolve().parents[1]
WORDS = ("--encoder", "vits", "--input_size=56")


def options(folder: Path, *words: str) -> RunOptions:
    """Those that the command would have of these words."""
    parser = run_parser("vda run", None)
    return run_options(parser.parse_args([*WORDS, *words, "--output_dir", str(folder)]))


def ignore(taken: int, done: int, expected: int | None, line: str) -> None:
    """No progress wanted."""


@pytest.fixture
def runner(golden_model: VideoDepthAnything, fp32: Execution) -> JobRunner:
    def infer(model: ModelOptions, frames: Iterator[Image]) -> Iterator[Any]:
        return infer_depth(golden_model, frames, model.input_size or 518, fp32)

    return JobRunner(infer, max_frames=40)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    path = tmp_path / "job"
    path.mkdir()
    return path


def test_a_job_is_a_run_of_the_command(runner: JobRunner, make_video: MakeVideo, folder: Path) -> None:
    video = make_video("a [1] clip.mp4", count=36)
    reports: list[tuple[int, int, int | None]] = []
    words = ["--max_len=34", "--save", "src", "vis", "npz", "exr", "png16"]
    result = runner.run(Job(video, options(folder, *words), lambda *report: reports.append(report[:3])))
    assert result.source.is_file()
    assert result.depth.is_file()
    names = ["a [1] clip_depths.npz", "a [1] clip_depths_exr.zip", "a [1] clip_depths_png16.zip"]
    assert sorted(path.name for path in result.downloads) == names
    with zipfile.ZipFile(folder / names[1]) as archive:
        assert len(archive.namelist()) == 34
        assert archive.testzip() is None
    with np.load(folder / names[0]) as archive:
        assert archive["depths"].shape == (34, 48, 64)
    assert result.clouds == {}
    reports = [report for report in reports if report[0]]  # before that there are only words
    # Frames are reported as the network takes them and as windows finish: never fewer, all in the end.
    assert reports[-1] == (34, 34, 34)
    assert reports == sorted(reports, key=lambda report: report[0] + report[1])
    assert reports[31] == (32, 0, 34)
    assert result.line.startswith("34 frames in ")


def test_a_metric_job_has_point_clouds_for_viewers(runner: JobRunner, make_video: MakeVideo, folder: Path) -> None:
    import open3d

    words = ["--metric", "--fov=60", "--save", "src", "vis", "npz", "ply"]
    result = runner.run(Job(make_video(count=13), options(folder, *words), ignore))
    assert list(result.clouds) == [0, 3, 6, 9, 12]
    cloud = open3d.t.io.read_point_cloud(result.clouds[6])
    points, colors = cloud.point.positions.numpy(), cloud.point.colors.numpy()
    with np.load(result.downloads[0]) as archive:
        depth = archive["depths"][6]
    assert points.shape == (48 * 64, 3)
    assert colors.dtype == np.uint8
    np.testing.assert_allclose(points[:, 2], -depth.ravel(), rtol=1e-6)
    assert (points[: 64 * 20, 1] >= 0).all()  # the upper rows are above the axis
    assert points[: 64 * 20, 1].max() > 0


def test_cancelling_ends_a_job_at_the_next_frame(runner: JobRunner, make_video: MakeVideo, folder: Path) -> None:
    for frames, depths in ((3, 0), (0, 5)):
        reports: list[tuple[int, int]] = []

        def stop(taken: int, done: int, _expected: int | None, _line: str) -> None:
            reports.append((taken, done))  # noqa: B023 - called within this turn
            if taken >= frames and done >= depths:  # noqa: B023
                job.stop.set()  # noqa: B023

        job = Job(make_video(count=40), options(folder), stop)
        with pytest.raises(Cancelled):
            runner.run(job)
        assert [report for report in reports if report[0] >= frames and report[1] >= depths] == reports[-1:]
        assert list(folder.iterdir()) == []
    assert runner.run(Job(make_video(count=2), options(folder), ignore)).depth.is_file()


def test_a_job_cancelled_while_it_waits_never_begins(make_video: MakeVideo, folder: Path) -> None:
    begun, release = threading.Event(), threading.Event()

    def infer(_: ModelOptions, frames: Iterator[Image]) -> Iterator[Any]:
        begun.set()
        release.wait(20)
        return (np.zeros(frame.shape[:2], np.float32) for frame in frames)

    runner = JobRunner(infer, 40)
    other = folder / "other"
    other.mkdir()
    errors: list[BaseException] = []
    first = Job(make_video("first.mp4"), options(other), ignore)
    second = Job(make_video("second.mp4"), options(folder), ignore)
    thread = threading.Thread(target=runner.run, args=(first,))
    thread.start()
    assert begun.wait(20)

    def run_second() -> None:
        try:
            runner.run(second)
        except Cancelled as error:
            errors.append(error)

    waiting = threading.Thread(target=run_second)
    waiting.start()
    waiting.join(0.3)
    assert waiting.is_alive()  # one at a time
    second.stop.set()
    release.set()
    thread.join(20)
    waiting.join(20)
    assert len(errors) == 1


def test_limits_and_mistakes(runner: JobRunner, make_video: MakeVideo, folder: Path, tmp_path: Path) -> None:
    long = make_video("long.mp4", count=41)
    job = Job(long, options(folder), ignore)
    with pytest.raises(Refusal, match="41 frames, this page takes 40"):
        runner.run(job)
    bad = tmp_path / "<b>bad.mp4"
    bad.write_bytes(b"no video")
    for video, words, said in (
        (long, ["--max_len=3", "--colormap", "none"], "matplotlib has no colour map"),
        (bad, [], "&lt;b&gt;bad.mp4 cannot be read: it is not a video, or it is damaged. Convert it to MP4"),
    ):
        job = Job(video, options(folder, *words), ignore)
        with pytest.raises(UserError) as caught:
            runner.run(job)
        message = message_of(caught.value)
        assert said in message
        assert str(tmp_path) not in message
        assert list(folder.iterdir()) == []
    said = message_of(ZeroDivisionError("secret"))
    assert said.startswith("Something went wrong on the server")
    assert "secret" not in said


def test_errors_are_sentences_that_give_nothing_away() -> None:
    for error, said in (
        (
            OutputError("clip needs up to 3 GB on disk, 1 GB are free in /srv/page; choose another --output_dir"),
            "no room",
        ),
        (OutputError("cannot write to /srv/page: Permission denied; choose another --output_dir"), "could not write"),
        (OSError(errno.ENOSPC, "No space left on device", "/srv/page/x"), "no room"),
        (InputError("cannot read /srv/page/clip.mp4: not a video"), "cannot be read"),
        (CheckpointError("checkpoint /srv/vits.pth cannot be read"), "The model cannot be used"),
        (MemoryError(), "Choose less detail"),
        (UsageError("--colormap: there is no such map"), "A setting cannot be used: colormap: there is no such map."),
        (Refusal("Wait <b>."), "Wait &lt;b&gt;."),
    ):
        message = message_of(error)
        assert said in message
        assert message.endswith(".")
        assert "/srv" not in message
        assert "--" not in message


def test_a_wrong_frame_count_does_not_pass_the_limit(make_video: MakeVideo, folder: Path) -> None:
    runner = JobRunner(lambda _, frames: (np.zeros(frame.shape[:2], np.float32) for frame in frames), 10)
    claimed = pytest.MonkeyPatch()
    take = UploadSource._take
    claimed.setattr(UploadSource, "_take", lambda self, facts, most: take(self, {**facts, "expected": 5}, most))
    try:
        with pytest.raises(Refusal, match="takes 10 at most"):
            runner.run(Job(make_video(count=12), options(folder), ignore))
    finally:
        claimed.undo()
    assert list(folder.iterdir()) == []


def test_live_depth_is_that_of_a_stream(golden_model: VideoDepthAnything, fp32: Execution, frames: Any) -> None:
    stream = DepthStream(golden_model, 56, fp32)
    live = LiveDepth(stream, metric=False, colormap="magma")
    texts = [live.step(frame) for frame in frames(3, 48, 64, seed=1)]
    assert stream.frames_seen == 3
    assert "3 frames" in texts[-1]
    assert 'src="data:image/jpeg;base64,' in texts[-1]
    live.step(frames(1, 64, 48, seed=1)[0])  # a camera of another size is another video
    assert stream.frames_seen == 1


def test_arguments() -> None:
    result = subprocess.run([sys.executable, "app.py", "--help"], cwd=ROOT, capture_output=True, text=True, check=True)
    text = " ".join(result.stdout.split())
    for flag in ("--checkpoint", "--encoder", "--device", "--server_name", "--server_port", "--share"):
        assert flag in text
    assert "(default: 127.0.0.1)" in text


def test_without_checkpoints_it_says_so(tmp_path: Path) -> None:
    for flags, said in (
        (["--encoder", "vitb"], "vda weights vitb"),
        (["--checkpoint", "none.pth"], "checkpoint none.pth not found"),
    ):
        command = [sys.executable, str(ROOT / "app.py"), *flags, "--device", "cpu"]
        result = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
        assert result.returncode == 2
        assert said in result.stderr
        assert result.stderr.count("\n") == 1
