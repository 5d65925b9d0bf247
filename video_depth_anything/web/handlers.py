"""What the web page's buttons do: from what was entered to jobs, and from their results to what is shown."""

from __future__ import annotations

import threading
from fractions import Fraction
from pathlib import Path
from typing import Any

import gradio as gr
import numpy as np
import numpy.typing as npt

from ..outputs.options import CameraOptions, OutputOptions
from ..pipelines.options import ModelOptions, RunOptions
from ..video.source import Selection
from ..video.timing import parse_target_fps
from .camera import LiveDepth
from .gate import owner_of
from .jobs import Cancelled, Job, JobResult, JobRunner
from .messages import message_of
from .networks import NetworkName, Networks
from .options import PageOptions
from .sessions import Session, Sessions
from .turns import Refusal, Turns
from .visitor_files import PageFiles

# How long the server waits at its end for a job to notice.
STOP_SECONDS = 20.0
# Gradio's title of an error says "Error".
TITLE = "That did not work"
CANCELLED = "Cancelled. Nothing was kept."
EMPTY = "Choose a video first: drop one above, record one, or take the example."
# Pixels of a frame's longer side, at least; degrees that a camera sees where nothing is said.
SMALLEST, USUAL_FOV = 32, 60.0
# Cameras that are served at the same time, of all visitors.
MOST_CAMERAS = 4


