"""The page's options."""

from __future__ import annotations

from dataclasses import dataclass

from ..options import BadValue, option, positive_int
from ..pipelines.options import ModelOptions


def login(text: str) -> tuple[str, str]:
    user, _, password = text.partition(":")
    if not user or not password:
        raise BadValue("must be USER:PASSWORD, neither of them empty")
    return user, password


@dataclass(frozen=True)
class PageOptions:
    """The network that the page begins with, where it listens, who may use it, and its limits.

    model: encoder, metric and input size are what the page begins with; the rest holds for every job.
    """

    # OpenVINO prepares the network for each size of video, for seconds, and keeps that in memory: visitors bring any.
    model: ModelOptions = ModelOptions(backend="torch")
    server_name: str = option("127.0.0.1", "address to listen on; 0.0.0.0: the whole network", metavar="ADDRESS")
    server_port: int = option(7860, "port to listen on", positive_int, metavar="PORT")
    share: bool = option(False, "also create a public address, through Gradio's servers")
    auth: tuple[str, str] | None = option(
        None, "user name and password that visitors must give (default: none)", login, metavar="USER:PASSWORD"
    )
    allowed_hosts: tuple[str, ...] = option(
        (),
        "host names under which the page may be opened, besides this machine's own",
        tuple,
        nargs="+",
        metavar="NAME",
    )
    max_upload_mb: int = option(200, "maximum size of an uploaded video, in megabytes", positive_int, metavar="MB")
    max_frames: int = option(2000, "maximum number of frames per job", positive_int, metavar="FRAMES")
    max_visitor_mb: int = option(
        2000, "disk space for a visitor's uploads and results, in megabytes", positive_int, metavar="MB"
    )
    max_waiting: int = option(8, "maximum number of waiting jobs, of all visitors", positive_int, metavar="JOBS")
    max_camera_mb: int = option(2000, "memory for all live cameras together, in megabytes", positive_int, metavar="MB")
    no_browser: bool = option(False, "do not open the page in the browser")
