"""One video of the web page through the pipeline of `vda run`: limits, progress, cancelling, and files to hand out."""

from __future__ import annotations

import glob
import math
import shutil
import time
import zipfile
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from ..outputs.options import Provenance
from ..outputs.plan import OutputPlan, readable
from ..outputs.point_clouds import read_ply, write_ply
from ..pipelines.driver import by_windows, run_video
from ..pipelines.options import ModelOptions, RunOptions
from ..pipelines.stop import Stop
from ..video.frame import DepthMap, Image
from .confinement import DecoderLimits
from .turns import Refusal, Turns
from .uploads import UploadSource, add_sound

# From the chosen network and frames to depth: what `run_video` is given.
Infer = Callable[[ModelOptions, Iterator[Image]], Iterator[DepthMap]]
# Frames that the network took, frames whose depth is final, frames expected, and a line that says so.
OnProgress = Callable[[int, int, "int | None", str], None]

# Enough to choose from, and few enough points for a browser.
NUM_CLOUDS, CLOUD_POINTS = 6, 200_000
# Share of the work, and seconds, after which the time that is left can be told.
TELLING, TELLING_SECONDS = 0.1, 2.0


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

    Attributes:
        video: an upload.
        options: of the run; its output folder is empty.
        on_progress: told how far it is.
        owner: whose it is.
        disk: bytes that its files may take.
        stop: ends the job; its files are removed.
    """

    video: Path
    options: RunOptions
    on_progress: OnProgress
    owner: str = ""
    disk: float = math.inf
    stop: Stop = field(default_factory=Stop)

    @property
    def folder(self) -> Path:
        """Where the outputs go."""
        return self.options.outputs.folder


class JobRunner:
    """Runs jobs one at a time, whoever calls.

    Args:
        infer: the network.
        max_frames: a job that would process more is refused.
        turns: who waits.
        limits: what an upload's decoder may use.
        provenance: of a network's depth, for the outputs to say.
    """

    def __init__(
        self,
        infer: Infer,
        max_frames: int,
        turns: Turns | None = None,
        limits: DecoderLimits = DecoderLimits(),  # noqa: B008 - immutable
        provenance: Callable[[ModelOptions], Provenance] | None = None,
    ) -> None:
        self._infer = infer
        self._provenance = provenance
        self._max_frames = max_frames
        self._turns = turns or Turns(most=8, most_each=2)
        self._limits = limits

    def run(self, job: Job) -> JobResult:
        """Run a job when its turn has come; its folder is emptied if it does not finish.

        Raises:
            Cancelled: if the user cancelled it, running or waiting.
            Refusal: if too many wait, or the job would go beyond a limit.
            UploadError: if the video cannot be read.
            UserError: if a setting is wrong, or an output cannot be written.
        """

        def wait(before: int) -> None:
            job.on_progress(0, 0, None, f"Waiting: {before} video{'s' * (before > 1)} before yours")

        try:
            with self._turns.turn(job.owner, job.stop, wait):
                return self._run(job)
        except BaseException as error:
            # A page that is closed takes its folders along, whatever is at work in them.
            for path in job.folder.iterdir() if job.folder.is_dir() else ():
                path.unlink() if path.is_file() else shutil.rmtree(path, ignore_errors=True)
            if job.stop.is_set() and isinstance(error, Exception):
                raise Cancelled from error
            raise

    def wait(self, seconds: float) -> None:
        """Wait until no job runs, so many seconds at most."""
        self._turns.wait_idle(seconds)

    def _run(self, job: Job) -> JobResult:
        counter = _Counter(job)
        counter.say("Reading the video and loading the model")
        with closing(UploadSource(job.video, job.options.selection, self._limits)) as source:
            options, every = self._with_clouds(job.options, source)
            plan = OutputPlan(options.outputs, options.camera, options.model.metric, options.selection.start)
            limit = self._limit(job, plan, source)
            if self._provenance is not None:
                plan = replace(plan, provenance=self._provenance(options.model))

            def infer(frames: Iterator[Image]) -> Iterator[DepthMap]:
                return self._infer(options.model, limit.checked(frames))

            with plan.open(source) as outputs:
                counter.expected = source.expected
                summary = run_video(source.timed(), by_windows(infer), outputs, counter.report, job.stop)
        if summary.interrupted or job.stop.is_set():
            raise Cancelled
        checkpoint = plan.provenance.checkpoint if plan.provenance is not None else ""
        counter.say("Adding the sound")
        heard = [
            add_sound(job.video, job.folder / f"{source.name}_{name}.mp4", source.first_time, self._limits)
            for name in ("src", "vis")
        ]
        return self._collect(job, source.name, every, counter.closing_line(all(heard), checkpoint))

    def _with_clouds(self, options: RunOptions, source: UploadSource) -> tuple[RunOptions, int]:
        """The options with few enough point clouds of few enough points, and their distance in frames."""
        if not options.model.metric:
            return options, 1
        every = math.ceil((source.expected or self._max_frames) / NUM_CLOUDS)
        stride = math.ceil(math.sqrt(math.prod(source.size) / CLOUD_POINTS))
        return replace(options, camera=replace(options.camera, every=every, stride=stride)), every

    def _limit(self, job: Job, plan: OutputPlan, source: UploadSource) -> _Limit:
        a_frame = sum(plan.bytes_per_frame(source.size).values())
        room = self._max_frames if job.disk == math.inf else int(job.disk // a_frame)
        limit = _Limit(self._max_frames, room, a_frame, job.disk)
        limit.check(source.expected)
        return limit

    def _collect(self, job: Job, name: str, every: int, line: str) -> JobResult:
        folder = job.folder
        downloads: list[Path] = []
        for path in sorted(folder.glob(f"{glob.escape(name)}_depths*")):
            downloads.append(_zipped(path, job.stop) if path.is_dir() else path)
        clouds: dict[int, Path] = {}
        for path in sorted(folder.glob(f"{glob.escape(name)}_point*.ply")):
            turn_for_viewers(path)
            clouds[every * len(clouds)] = path
        if job.stop.is_set():
            raise Cancelled
        return JobResult(folder / f"{name}_src.mp4", folder / f"{name}_vis.mp4", downloads, clouds, line)


@dataclass(frozen=True)
class _Limit:
    """How many frames a job may have: by the page's rule, and by the room that they need on disk."""

    most: int
    room: int
    a_frame: float
    disk: float

    def check(self, count: int | None) -> None:
        if count is not None and count > self.most:
            raise Refusal(
                f"The video has {count} frames, this page takes {self.most} at most. Under Advanced, set how many "
                "frames to use, or a lower frame rate."
            )
        if count is not None and count > self.room:
            raise Refusal(
                f"The result would need {readable(count * self.a_frame)} on the server's disk, and you have "
                f"{readable(self.disk)} left. Choose fewer files to download, a smaller frame size or fewer frames."
            )

    def checked(self, frames: Iterator[Image]) -> Iterator[Image]:
        """What a file says of its length is not always true."""
        for count, frame in enumerate(frames, start=1):
            self.check(count)
            yield frame


