"""Jobs: each runs the pipeline of `vda run` on one video; one at a time, first come first served."""

from __future__ import annotations

import glob
import math
import shutil
import threading
import time
import zipfile
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Literal

from ..outputs.plan import OutputPlan, with_unit
from ..pipelines.driver import by_windows, run_video
from ..pipelines.options import RunOptions
from ..pipelines.stop import Stop, Stopped
from ..video.frame import Frame
from .confinement import DecoderLimits
from .messages import Refusal, message_of
from .networks import Networks
from .relief import BYTES_PER_FRAME, MOST_FRAMES, ReliefFrames
from .uploads import UploadSource, add_sound

State = Literal["waiting", "running", "done", "failed", "cancelled"]

# The remaining time is estimated after this share of the work and this many seconds.
ESTIMATE_SHARE, ESTIMATE_SECONDS = 0.1, 2.0
# Maximum number of point clouds per job, and of points in each.
NUM_CLOUDS, CLOUD_POINTS = 6, 200_000
# Downloads, the most wanted first: ending of the file name, and label.
DOWNLOADS = (
    ("_vis.mp4", "Depth video (MP4)"),
    ("_compare.mp4", "Side by side (MP4)"),
    ("_sbs_LR.mp4", "Stereo for headsets (MP4)"),
    ("_depths_png16.zip", "16-bit PNG (ZIP)"),
    ("_depths_exr.zip", "OpenEXR (ZIP)"),
    ("_depths.npz", "NumPy (NPZ)"),
    ("_points.zip", "Point clouds (PLY, ZIP)"),
)


@dataclass(eq=False)
class Job:
    """One video to compute."""

    video: Path
    options: RunOptions
    address: str = ""  # of the visitor
    disk: float = math.inf  # bytes reserved for its files
    stop: Stop = field(default_factory=Stop)
    keep: Callable[[], None] = lambda: None  # called when it is done
    state: State = "waiting"
    line: str = "Waiting"  # its progress or outcome, as HTML
    share: float = 0.0  # of the work that is done
    size: tuple[int, int] = (0, 0)  # (H, W) of the frames
    files: dict[str, Path] = field(default_factory=dict)  # downloads by label
    relief: ReliefFrames | None = None

    @property
    def folder(self) -> Path:
        return self.options.outputs.folder

    def active(self) -> bool:
        return self.state in ("waiting", "running")

    def discard(self) -> None:
        shutil.rmtree(self.folder, ignore_errors=True)

    def run(self, networks: Networks, max_frames: int) -> None:
        """Compute the outputs. If it fails or is cancelled, no file is kept."""
        self.state, self.line = "running", "Reading the video and loading the model"
        try:
            self.stop.check()
            self.line = self._compute(networks, max_frames)
            self.stop.check()
            self.keep()
            state: State = "done"
        except BaseException as error:
            self.discard()
            if isinstance(error, Stopped) or self.stop.is_set():
                state, self.line = "cancelled", "Cancelled. Nothing was kept."
            else:
                state, self.line = "failed", message_of(error)
        self.state = state  # last: the page polls it

    def _compute(self, networks: Networks, max_frames: int) -> str:
        model = self.options.model
        with closing(UploadSource(self.video, self.options.selection, DecoderLimits())) as source:
            every = math.ceil((source.expected or 1) / NUM_CLOUDS)
            stride = math.ceil(math.sqrt(math.prod(source.size) / CLOUD_POINTS))
            camera = replace(self.options.camera, every=every, stride=stride)
            plan = OutputPlan(self.options.outputs, camera, model.metric)
            check_room(plan, source, max_frames, self.disk)
            loaded = networks.get(model)
            plan = replace(plan, provenance=loaded.provenance())
            relief = ReliefFrames(self.folder / "relief", source.expected, camera.fov, model.metric)
            self.size = source.size

            def frames() -> Iterator[Frame]:
                for count, frame in enumerate(source.timed(), start=1):
                    check_frames(count, max_frames)  # a header's frame count may be wrong
                    yield frame

            with plan.open(source) as outputs:
                outputs.add(relief)
                progress = partial(self._show_progress, time.monotonic(), source.expected)
                summary = run_video(frames(), by_windows(loaded.infer), outputs, progress, self.stop)
        self.stop.check()
        self.line = "Adding the sound"
        videos = [self.folder / f"{source.name}{ending}" for ending in ("_compare.mp4", "_vis.mp4", "_sbs_LR.mp4")]
        videos = [path for path in videos if path.is_file()]
        sound = add_sound(self.video, videos, source.first_time)
        self._collect(source.name)
        self.relief = relief
        frames_done = f"{summary.frames} frame{'s' * (summary.frames != 1)} in {duration(summary.seconds)}"
        rate = summary.frames / max(summary.seconds, 1e-6)
        checkpoint = loaded.provenance()["checkpoint"]
        return f"Done: {frames_done}, {rate:.1f} frames/s{', with sound' * sound}. Model: {checkpoint}."

    def _show_progress(self, begun: float, expected: int | None, taken: int, done: int) -> None:
        if expected is None:
            self.line = f"{done} frames done"
            return
        # Encoding a frame and decoding its depth take about the same time.
        share, seconds, left = min((taken + done) / (2 * expected), 1.0), time.monotonic() - begun, ""
        if ESTIMATE_SHARE < share < 1 and seconds > ESTIMATE_SECONDS:
            left = f", about {duration(seconds * (1 - share) / share)} left"
        self.share, self.line = share, f"{share:.0%} of {expected} frames{left}"

    def _collect(self, name: str) -> None:
        """Zip folders and point clouds, and list the downloads."""
        for folder in self.folder.glob(f"{glob.escape(name)}_depths_*"):
            self._zip(folder.with_suffix(".zip"), sorted(folder.iterdir()))
            folder.rmdir()
        clouds = sorted(self.folder.glob(f"{glob.escape(name)}_point*.ply"))
        if clouds:
            self._zip(self.folder / f"{name}_points.zip", clouds)
        files = {words: self.folder / f"{name}{ending}" for ending, words in DOWNLOADS}
        self.files = {words: path for words, path in files.items() if path.is_file()}

    def _zip(self, path: Path, files: list[Path]) -> None:
        with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as archive:  # they are compressed already
            for file in files:
                self.stop.check()
                archive.write(file, f"{path.stem}/{file.name}")
                file.unlink()


