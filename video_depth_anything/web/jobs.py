"""One video of the web page through the pipeline of run.py: limits, progress, cancelling, and files to hand out."""

from __future__ import annotations

import argparse
import glob
import html
import logging
import math
import shutil
import threading
import time
import zipfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from ..cli import arguments
from ..errors import InputError, user_line
from ..outputs.base import DepthMap
from ..outputs.plan import OutputPlan
from ..outputs.point_clouds import write_ply
from ..outputs.run_outputs import RunOutputs
from ..pipelines.batch import Batch, settings_of
from ..pipelines.offline import Frame, RunSummary, run_video
from ..video.inputs import Input
from ..video.source import Selection, VideoSource

logger = logging.getLogger(__name__)

# From arguments and frames to depth: what run.py gives `run_video`.
Infer = Callable[[argparse.Namespace, Iterator[Frame]], Iterator[DepthMap]]
# Frames that the network took, frames whose depth is final, frames expected, and a line that says so.
OnProgress = Callable[[int, int, "int | None", str], None]

# Enough to choose from, and few enough points for a browser.
NUM_CLOUDS, CLOUD_POINTS = 6, 200_000


class Cancelled(Exception):
    """The user ended the job, or left."""


@dataclass(frozen=True)
class JobResult:
    """What a job wrote: the two videos, files to download, point clouds by frame number, and the closing line."""

    source: Path
    depth: Path
    downloads: list[Path]
    clouds: dict[int, Path]
    line: str


@dataclass
class Job:
    """One video to process.

    Args:
        video: an upload. words: the command line of run.py that the settings stand for, without input and output.
        folder: where the outputs go; empty.
    """

    video: Path
    words: Sequence[str]
    folder: Path
    on_progress: OnProgress
    _cancelled: threading.Event = field(default_factory=threading.Event)

    def cancel(self) -> None:
        """End the job at its next frame; its files are removed."""
        self._cancelled.set()

    def check(self) -> None:
        """Raise Cancelled if the job is to end."""
        if self._cancelled.is_set():
            raise Cancelled


class JobRunner:
    """Runs jobs one at a time, whoever calls.

    Args:
        max_frames: a job that would process more is refused.
    """

    def __init__(self, infer: Infer, max_frames: int) -> None:
        self._infer = infer
        self._max_frames = max_frames
        self._turn = threading.Lock()

    def run(self, job: Job) -> JobResult:
        """Run a job; its folder is emptied if it does not finish.

        Raises:
            Cancelled: if the user cancelled it. UsageError, InputError, OutputError and others that
            `video_depth_anything.cli.user_line` knows: if a setting or the video is wrong, or too long.
        """
        try:
            args = arguments.parse_words([*job.words, "--output_dir", str(job.folder)])
            with self._turn:
                return self._run(job, args)
        except BaseException:
            for path in job.folder.iterdir():
                path.unlink() if path.is_file() else shutil.rmtree(path, ignore_errors=True)
            raise

    def wait(self, seconds: float) -> None:
        """Wait until no job runs, so many seconds at most."""
        if self._turn.acquire(timeout=seconds):
            self._turn.release()

    def _run(self, job: Job, args: argparse.Namespace) -> JobResult:
        job.check()
        selection = Selection(args.max_res, args.target_fps, args.max_len, args.start, args.end)
        one = Input(job.video.stem, str(job.video))
        with closing(one.open(selection, args.image_fps)) as source:
            self._check_length(source.expected)
            if args.metric:
                args.ply_every = math.ceil((source.expected or self._max_frames) / NUM_CLOUDS)
                args.ply_stride = math.ceil(math.sqrt(math.prod(source.size) / CLOUD_POINTS))
        lines: list[str] = []
        counter = _Counter(job)

        def process(source: VideoSource, outputs: RunOutputs) -> RunSummary:
            def infer(frames: Iterator[Frame]) -> Iterator[DepthMap]:
                return self._infer(args, self._limited(counter.taken(frames, source.expected)))

            return run_video(source.timed(), infer, [outputs], counter.advance)

        plan = OutputPlan(arguments.output_options(args), arguments.camera_options(args), args.metric, args.start)
        Batch(plan, selection, args.image_fps, False, settings_of(args), lines.append).run([one], process)
        return self._collect(job, one.name, args.ply_every, counter)

    def _check_length(self, count: int | None) -> None:
        if count is not None and count > self._max_frames:
            raise InputError(
                f"the video has {count} frames, this page takes {self._max_frames} at most; "
                "set a number of frames, or fewer frames a second"
            )

    def _limited(self, frames: Iterator[Frame]) -> Iterator[Frame]:
        """What a file says of its length is not always true."""
        for count, frame in enumerate(frames, start=1):
            self._check_length(count)
            yield frame

    def _collect(self, job: Job, name: str, every: int, counter: _Counter) -> JobResult:
        downloads: list[Path] = []
        for path in sorted(job.folder.glob(f"{glob.escape(name)}_depths*")):
            downloads.append(_zipped(path, job) if path.is_dir() else path)
        clouds: dict[int, Path] = {}
        for path in sorted(job.folder.glob(f"{glob.escape(name)}_point*.ply")):
            turn_for_viewers(path)
            clouds[every * len(clouds)] = path
        folder = job.folder
        return JobResult(
            folder / f"{name}_src.mp4", folder / f"{name}_vis.mp4", downloads, clouds, counter.closing_line()
        )


class _Counter:
    """Counts a job's frames, reports, and lets it end early, where the network takes frames and gives depth."""

    def __init__(self, job: Job) -> None:
        self._job = job
        self._taken = self._done = 0
        self._expected: int | None = None
        self._start = time.monotonic()

    def taken(self, frames: Iterator[Frame], expected: int | None) -> Iterator[Frame]:
        self._expected = expected
        for frame in frames:
            self._job.check()
            self._taken += 1
            self._report()
            yield frame

    def advance(self) -> None:
        self._job.check()
        self._done += 1
        self._report()

    def _report(self) -> None:
        of = f" of {self._expected}" if self._expected is not None else ""
        line = f"{self._taken} frames read, depth of {self._done}{of} done, {self._rate():.1f} frames a second"
        self._job.on_progress(self._taken, self._done, self._expected, line)

    def _rate(self) -> float:
        return self._done / max(time.monotonic() - self._start, 1e-6)

    def closing_line(self) -> str:
        return f"{self._done} frames in {time.monotonic() - self._start:.1f} s, {self._rate():.2f} frames a second"


def turn_for_viewers(path: Path) -> None:
    """Turn a point cloud file from x right, y down, z forward to x right, y up, z backward, as 3D viewers have it."""
    import open3d

    cloud = open3d.t.io.read_point_cloud(path)
    points = cloud.point.positions.numpy() * np.array((1, -1, -1), dtype=np.float32)
    write_ply(path, points, cloud.point.colors.numpy())


def _zipped(folder: Path, job: Job) -> Path:
    """One archive of a folder's files, which are compressed already, instead of the folder."""
    path = folder.with_name(f"{folder.name}.zip")
    with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as archive:
        for file in sorted(folder.iterdir()):
            job.check()
            archive.write(file, f"{folder.name}/{file.name}")
            file.unlink()
    folder.rmdir()
    return path


def message_of(error: Exception, job: Job) -> str:
    """What the page says about an error, as HTML: the command's line, without this machine's folders."""
    line = user_line(error)
    if line is None:
        logger.error("a job failed", exc_info=error)
        return "the server made a mistake; its log says more"
    for folder in (job.video.parent, job.folder):
        line = line.replace(f"{folder}/", "").replace(str(folder), "")
    return html.escape(line)
