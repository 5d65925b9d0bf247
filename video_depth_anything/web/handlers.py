"""Event handlers of the page: inputs become jobs, and a visitor's state becomes component values."""

from __future__ import annotations

import html
import threading
from collections.abc import Callable
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import quote

import gradio as gr

from ..outputs.options import CameraOptions, OutputOptions
from ..outputs.plan import OutputPlan, with_unit
from ..pipelines.options import ModelOptions, RunOptions
from ..video.source import Selection
from ..video.timing import parse_target_fps
from .confinement import DecoderLimits
from .jobs import Job, JobQueue, check_room
from .messages import Refusal, message_of
from .networks import Networks
from .options import PageOptions
from .uploads import UploadSource
from .visitors import Visitor, Visitors

READY = "Choose a video, then press <b>Compute depth</b>. Until then, the player shows an example."
CHOSEN = "Press <b>Compute depth</b>."
EMPTY = "Choose a video first: drop one above, record one, or take the example."
# Range of frame rates; minimum longer side of a frame; maximum number of headers that are read at the same time.
LEAST_FPS, MOST_FPS, SMALLEST, HEADERS_AT_ONCE = 0.1, 240.0, 32, 2
# Distance of the 3D view, relative to that of the camera.
BEHIND = 1.15
# The visitor waits while a header is read.
HEADER_LIMITS = DecoderLimits(patience=20.0)
# New values of components, by their names in `build_page`; the others keep theirs.
View = dict[str, Any]
CHOSEN_AWAY: View = {"chosen": gr.update(visible=False), "another": gr.update(visible=False)}


