"""What the page is told, as data."""

from __future__ import annotations

from dataclasses import dataclass

from ..pipelines.options import ModelOptions


@dataclass(frozen=True)
class PageOptions:
    """The network that the page begins with, where it listens, and its limits.

    Attributes:
        model: encoder, metric and input size are what the page begins with; the rest holds for every job.
        server_name: address to listen at.
        server_port: port to listen at.
        share: also a public address, through Gradio's servers.
        browser: open the page in the user's browser.
        max_upload_mb: size of an uploaded video.
        max_frames: of one job.
        max_visitor_mb: on disk, a visitor's uploads and results together.
        max_waiting: jobs that wait, of all visitors.
        max_jobs: of one visitor, running or waiting.
    """

    model: ModelOptions = ModelOptions(backend="torch")  # noqa: RUF009 - immutable
    server_name: str = "127.0.0.1"
    server_port: int = 7860
    share: bool = False
    browser: bool = False
    max_upload_mb: int = 200
    max_frames: int = 2000
    max_visitor_mb: int = 2000
    max_waiting: int = 8
    max_jobs: int = 2

    def limits_line(self) -> str:
        """What a visitor is told of the limits."""
        return (
            f"One video is computed at a time; up to {self.max_waiting} wait, {self.max_jobs} for each visitor. Videos "
            f"may have {self.max_upload_mb} MB and {self.max_frames} frames. Your files are seen by nobody else, and "
            "removed when you close this page."
        )
