"""What the page's buttons do: from what was entered to jobs, and from a visitor's state to what the page shows."""

from __future__ import annotations

import html
import threading
from collections.abc import Callable
from dataclasses import dataclass, fields
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import quote

import gradio as gr

from ..outputs.options import CameraOptions, OutputOptions
from ..outputs.plan import OutputPlan
from ..pipelines.options import ModelOptions, RunOptions
from ..video.source import Selection
from ..video.timing import parse_target_fps
from .confinement import DecoderLimits
from .gate import owner_of
from .jobs import Job, JobQueue, State, check_room
from .messages import message_of
from .networks import Networks
from .options import PageOptions
from .refusal import Refusal
from .uploads import UploadSource
from .visitors import Visitor, Visitors

# How long the server waits at its end for a job to notice.
STOP_SECONDS = 20.0
READY = "Choose a video, then press <b>Compute depth</b>. Until then, the player shows an example."
CHOSEN = "Press <b>Compute depth</b>."
EMPTY = "Choose a video first: drop one above, record one, or take the example."
BUSY = "Another video of yours is being computed. Wait until it is done, or cancel it."
# Frames a second that make sense; pixels of a frame's longer side, at least; videos whose header is read at once.
LEAST_FPS, MOST_FPS, SMALLEST, HEADERS_AT_ONCE = 0.1, 240.0, 32, 2
# A header is read while the visitor looks on.
HEADER_LIMITS = DecoderLimits(patience=20.0)


@dataclass
class View:
    """Values of the page's components, in the order of `build_page`; what is left out stays as it is."""

    status: Any = None
    result: Any = None
    video: Any = None
    chosen: Any = None
    another: Any = None
    run: Any = None
    cancel: Any = None
    timer: Any = None
    look_around: Any = None
    relief: Any = None

    def values(self) -> list[Any]:
        """For Gradio."""
        return [gr.skip() if (value := getattr(self, one.name)) is None else value for one in fields(self)]