class Handlers:
    """Event handlers. `parts` are the components by name; `build_page` sets them."""

    def __init__(
        self, visitors: Visitors, networks: Networks, options: PageOptions, example: tuple[Path, Path, tuple[int, int]]
    ) -> None:
        self.parts: dict[str, Any] = {}
        self._visitors = visitors
        self._networks = networks
        self._options = options
        self._example = example
        self._headers = threading.BoundedSemaphore(HEADERS_AT_ONCE)
        # Several visitors may share an address, behind a router or a proxy.
        compute = partial(Job.run, networks=networks, max_frames=options.max_frames)
        self.queue = JobQueue(compute, options.max_waiting, max(options.max_waiting // 2, 2))

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
    ) -> dict[Any, Any]:
        """Check the video's header, and queue a job."""

        def queue(visitor: Visitor) -> View:
            latest = visitor.job or visitor.result
            if video is not None:
                path = Path(video)
            elif latest is not None and latest.video.is_file():
                path = latest.video  # after a reload, or while the video's name is shown alone
            else:
                raise Refusal(EMPTY)
            self._networks.offer(encoder, metric)
            options = RunOptions(
                ModelOptions(encoder, metric, input_size=detail),
                Selection(limit_of(max_res, SMALLEST), target_fps_of(target_fps), limit_of(max_len)),
                outputs=OutputOptions(
                    visitor.new_folder("job"),
                    save=("vis", "compare", *downloads, *["ply"] * (metric and "ply" in downloads)),
                    colormap=colormap,
                ),
                camera=CameraOptions(fov=fov),
            )
            self._add(Job(path, options, visitor.address), visitor)
            return self._view(visitor)

        return self._on(request, queue)

    def _add(self, job: Job, visitor: Visitor) -> None:
        """Reserve disk space for a job, and queue it."""
        try:
            with self._headers, closing(UploadSource(job.video, job.options.selection, HEADER_LIMITS)) as source:
                plan = OutputPlan(job.options.outputs, job.options.camera, job.options.model.metric)
                job.disk = check_room(plan, source, self._options.max_frames, self._visitors.left(visitor))
                job.size = source.size
            job.keep = partial(visitor.keep, job)
            previous = visitor.job
            if not self._visitors.reserve(visitor, job.disk, job):
                raise Refusal("Your disk space on the server is used up. Wait until your other upload is finished.")
            try:
                self.queue.add(job)
            except Refusal:
                visitor.job = previous
                raise
        except BaseException:
            job.discard()
            raise

    def look(self, request: gr.Request) -> dict[Any, Any]:
        """Called once a second while a job is active: its progress, or the whole view once it has ended."""
        return self._on(request, partial(self._view, brief=True), timer=gr.update(active=False))

    def load(self, request: gr.Request) -> dict[Any, Any]:
        """Called when the page is opened: show the visitor's job and result."""
        return self._on(request, self._view)

    def cancel(self, request: gr.Request) -> dict[Any, Any]:
        """Cancel the visitor's job, running or waiting."""

        def end(visitor: Visitor) -> View:
            if visitor.job is not None:
                self.queue.cancel(visitor.job)
            return self._view(visitor)

        return self._on(request, end)

    def another(self) -> dict[Any, Any]:
        """Show the upload box in place of the video's name."""
        return self._shown({"status": READY, "video": gr.update(visible=True, value=None), **CHOSEN_AWAY})

    def show_relief(self, share: float | None, request: gr.Request) -> Any:
        """Show the frame at this position (0 to 1) of the result in 3D."""
        try:
            result = self._visitor(request).result
            if result is None or result.relief is None:
                return gr.skip()
            path, (around, down, distance) = result.relief.glb(share or 0.0)
        except Exception as error:
            return gr.update(label=message_of(error))
        label = f"Drag to look around; {'in metres' if result.relief.metric else 'true up to scale'}"
        # The file last: Gradio's viewer drops it when another property is set afterwards.
        return gr.update(label=label, camera_position=(around, down, BEHIND * distance), value=str(path))

    def _on(self, request: gr.Request, show: Callable[[Visitor], View], **failed: Any) -> dict[Any, Any]:
        try:
            return self._shown(show(self._visitor(request)))
        except Exception as error:
            return self._shown({"status": error_line(message_of(error)), **failed})

    def _shown(self, view: View) -> dict[Any, Any]:
        return {self.parts[name]: value for name, value in view.items()}

    def _visitor(self, request: gr.Request) -> Visitor:
        if request.state.stranger:  # see `Gate`
            raise Refusal("This page needs its cookie. Allow cookies for this address, then reload the page.")
        return self._visitors.get(request.state.owner, request.state.address)

    def _view(self, visitor: Visitor, brief: bool = False) -> View:
        """All that a visitor sees; brief: only the status while a job is active."""
        job, result, active = visitor.job, visitor.result, visitor.active_job() is not None
        view: View = {"status": self._status(job), "timer": gr.update(active=active)}
        if brief and active:
            return view
        view |= {"run": gr.update(visible=not active), "cancel": gr.update(visible=active)}
        view |= {"result": self._result(result, earlier=job is not result)}
        view |= {"look_around": gr.update(visible=result is not None), "relief": gr.update(visible=False, value=None)}
        shown = job if active else result
        if shown is not None:
            name = gr.update(value=f"Video: <b>{html.escape(shown.video.name)}</b>", visible=True)
            view |= {"video": gr.update(visible=False), "chosen": name, "another": gr.update(visible=not active)}
        elif job is not None:
            view |= {"video": gr.update(visible=True), **CHOSEN_AWAY}
        return view

    def example(self) -> str:
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
            f"<small>{with_unit(path.stat().st_size)}</small></a>"
            for words, path in job.files.items()
            if path.is_file()
        )
        side_by_side = job.files["Side by side (MP4)"]
        return f'{player(side_by_side, job.size, title)}<nav class="downloads" aria-label="Downloads">{links}</nav>'


def player(video: Path, size: tuple[int, int], title: str, still: Path | None = None) -> str:
    """A player (see static/page.js) for a video with source and depth side by side."""
    poster = f' poster="{file_address(still)}"' if still is not None else ""
    return (
        f'<depth-player src="{file_address(video)}" width="{size[1]}" height="{size[0]}"{poster}></depth-player>'
        f'<p class="title">{title}</p>'
    )


def file_address(path: Path) -> str:
    return f"gradio_api/file={quote(str(path))}"


def error_line(text: str) -> str:
    return f'<p class="error" role="alert">{text}</p>'


def limit_of(number: float | None, least: int = 1) -> int:
    """A number of the page, as `Selection` has it: -1 for no limit."""
    return max(int(number), least) if number is not None and number > 0 else -1


def target_fps_of(number: float | None) -> Any:
    """A frame rate of the page, as `Selection` has it: None for all frames."""
    if not number:
        return None
    if not LEAST_FPS <= number <= MOST_FPS:
        raise Refusal(
            f"A frame rate of {number:g} cannot be used: choose {LEAST_FPS:g} to {MOST_FPS:g} frames a second, or 0 to "
            "keep all frames."
        )
    return parse_target_fps(number)
