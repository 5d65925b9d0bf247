"""The command that writes the network as a file for other runtimes. Imports nothing heavy."""

from __future__ import annotations

import argparse
import logging
import sys
from collections.abc import Sequence
from pathlib import Path

from ..options import options_of
from ..pipelines.options import ModelOptions
from .arguments import add_option
from .console import run_script
from .parser import Parser, positive_int

FORMATS = ("onnx", "openvino")
FORMS = ("window", "step")
EPILOG = "docs/lab/export.md tells how to use the files."

logger = logging.getLogger(__name__)


def main(argv: Sequence[str] | None = None, prog: str = "vda export") -> int:
    """Run `vda export` with these arguments and return its exit code."""
    args = _parse(argv, prog)
    return run_script(lambda: _run(args))


def _parse(argv: Sequence[str] | None, prog: str) -> argparse.Namespace:
    description = "Export the network as an ONNX or OpenVINO file: for a window of frames, or one step of a stream."
    parser = Parser(prog=prog, description=description, epilog=EPILOG)
    parser.add_argument("--format", choices=FORMATS, default="onnx", help="format of the file")
    what = "window: up to 32 frames of any size; step: one frame of a fixed size, with the state of those before"
    parser.add_argument("--form", choices=FORMS, default="window", help=what)
    parser.add_argument("--fp16", action="store_true", help="half precision: a file of half the size")
    parser.add_argument("--output", type=Path, metavar="FILE", help="file to write (default: named after its content)")
    for option in options_of(ModelOptions):
        if option.name in ("encoder", "metric", "checkpoint"):
            add_option(parser, option)
    size = "step, OpenVINO: shorter side of the input"
    parser.add_argument("--input_size", type=positive_int, default=518, metavar="PIXELS", help=size)
    frame = "step, OpenVINO: width and height of the video's frames (default: 1920 1080)"
    parser.add_argument(
        "--frame_size", type=positive_int, nargs=2, default=(1920, 1080), metavar=("W", "H"), help=frame
    )
    return parser.parse_args(argv)


def _run(args: argparse.Namespace) -> int:
    from ..checkpoint import choose_weights, load_model
    from ..exports.files import ENDINGS, export_step, export_window
    from ..transform import network_size

    encoder, checkpoint = choose_weights(args.encoder, args.metric, args.checkpoint)
    model = load_model(encoder, args.metric, checkpoint, "cpu")
    height, width = network_size(args.frame_size[1], args.frame_size[0], args.input_size)
    size = f"_{width}x{height}" if args.form == "step" or args.format == "openvino" else ""
    precision = "fp16" if args.fp16 else "fp32"
    path = args.output or Path(f"{checkpoint.stem}_{args.form}{size}_{precision}")
    path = path.with_name(path.name.removesuffix(ENDINGS[args.format]) + ENDINGS[args.format])
    logger.info("exporting %s; this takes about a minute", path)
    if args.form == "step":
        export_step(model, (height, width), path, args.fp16)
    else:
        export_window(model, path, args.fp16, (height, width))
    print(path)
    return 0


if __name__ == "__main__":
    sys.exit(main())