def check_frames(count: int | None, most: int) -> None:
    if count is not None and count > most:
        raise Refusal(
            f"The video has {count} frames or more, and this page takes {most} at most. Under Advanced, set how many "
            "frames to use, or a lower frame rate."
        )


def check_room(plan: OutputPlan, source: UploadSource, max_frames: int, left: float) -> float:
    """Upper estimate of the bytes that a job writes; Refusal if there is less room, or the video is too long."""
    check_frames(source.expected, max_frames)
    frames = source.expected or max_frames
    needed = frames * sum(plan.bytes_per_frame(source.size).values()) + min(frames, MOST_FRAMES) * BYTES_PER_FRAME
    if needed > left:
        raise Refusal(
            f"The result may need {with_unit(needed)} on the server's disk, and you have {with_unit(left)} left. "
            "Choose fewer files to download, a smaller frame size or fewer frames."
        )
    return needed


def duration(seconds: float) -> str:
    """A duration as text: 40 s, 3 min, 1 h 20 min."""
    if seconds < 90:
        return f"{max(round(seconds), 1)} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 60 else f"{minutes // 60} h {minutes % 60} min"


class JobQueue:
    """Runs one job at a time, first come first served, each in a thread of its own."""

    def __init__(self, run: Callable[[Job], None], most: int, most_each: int) -> None:
        self._run = run
        self._most, self._most_each = most, most_each
        self._jobs: list[Job] = []  # the first one runs
        self._changed = threading.Condition()

    def add(self, job: Job) -> None:
        """Queue a job; Refusal if too many wait."""
        with self._changed:
            if len(self._jobs) > self._most:
                raise Refusal(f"{self._most} videos are waiting, and no more fit. Try again in a few minutes.")
            if sum(other.address == job.address for other in self._jobs) >= self._most_each:
                raise Refusal(f"{self._most_each} videos from your network are waiting. Wait for one to finish.")
            self._jobs.append(job)
        threading.Thread(target=self._work, args=(job,), name="job", daemon=True).start()

    def _work(self, job: Job) -> None:
        with self._changed:
            self._changed.wait_for(lambda: self._jobs[0] is job or job.stop.is_set())
        self._run(job)  # a stopped one ends at once
        with self._changed:
            self._jobs.remove(job)
            self._changed.notify_all()

    def cancel(self, *jobs: Job, reason: str = "cancelled") -> None:
        """Stop jobs; a running one ends after the current frame."""
        with self._changed:
            for job in jobs:
                job.stop.set(reason)
            self._changed.notify_all()

    def before(self, job: Job) -> int:
        with self._changed:
            return self._jobs.index(job) if job in self._jobs else 0

    def others_wait(self) -> bool:
        return len(self._jobs) > 1

    def close(self, seconds: float) -> None:
        """Stop all jobs, and wait for the running one."""
        with self._changed:
            self.cancel(*self._jobs, reason="the page is closing")
            self._changed.wait_for(lambda: not self._jobs, seconds)