class Handlers:
    """The page's answers.

    Args:
        files: of all visitors.
        networks: those that may be asked for.
        options: the page's limits.

    Attributes:
        sessions: open pages.
    """

    def __init__(self, files: PageFiles, networks: Networks, options: PageOptions) -> None:
        self.sessions = Sessions(files)
        self._files = files
        self._networks = networks
        turns = Turns(options.max_waiting, options.max_jobs)
        self._runner = JobRunner(networks.infer, options.max_frames, turns, provenance=networks.provenance)
        self._cameras = threading.BoundedSemaphore(MOST_CAMERAS)

    def open(self, request: gr.Request) -> None:
        """A page was opened."""
        self._session(request)

    def close(self, request: gr.Request) -> None:
        """A page was closed, or lost."""
        self.sessions.close(str(request.session_hash))

    def stop(self) -> None:
        """The server ends: so do the jobs."""
        self.sessions.cancel_all()
        self._runner.wait(STOP_SECONDS)

    def begin(self, video: str | None) -> list[Any]:
        """The button was pressed: values of button, Cancel and status."""
        if video is None:
            return [gr.skip(), gr.skip(), EMPTY]
        return [gr.update(visible=False), gr.update(visible=True), "Starting"]

    def end(self) -> list[Any]:
        """The work is over, well or not: values of button and Cancel."""
        return [gr.update(visible=True), gr.update(visible=False)]

    def run(
        self,
        video: str | None,
        encoder: str,
        metric: bool,
        input_size: int | None,
        max_res: int | None,
        target_fps: float | None,
        max_len: int | None,
        colormap: str,
        side_by_side: bool,
        downloads: list[str],
        fov: float | None,
        request: gr.Request,
        progress: gr.Progress = gr.Progress(),  # noqa: B008 - how Gradio is asked for it
    ) -> list[Any]:
        """Process the video; the components' values in the order of `build_page`."""
        if video is None:
            return [gr.skip()] * 6
        session = self._session(request)
        try:
            if not self._files.may_read(session.owner, video):
                raise Refusal("This video is not on the server any more. Upload it again.")
            self._check_network((encoder, metric))
            folder = self._files.new_folder(session.owner)
            options = RunOptions(
                ModelOptions(encoder, metric, input_size=min(max(int(input_size or 518), 14), 1036)),
                Selection(
                    limit_of(max_res, SMALLEST),
                    parse_target_fps(target_fps if target_fps and target_fps > 0 else -1),
                    limit_of(max_len),
                ),
                outputs=OutputOptions(
                    folder,
                    save=("src", "vis", *downloads, *["ply"] * metric),
                    layout="compare" if side_by_side else "depth",
                    colormap=colormap,
                ),
                camera=CameraOptions(fov=min(max(fov or USUAL_FOV, 1.0), 179.0) if metric else None),
            )
        except Exception as error:
            raise _shown_error(error) from None

        def report(taken: int, done: int, expected: int | None, line: str) -> None:
            # Reading a frame and giving its depth are about the same work.
            progress(min((taken + done) / (2 * expected), 1.0) if expected else 0.0, desc=line)

        job = Job(Path(video), options, report, session.owner, self._files.left(session.owner))
        with self._files.use(job.video):
            return self._run(job, session, str(request.session_hash))

    def _run(self, job: Job, session: Session, name: str) -> list[Any]:
        session.cancel()
        session.job = job
        if not self.sessions.is_open(name):  # left while waiting
            job.stop.set("the page was closed")
        try:
            result = self._runner.run(job)
        except Cancelled:
            self._files.remove(job.folder)
            return [CANCELLED, *[gr.skip()] * 5]
        except Exception as error:
            self._files.remove(job.folder)
            raise _shown_error(error) from None
        finally:
            if session.job is job:
                session.job = None
        old, session.results = session.results, job.folder
        if old is not None:
            self._files.remove(old)
        if not self.sessions.is_open(name):
            self._files.remove(job.folder)
        return _shown(result)

    def cancel(self, request: gr.Request) -> list[Any]:
        """End this page's job, running or waiting: values of status, button and Cancel."""
        self._session(request).cancel()
        return [CANCELLED, *self.end()]

    def show_cloud(self, frame: int, request: gr.Request) -> Any:
        """Another frame's point cloud."""
        session = self._session(request)
        found = sorted(session.results.glob(f"*_point{int(frame):04d}.ply")) if session.results is not None else []
        return gr.update(value=str(found[0])) if found else gr.skip()

    def live(
        self,
        image: npt.NDArray[np.uint8] | None,
        encoder: str,
        metric: bool,
        input_size: int | None,
        colormap: str,
        request: gr.Request,
    ) -> Any:
        """Depth of the next frame of this page's camera."""
        if image is None:
            return gr.skip()
        session = self._session(request)
        settings = (encoder, metric, input_size, colormap)
        try:
            if session.live is None or session.live_settings != settings:
                self._check_network((encoder, metric))
                stream = self._networks.new_stream((encoder, metric), min(max(int(input_size or 252), 14), 1036))
                session.live, session.live_settings = LiveDepth(stream, metric, colormap), settings
            with self._cameras:
                return session.live.step(image)
        except Exception as error:
            raise _shown_error(error) from None

    def _check_network(self, network: NetworkName) -> None:
        if network not in [offer.name for offer in self._networks.offers]:
            kind = "metric " if network[1] else ""
            raise Refusal(f"There is no {kind}checkpoint of that encoder on this server. Choose another quality.")

    def _session(self, request: gr.Request) -> Session:
        owner = owner_of(request.headers.get("cookie", ""))
        try:
            if owner is None:
                raise Refusal("This page needs its cookie. Allow cookies for this address, then reload the page.")
            return self.sessions.get(str(request.session_hash), owner)
        except Refusal as error:
            raise _shown_error(error) from None


def _shown_error(error: Exception) -> gr.Error:
    return gr.Error(message_of(error), title=TITLE, print_exception=False)


def _shown(result: JobResult) -> list[Any]:
    """Values of status, both videos, downloads, the choice of clouds, and the first one."""
    first = next(iter(result.clouds.values()), None)
    return [
        result.line,
        gr.update(value=str(result.source), label="Your video"),
        gr.update(value=str(result.depth), label="Its depth"),
        gr.update(value=[str(path) for path in result.downloads] or None, visible=bool(result.downloads)),
        gr.update(choices=list(result.clouds), value=next(iter(result.clouds), None), visible=len(result.clouds) > 1),
        gr.update(value=str(first) if first else None, visible=first is not None),
    ]


def limit_of(number: float | None, least: int = 1) -> int:
    """A number of the page's as `Selection` has it: -1 for none."""
    return max(int(number), least) if number is not None and number > 0 else -1


def rate_of(number: float | None) -> Fraction | None:
    """A frame rate of the page's as `Selection` has it: None for all frames."""
    return parse_target_fps(number) if number is not None and number > 0 else None
