"""One video of the web page through the pipeline of run.py: limits, progress, cancelling, and files to hand out."""

from __future__ import annotations

import glob
import html
import logging
import math
import shutil
import threading
import time
import zipfile
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, closing, nullcontext
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from ..errors import InputError, user_line
from ..outputs.base import DepthMap
from ..outputs.plan import OutputPlan
from ..outputs.point_clouds import write_ply
from ..outputs.run_outputs import RunOutputs
from ..pipelines.batch import Batch
from ..pipelines.offline import Frame, run_video
from ..pipelines.options import ModelOptions, RunOptions
from ..pipelines.stop import Stop
from ..pipelines.summary import RunSummary
from ..video.inputs import Input
from ..video.source import VideoSource

logger = logging.getLogger(__name__)

# From the chosen network and frames to depth: what `run_video` is given.
Infer = Callable[[ModelOptions, Iterator[Frame]], Iterator[DepthMap]]
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
        video: an upload. options: of the run; its output folder is empty. stop: ends the job; its files are removed.
    """

    video: Path
    options: RunOptions
    on_progress: OnProgress
    stop: Stop = field(default_factory=Stop)

    @property
    def folder(self) -> Path:
        """Where the outputs go."""
        return self.options.outputs.folder


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
            with self._turn:
                return self._run(job)
        except BaseException:
            for path in job.folder.iterdir():
                path.unlink() if path.is_file() else shutil.rmtree(path, ignore_errors=True)
            raise

    def wait(self, seconds: float) -> None:
        """Wait until no job runs, so many seconds at most."""
        if self._turn.acquire(timeout=seconds):
            self._turn.release()

    def _run(self, job: Job) -> JobResult:
        if job.stop.is_set():
            raise Cancelled
        options, one = job.options, Input(job.video.stem, str(job.video))
        every = 1
        with closing(one.open(options.selection)) as source:
            self._check_length(source.expected)
            if options.model.metric:
                every = math.ceil((source.expected or self._max_frames) / NUM_CLOUDS)
                stride = math.ceil(math.sqrt(math.prod(source.size) / CLOUD_POINTS))
                options = replace(options, camera=replace(options.camera, every=every, stride=stride))
        counter = _Counter(job)

        def process(source: VideoSource, outputs: RunOutputs) -> RunSummary:
            def infer(frames: Iterator[Frame]) -> Iterator[DepthMap]:
                return self._infer(options.model, self._limited(counter.taken(frames, source.expected)))

            return run_video(source.timed(), infer, outputs, counter.advance, job.stop)

        plan = OutputPlan(options.outputs, options.camera, options.model.metric, options.selection.start)
        batch = Batch(plan, options.selection, options.limits, options.settings(), False, "", job.stop, counter)
        if batch.run_one(one, process):
            raise Cancelled
        return self._collect(job, one.name, every, counter)

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
            downloads.append(_zipped(path, job.stop) if path.is_dir() else path)
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
            self._taken += 1
            self._report()
            yield frame

    def advance(self) -> None:
        self._done += 1
        self._report()

    def _report(self) -> None:
        of = f" of {self._expected}" if self._expected is not None else ""
        line = f"{self._taken} frames read, depth of {self._done}{of} done, {self._rate():.1f} frames a second"
        self._job.on_progress(self._taken, self._done, self._expected, line)

    def _rate(self) -> float:
        return self._done / max(time.monotonic() - self._start, 1e-6)

    def progress(self, total: int | None, name: str) -> AbstractContextManager[Callable[[], None]]:
        return nullcontext(self.advance)

    def say(self, line: str) -> None:
        """The page says it in its own words."""

    def closing_line(self) -> str:
        return f"{self._done} frames in {time.monotonic() - self._start:.1f} s, {self._rate():.2f} frames a second"


def turn_for_viewers(path: Path) -> None:
    """Turn a point cloud file from x right, y down, z forward to x right, y up, z backward, as 3D viewers have it."""
    import open3d

    cloud = open3d.t.io.read_point_cloud(path)
    points = cloud.point.positions.numpy() * np.array((1, -1, -1), dtype=np.float32)
    write_ply(path, points, cloud.point.colors.numpy())


def _zipped(folder: Path, stop: Stop) -> Path:
    """One archive of a folder's files, which are compressed already, instead of the folder."""
    path = folder.with_name(f"{folder.name}.zip")
    with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as archive:
        for file in sorted(folder.iterdir()):
            if stop.is_set():
                raise Cancelled
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