class Handlers:
    """The page's answers."""

    def __init__(
        self, visitors: Visitors, networks: Networks, options: PageOptions, example: tuple[Path, Path, tuple[int, int]]
    ) -> None:
        self._visitors = visitors
        self._networks = networks
        self._options = options
        self._example = example
        self._headers = threading.BoundedSemaphore(HEADERS_AT_ONCE)
        # One address may be a household's or a proxy's.
        compute = partial(Job.run, networks=networks, max_frames=options.max_frames)
        self.queue = JobQueue(compute, options.max_waiting, max(options.max_waiting // 2, 2))

    def stop(self) -> None:
        """The server ends: so do the jobs."""
        self._visitors.stop_jobs()
        self.queue.close(STOP_SECONDS)

    def press(
        self,
        video: str | None,
        encoder: str,
        metric: bool,
        detail: int,
        max_res: int | None,
        target_fps: float | None,
        max_len: int | None,
        colormap: str,
        downloads: list[str],
        fov: float | None,
        request: gr.Request,
    ) -> list[Any]:
        """Queue a job, after a look at the video's header; the values in the order of `build_page`."""
        try:
            visitor = self._visitor(request)
            latest = visitor.job or visitor.result
            if video is None and latest is not None and latest.video.is_file():
                video = str(latest.video)  # the page was loaded again, or shows the video's name alone
            if video is None:
                return View(status=error_line(EMPTY)).values()
            if visitor.busy():
                raise Refusal(BUSY)
            self._networks.offer(encoder, metric)
            options = RunOptions(
                ModelOptions(encoder, metric, input_size=detail),
                Selection(limit_of(max_res, SMALLEST), rate_of(target_fps), limit_of(max_len)),
                outputs=OutputOptions(
                    visitor.new_folder("job"),
                    save=("vis", "compare", *downloads, *["ply"] * (metric and "ply" in downloads)),
                    colormap=colormap,
                ),
                camera=CameraOptions(fov=fov),
            )
            self._add(Job(Path(video), options, _address(request)), visitor)
        except Exception as error:
            return View(status=error_line(message_of(error))).values()
        return self._view(visitor).values()

    def _add(self, job: Job, visitor: Visitor) -> None:
        """Reserve the room that a job needs, and queue it."""
        try:
            with self._headers:
                source = UploadSource(job.video, job.options.selection, HEADER_LIMITS)
                source.close()
            plan = OutputPlan(job.options.outputs, job.options.camera, job.options.model.metric)
            job.disk = check_room(plan, source, self._options.max_frames, self._visitors.left(visitor))
            job.size = source.size
            if not self._visitors.reserve(visitor, round(job.disk)):
                raise Refusal("Your room on the server's disk is taken. Wait until your other upload is finished.")
            previous, visitor.job, job.finish = visitor.job, job, partial(self._finish, visitor, job)
            try:
                self.queue.add(job)
            except BaseException:
                visitor.job = previous
                self._visitors.release(visitor, round(job.disk))
                raise
        except BaseException:
            job.discard()
            raise

    def _finish(self, visitor: Visitor, job: Job, state: State) -> None:
        """Give a job's room back; its result takes the place of the last one."""
        self._visitors.release(visitor, round(job.disk))
        if state == "done":
            old, visitor.result = visitor.result, job
            if old is not None:
                old.discard()

    def look(self, request: gr.Request) -> list[Any]:
        """Once a second while a job is active: how far it is, and all that changes when it is over."""
        return self._on(request, lambda visitor: self._view(visitor, brief=True))

    def load(self, request: gr.Request) -> list[Any]:
        """The page was opened: a visitor's job goes on, and their result is there again."""
        return self._on(request, self._view)

    def cancel(self, request: gr.Request) -> list[Any]:
        """End the visitor's job, running or waiting."""

        def end(visitor: Visitor) -> View:
            if visitor.job is not None:
                visitor.job.stop.set("cancelled")
                self.queue.drop(visitor.job)
            return self._view(visitor)

        return self._on(request, end)

    def another(self, request: gr.Request) -> list[Any]:
        """Show the box for a video in place of the last one's name."""
        return View(
            status=READY,
            video=gr.update(visible=True, value=None),
            chosen=gr.update(visible=False),
            another=gr.update(visible=False),
        ).values()

    def show_relief(self, share: float | None, request: gr.Request) -> Any:
        """The frame at this share of the result, in 3D."""
        visitor = self._visitors.find(owner_of(request.headers.get("cookie", "")) or "")
        result = visitor.result if visitor is not None else None
        if result is None or result.relief is None:
            return gr.update(visible=False)
        return gr.update(value=str(result.relief.write(share or 0.0)), visible=True)

    def _on(self, request: gr.Request, show: Callable[[Visitor], View]) -> list[Any]:
        try:
            return show(self._visitor(request)).values()
        except Exception as error:
            return View(status=error_line(message_of(error)), timer=gr.update(active=False)).values()

    def _visitor(self, request: gr.Request) -> Visitor:
        owner = owner_of(request.headers.get("cookie", ""))
        if owner is None:
            raise Refusal("This page needs its cookie. Allow cookies for this address, then reload the page.")
        return self._visitors.get(owner)

    def _view(self, visitor: Visitor, brief: bool = False) -> View:
        """What the page shows a visitor; brief: nothing but the status while a job is active."""
        job, result = visitor.job, visitor.result
        active = visitor.busy()
        buttons = {"run": gr.update(visible=not active), "cancel": gr.update(visible=active)}
        if brief and active:
            return View(status=self._status(job), timer=gr.update(active=True))
        view = View(status=self._status(job), timer=gr.update(active=active), **buttons)
        view.result = self._result(result, earlier=result is not None and job is not result)
        view.look_around = gr.update(visible=result is not None)
        view.relief = gr.update(visible=False, value=None)
        if result is not None or active:
            shown = job if active else result
            assert shown is not None
            view.video = gr.update(visible=False)
            view.chosen = gr.update(value=f"Video: <b>{html.escape(shown.video.name)}</b>", visible=True)
            view.another = gr.update(visible=not active)
        elif job is not None:
            view.video, view.chosen, view.another = (
                gr.update(visible=True),
                gr.update(visible=False),
                gr.update(visible=False),
            )
        return view

    def example(self) -> str:
        """The player with the example."""
        video, still, size = self._example
        return player(video, size, "An example: a box on a table", still)

    def _status(self, job: Job | None) -> str:
        if job is None:
            return READY
        if job.state == "failed":
            return error_line(job.line)
        if not job.active():
            return job.line
        before, line = self.queue.before(job), job.line
        if job.state == "waiting" and before:
            line = f"Waiting: {before} video{'s' * (before > 1)} before yours"
        return f'<p>{line}</p><progress max="1" value="{job.share:.3f}" aria-label="{line}"></progress>'

    def _result(self, job: Job | None, earlier: bool) -> str:
        """The player and the downloads, or the example."""
        if job is None:
            return self.example()
        title = f"{'Earlier result: ' * earlier}{html.escape(job.video.name)}"
        links = "".join(
            f'<a href="{file_address(path)}" download="{html.escape(path.name, quote=True)}">{words}'
            f"<small>{path.stat().st_size / 1e6:.1f} MB</small></a>"
            for words, path in job.files.items()
            if path.is_file()
        )
        side_by_side = job.files["Side by side (MP4)"]
        return f'{player(side_by_side, job.size, title)}<nav class="downloads" aria-label="Downloads">{links}</nav>'


def player(video: Path, size: tuple[int, int], title: str, still: Path | None = None) -> str:
    """The page's own element, see static/page.js, for a video that holds source and depth side by side."""
    poster = f' poster="{file_address(still)}"' if still is not None else ""
    return (
        f'<depth-player src="{file_address(video)}" width="{size[1]}" height="{size[0]}"{poster}></depth-player>'
        f'<p class="title">{title}</p>'
    )


def file_address(path: Path) -> str:
    """Where the browser finds a file."""
    return f"gradio_api/file={quote(str(path))}"


def error_line(text: str) -> str:
    """A status that tells what went wrong."""
    return f'<p class="error" role="alert">{text}</p>'


def limit_of(number: float | None, least: int = 1) -> int:
    """A number of the page's as `Selection` has it: -1 for none."""
    return max(int(number), least) if number is not None and number > 0 else -1


def rate_of(number: float | None) -> Any:
    """A frame rate of the page's as `Selection` has it: None for all frames."""
    if not number:
        return None
    if not LEAST_FPS <= number <= MOST_FPS:
        raise Refusal(
            f"A frame rate of {number:g} cannot be used: choose {LEAST_FPS:g} to {MOST_FPS:g} frames a second, or 0 to "
            "keep all frames."
        )
    return parse_target_fps(number)


def _address(request: gr.Request) -> str:
    return str(request.client.host) if request.client else ""
