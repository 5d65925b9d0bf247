"""What the page is told, as data."""

from __future__ import annotations

from dataclasses import dataclass

from ..pipelines.options import ModelOptions


@dataclass(frozen=True)
class PageOptions:
    """The network that the page begins with, where it listens, and its limits.

    model: encoder, metric and input size are what the page begins with; the rest holds for every job. share: also a
    public address, through Gradio's servers. max_upload_mb: size of an uploaded video. max_frames: of one job.
    """

    model: ModelOptions = ModelOptions(backend="torch")  # noqa: RUF009 - immutable
    server_name: str = "127.0.0.1"
    server_port: int = 7860
    share: bool = False
    max_upload_mb: int = 200
    max_frames: int = 2000