class _Counter:
    """Counts a job's frames and reports them, where the network takes frames and gives depth."""

    def __init__(self, job: Job) -> None:
        self._job = job
        self._taken = self._done = 0
        self.expected: int | None = None
        self._start = time.monotonic()

    def say(self, line: str) -> None:
        """Report a line of words."""
        self._job.stop.check()
        self._job.on_progress(self._taken, self._done, self.expected, line)

    def report(self, taken: int, done: int) -> None:
        """Report how far it is."""
        if self._taken == 0:  # reading and loading do not count
            self._start = time.monotonic()
        self._taken, self._done = taken, done
        of = f" of {self.expected}" if self.expected is not None else " frames"
        line = f"{self._done}{of} done{self._left()}"
        self._job.on_progress(self._taken, self._done, self.expected, line)

    def _left(self) -> str:
        """The time left, where it can be told. Reading a frame and giving its depth are about the same work."""
        share = (self._taken + self._done) / (2 * self.expected) if self.expected else 0.0
        seconds = time.monotonic() - self._start
        if not TELLING < share < 1 or seconds < TELLING_SECONDS:
            return ""
        return f", about {duration(seconds * (1 - share) / share)} left"

    def closing_line(self, sound: bool, checkpoint: str) -> str:
        """What was done, with which weights."""
        seconds = time.monotonic() - self._start
        frames = f"{self._done} frame{'s' * (self._done != 1)} in {seconds:.1f} s"
        rate = f"{self._done / max(seconds, 1e-6):.2f} frames a second"
        return f"{frames}, {rate}{', with sound' * sound}{f', by {checkpoint}' if checkpoint else ''}."


def duration(seconds: float) -> str:
    """A time as people say it: 40 s, 3 min, 1 h 20 min."""
    if seconds < 90:
        return f"{max(round(seconds), 1)} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 60 else f"{minutes // 60} h {minutes % 60} min"


def turn_for_viewers(path: Path) -> None:
    """Turn a point cloud file from x right, y down, z forward to x right, y up, z backward, as 3D viewers have it."""
    points, colors = read_ply(path)
    write_ply(path, points * np.array((1, -1, -1), dtype=np.float32), colors)


def _zipped(folder: Path, stop: Stop) -> Path:
    """One archive of a folder's files, which are compressed already, instead of the folder."""
    path = folder.with_name(f"{folder.name}.zip")
    with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as archive:
        for file in sorted(folder.iterdir()):
            stop.check()
            archive.write(file, f"{folder.name}/{file.name}")
            file.unlink()
    folder.rmdir()
    return path
