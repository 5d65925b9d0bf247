"""The command `vda`, and the scripts that call its subcommands."""

from __future__ import annotations

import argparse
import difflib
import logging
import os
import sys
from collections.abc import Callable, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import NoReturn

from ..version import __version__
from .console import USER_ERROR, Console, run_script, show

USAGE = """usage: vda [--version] COMMAND ...

Consistent depth for videos.

commands:
  run      temporally consistent depth of video files
  stream   depth of a camera, a live stream or a file, frame by frame
  app      a web page: upload a video, get its depth
  weights  download the public checkpoints
  export   the network as an ONNX or OpenVINO file

`vda COMMAND --help` shows its options; `vda CLIP.mp4` is short for `vda run CLIP.mp4`.
"""
# Spins of an idle thread of GNU OpenMP before it sleeps; docs/lab/speed.md compares other values.
SPIN_COUNT = "3000"
# Characters that tell an input from a mistyped command: a path, an ending, an address, a pattern.
INPUT_MARKS = set("./\\:*?%#@")


def spin_less() -> None:
    """Let waiting threads of PyTorch sleep soon; call it before PyTorch is imported.

    In small operations they wait a thousand times per frame. If each wait spins for milliseconds, a busy machine takes
    ten times as long, and OpenVINO's threads lose their processor.
    """
    if "OMP_WAIT_POLICY" not in os.environ:
        os.environ.setdefault("GOMP_SPINCOUNT", SPIN_COUNT)


def run(words: Sequence[str], prog: str) -> int:
    """Compute temporally consistent depth of videos, and write it as video and as data."""
    return _compute(words, prog, run.__doc__, streaming=False)


def stream(words: Sequence[str], prog: str) -> int:
    """Compute the depth of a camera, a live stream or a file, frame by frame, as frames arrive."""
    return _compute(words, prog, stream.__doc__, streaming=True)


def _compute(words: Sequence[str], prog: str, description: str | None, streaming: bool) -> int:
    from ..pipelines.options import RunOptions, StreamingOptions
    from .arguments import inputs_of, options_in, run_parser

    args = run_parser(prog, description, streaming).parse_args(words)

    def work() -> int:
        options = options_in(RunOptions, args)
        beside_openvino = (
            options.model.backend != "torch" and not options.model.compile and find_spec("openvino") is not None
        )
        if streaming or beside_openvino:
            spin_less()  # PyTorch then does only the small operations
        # Heavy imports wait until the arguments are known.
        from ..pipelines.commands import run_offline, run_streaming

        console = Console(args.quiet, lines_on_stderr=streaming)
        if streaming:
            own = options_in(StreamingOptions, args)
            return run_streaming(options, own, inputs_of(args), console.progress, console.say)
        return run_offline(options, inputs_of(args), console.progress, console.say)

    return run_script(work, level_of(args))


def app(words: Sequence[str], prog: str) -> int:
    """Serve a web page that computes depth: upload or record a video, view the result, download it."""
    from ..web.options import PageOptions
    from .arguments import options_in, page_parser

    args = page_parser(prog, app.__doc__).parse_args(words)

    def work() -> int:
        from ..web.server import serve

        return serve(options_in(PageOptions, args))

    return run_script(work, level_of(args))


def weights(words: Sequence[str], prog: str) -> int:
    """Download the public checkpoints."""
    from .weights import main

    return main(words, prog)


def export(words: Sequence[str], prog: str) -> int:
    """Write the network as a file for other runtimes."""
    from .export import main

    return main(words, prog)


COMMANDS: dict[str, Callable[[Sequence[str], str], int]] = {
    "run": run,
    "stream": stream,
    "app": app,
    "weights": weights,
    "export": export,
}


def level_of(args: argparse.Namespace) -> int:
    """The log level that the user wants."""
    return logging.DEBUG if args.verbose else logging.WARNING if args.quiet else logging.INFO


def main(words: Sequence[str] | None = None) -> int:
    """Run the command `vda` with these arguments, or those of the process, and return an exit code."""
    words = sys.argv[1:] if words is None else list(words)
    first = words[0] if words else "help"
    if first == "help" and words[1:] and words[1] in COMMANDS:
        return COMMANDS[words[1]](["--help"], f"vda {words[1]}")
    if first in ("help", "-h", "--help"):
        print(USAGE, end="")
        return 0
    if first in ("version", "--version"):
        print(f"vda {__version__}")
        return 0
    if first in COMMANDS:
        return COMMANDS[first](words[1:], f"vda {first}")
    if not first.startswith("-") and not INPUT_MARKS & set(first) and not Path(first).exists():
        near = difflib.get_close_matches(first, [*COMMANDS, "help", "version"], 1)
        hint = f"; did you mean `vda {near[0]}`?" if near else ""
        show(f"error: {first!r} is not a command or a file{hint}", sys.stderr)
        show("see `vda --help`", sys.stderr)
        return USER_ERROR
    return run(words, "vda run")


def script(name: str, prog: str) -> NoReturn:
    """Run a command under the original's name: run.py, run_streaming.py, app.py."""
    if sys.argv[1:] == ["--version"]:
        sys.exit(main(["version"]))
    sys.exit(COMMANDS[name](sys.argv[1:], prog))
