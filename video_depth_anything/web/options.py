"""What the page is told, as data."""

from __future__ import annotations

from dataclasses import dataclass

from ..options import option, positive_int
from ..pipelines.options import ModelOptions


@dataclass(frozen=True)
class PageOptions:
    """The network that the page begins with, where it listens, and its limits.

    model: encoder, metric and input size are what the page begins with; the rest holds for every job. max_jobs: of one
    visitor, running or waiting.
    """

    # OpenVINO prepares the network for each size of video, for seconds, and keeps that in memory: visitors bring any.
    model: ModelOptions = ModelOptions(backend="torch")
    server_name: str = option("127.0.0.1", "address to listen at; 0.0.0.0: the whole network", metavar="ADDRESS")
    server_port: int = option(7860, "port to listen at", positive_int, metavar="PORT")
    share: bool = option(False, "also a public address, through Gradio's servers")
    max_upload_mb: int = option(200, "size of an uploaded video at most, in megabytes", positive_int, metavar="MB")
    max_frames: int = option(2000, "number of frames of a job at most", positive_int, metavar="FRAMES")
    max_visitor_mb: int = option(
        2000, "room on disk for a visitor's uploads and results, in megabytes", positive_int, metavar="MB"
    )
    max_waiting: int = option(8, "number of jobs that may wait, of all visitors", positive_int, metavar="JOBS")
    no_browser: bool = option(False, "do not open the page in the browser")
    max_jobs: int = 2

    def limits_line(self) -> str:
        """What a visitor is told of the limits."""
        return (
            f"One video is computed at a time; up to {self.max_waiting} wait, {self.max_jobs} for each visitor. Videos "
            f"may have {self.max_upload_mb} MB and {self.max_frames} frames. Your files are seen by nobody else, and "
            "removed when you close this page."
        )
