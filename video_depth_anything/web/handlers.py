"""What the web page's buttons do: from what was entered to jobs, and from their results to what is shown."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import gradio as gr
import numpy as np
import numpy.typing as npt

from ..outputs.options import CameraOptions, OutputOptions
from ..pipelines.options import ModelOptions, RunOptions
from ..pipelines.streaming import Stream
from ..video.source import Selection
from ..video.timing import parse_target_fps
from .camera import LiveDepth
from .jobs import Cancelled, Infer, Job, JobResult, JobRunner, message_of
from .sessions import Session, Sessions
from .visitor_files import PageFiles, owner_of

# Encoder, and whether the weights are metric.
NetworkName = tuple[str, bool]
# A new stream with that network and input size.
MakeStream = Callable[[NetworkName, int], Stream]
# How long the server waits at its end for a job to notice.
STOP_SECONDS = 20.0


@dataclass(frozen=True)
class Start:
    """What the page begins with."""

    encoder: str
    metric: bool
    input_size: int


class Handlers:
    """The page's answers.

    Args:
        networks: those that may be asked for. max_frames: of one job.
    """

    def __init__(
        self, files: PageFiles, networks: Sequence[NetworkName], infer: Infer, make_stream: MakeStream, max_frames: int
    ) -> None:
        self._files = files
        self._networks = networks
        self._make_stream = make_stream
        self._runner = JobRunner(infer, max_frames)
        self._sessions = Sessions(files)

    def open(self, request: gr.Request) -> None:
        """A page was opened."""
        self._session(request)

    def close(self, request: gr.Request) -> None:
        """A page was closed, or lost."""
        self._sessions.close(str(request.session_hash))

    def stop(self) -> None:
        """The server ends: so do the jobs."""
        self._sessions.cancel_all()
        self._runner.wait(STOP_SECONDS)

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
        """Process the video; the components' values in the order of `web_page`."""
        session = self._session(request)
        if video is None:
            raise gr.Error("Choose a video first.", print_exception=False)
        if not self._files.may_read(session.owner, video):
            raise gr.Error("This video is not there any more; upload it again.", print_exception=False)
        self._check_network((encoder, metric))
        folder = self._files.new_folder(session.owner)
        options = RunOptions(
            ModelOptions(encoder, metric, input_size=int(input_size or 518)),
            Selection(limit_of(max_res), parse_target_fps(target_fps or -1), limit_of(max_len)),
            OutputOptions(
                folder,
                save=("src", "vis", *downloads, *["ply"] * metric),
                layout="compare" if side_by_side else "depth",
                colormap=colormap,
            ),
            CameraOptions(fov=fov if metric else None),
        )

        def report(taken: int, done: int, expected: int | None, line: str) -> None:
            # Reading a frame and giving its depth are about the same work.
            progress(min((taken + done) / (2 * expected), 1.0) if expected else 0.0, desc=line)

        job = Job(Path(video), options, report)
        return self._run(job, session, str(request.session_hash))

    def _run(self, job: Job, session: Session, name: str) -> list[Any]:
        if session.job is not None:
            session.job.stop.set("cancelled")
        session.job = job
        if not self._sessions.is_open(name):  # left while waiting
            job.stop.set("the page was closed")
        try:
            result = self._runner.run(job)
        except Cancelled:
            self._files.remove(job.folder)
            return [gr.update(value="Cancelled."), *[gr.skip()] * 5]
        except Exception as error:
            self._files.remove(job.folder)
            raise gr.Error(message_of(error, job), print_exception=False) from None
        finally:
            if session.job is job:
                session.job = None
        old, session.results = session.results, job.folder
        if old is not None:
            self._files.remove(old)
        if not self._sessions.is_open(name):
            self._files.remove(job.folder)
        return _shown(result)

    def cancel(self, request: gr.Request) -> str:
        """End this page's job; one that waits in the queue Gradio takes out itself."""
        self._session(request).cancel()
        return "Cancelled."

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
        if session.live is None or session.live_settings != settings:
            self._check_network((encoder, metric))
            stream = self._make_stream((encoder, metric), max(int(input_size or 0), 14))
            session.live, session.live_settings = LiveDepth(stream, metric, colormap), settings
        return session.live.step(image)

    def _check_network(self, network: NetworkName) -> None:
        if network not in self._networks:
            kind = "metric " if network[1] else ""
            raise gr.Error(f"There is no {kind}checkpoint of that encoder here.", print_exception=False)

    def _session(self, request: gr.Request) -> Session:
        owner = owner_of(request.headers.get("cookie", ""))
        if owner is None:
            raise gr.Error("This page needs its cookie; reload it.", print_exception=False)
        return self._sessions.get(str(request.session_hash), owner)


def _shown(result: JobResult) -> list[Any]:
    """Values of status, both videos, downloads, the choice of clouds, and the first one."""
    first = next(iter(result.clouds.values()), None)
    return [
        result.line,
        str(result.source),
        str(result.depth),
        gr.update(value=[str(path) for path in result.downloads] or None, visible=bool(result.downloads)),
        gr.update(choices=list(result.clouds), value=next(iter(result.clouds), None), visible=len(result.clouds) > 1),
        gr.update(value=str(first) if first else None, visible=first is not None),
    ]


def limit_of(number: float | None) -> int:
    """A number of the page's as `Selection` has it: -1 for none."""
    return int(number) if number is not None and number > 0 else -1
