"""From the command line's words to the page's options."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from .arguments import add_model_arguments, add_verbosity, model_options
from .parser import Parser, positive_int

if TYPE_CHECKING:
    from ..web.options import PageOptions


def page_parser(prog: str, description: str | None) -> Parser:
    """The parser of `vda app`. Encoder, metric and input size are what the page begins with."""
    parser = Parser(prog=prog, description=description)
    add_model_arguments(parser)
    # OpenVINO prepares the network for each size of video, for seconds, and keeps that in memory: visitors bring any.
    parser.set_defaults(backend="torch")
    group = parser.add_argument_group("page")
    where = "address to listen at; 0.0.0.0: the whole network"
    group.add_argument("--server_name", default="127.0.0.1", metavar="ADDRESS", help=where)
    group.add_argument("--server_port", type=positive_int, default=7860, metavar="PORT", help="port to listen at")
    group.add_argument("--share", action="store_true", help="also a public address, through Gradio's servers")
    size = "size of an uploaded video at most, in megabytes"
    group.add_argument("--max_upload_mb", type=positive_int, default=200, metavar="MB", help=size)
    length = "number of frames of a job at most"
    group.add_argument("--max_frames", type=positive_int, default=2000, metavar="FRAMES", help=length)
    disk = "room on disk for a visitor's uploads and results, in megabytes"
    group.add_argument("--max_visitor_mb", type=positive_int, default=2000, metavar="MB", help=disk)
    waiting = "number of jobs that may wait, of all visitors"
    group.add_argument("--max_waiting", type=positive_int, default=8, metavar="JOBS", help=waiting)
    group.add_argument("--no_browser", action="store_true", help="do not open the page in the browser")
    add_verbosity(parser)
    return parser


def page_options(args: argparse.Namespace) -> PageOptions:
    """What `page_parser` has parsed."""
    from ..web.options import PageOptions

    return PageOptions(
        model=model_options(args),
        server_name=args.server_name,
        server_port=args.server_port,
        share=args.share,
        max_upload_mb=args.max_upload_mb,
        max_frames=args.max_frames,
        max_visitor_mb=args.max_visitor_mb,
        max_waiting=args.max_waiting,
        browser=not args.no_browser,
    )
