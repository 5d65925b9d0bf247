"""Messages, progress, and exit codes of the commands. Imports nothing heavy."""

from __future__ import annotations

import itertools
import logging
import os
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any, TextIO

from ..errors import INTERRUPTED, UserError, user_line
from ..files import let_go

if TYPE_CHECKING:
    from ..pipelines.driver import Progress

# Seconds between progress lines in a log file.
LOG_SECONDS = 10.0
FORMAT = "{l_bar}{bar}| {n_fmt}/{total_fmt} [{elapsed}, {rate_fmt}{postfix}]"
BAR: dict[str, Any] = {"unit": "frame", "smoothing": 0.05, "bar_format": FORMAT}
USER_ERROR = 2


class _Messages(logging.Handler):
    """Writes messages to standard error, above a progress bar if there is one; a closed pipe is ignored."""

    def emit(self, record: logging.LogRecord) -> None:
        from tqdm import tqdm

        prefix = "" if record.levelno <= logging.INFO else f"{record.levelname.lower()}: "
        text = f"{prefix}{escaped(record.getMessage())}"
        if record.exc_info:
            text += "\n" + logging.Formatter().formatException(record.exc_info)
        with suppress(OSError, ValueError):
            tqdm.write(encodable(text), file=sys.stderr)


class Console:
    """Shows progress on standard error, and closing lines on standard output.

    quiet: shows neither. lines_on_stderr: for when standard output carries video.
    """

    def __init__(self, quiet: bool = False, lines_on_stderr: bool = False) -> None:
        self._quiet = quiet
        self._lines_on_stderr = lines_on_stderr

    @contextmanager
    def progress(self, total: int | None, name: str) -> Iterator[Progress]:
        """Show frames, frames per second and the time left: a bar on a terminal, occasional lines in a log file.

        Yields a function to call with the progress.
        """
        if self._quiet:
            yield lambda *_: None
            return
        from tqdm import tqdm

        start = said = time.monotonic()
        finished = 0
        terminal = sys.stderr is not None and sys.stderr.isatty()
        # Terminals without a size, as in some containers, would show nothing.
        sized = terminal and os.get_terminal_size(sys.stderr.fileno()).columns > 0
        size: dict[str, Any] = {"dynamic_ncols": True} if sized else {"ncols": 80, "nrows": 24}

        def line(frames: int, work: float) -> None:
            rate = work / max(time.monotonic() - start, 1e-6)
            of = "" if total is None or frames > total else f"/{total}"
            left = _time_left(total, work, start)
            show(f"{name}: {frames}{of} frames, {rate:.2f} frames/s{', ' * bool(left)}{left}", sys.stderr)

        with tqdm(total=total, desc=encodable(name), disable=not terminal, **size, **BAR, file=sys.stderr) as bar:

            def advance(taken: int, done: int) -> None:
                nonlocal finished, said
                finished = done
                if terminal:
                    # The header's frame count may be too small; a bar should not exceed 100 %.
                    if bar.total is not None and taken > bar.total:
                        bar.total = None
                    bar.set_postfix_str(_time_left(bar.total, (taken + done) / 2, start), refresh=False)
                    bar.update(taken - bar.n)
                elif time.monotonic() - said >= LOG_SECONDS:
                    said = time.monotonic()
                    line(taken, (taken + done) / 2)

            try:
                yield advance
            finally:
                bar.n = finished
                if not terminal:
                    line(finished, finished)

    def say(self, line: str) -> None:
        """Show a closing line."""
        if not self._quiet:
            show(line, sys.stderr if self._lines_on_stderr else sys.stdout)


def show(line: str, stream: TextIO | None) -> None:
    """Print a line; a closed stream or pipe is ignored."""
    with suppress(OSError, ValueError):
        print(encodable(escaped(line)), file=stream, flush=True)


def escaped(text: str) -> str:
    """Escape control characters: file names may contain line ends, and commands to terminals."""
    return "".join(c if c.isprintable() or "\udc80" <= c <= "\udcff" else ascii(c)[1:-1] for c in text)


def encodable(text: str) -> str:
    """Replace what the console cannot encode: file names may have any encoding."""
    encoding = getattr(sys.stderr, "encoding", None) or "utf-8"
    return text.encode(encoding, errors="backslashreplace").decode(encoding, errors="replace")


@contextmanager
def progress(total: int | None, name: str) -> Iterator[Callable[[], None]]:
    """Like `Console.progress`, but yields a function to call after each frame."""
    counted = itertools.count(1)
    with Console().progress(total, name) as advance:
        yield lambda: advance(*[next(counted)] * 2)


def _time_left(total: int | None, work: float, start: float) -> str:
    """The time left, if known: half of the work is taking frames, half is returning their depth."""
    if total is None or not 0 < work < total:
        return ""
    return f"{(time.monotonic() - start) * (total - work) / work:.0f} s left"


def run_script(main: Callable[[], int], level: int = logging.INFO) -> int:
    """Run a command that returns an exit code; errors that a user can cause become one line on standard error.

    Returns:
        The exit code: 2 after a user error, 130 after an interruption.
    """
    logger = logging.getLogger()
    logger.handlers = [_Messages()]
    logger.setLevel(level)
    try:
        return main()
    except KeyboardInterrupt:
        show("interrupted", sys.stderr)
        return INTERRUPTED
    except Exception as error:
        line = user_line(error)
        if line is None:
            raise
        logger.debug("%s", type(error).__name__, exc_info=error)
        show(f"error: {line}", sys.stderr)
        return error.exit_code if isinstance(error, UserError) else USER_ERROR
    finally:
        _drop_what_cannot_be_written()


def _drop_what_cannot_be_written() -> None:
    """Discard output that cannot be written: Python would retry at exit, and change the exit code."""
    for stream in (sys.stdout, sys.stderr):
        try:
            if stream is not None:
                stream.flush()
        except (OSError, ValueError):
            let_go(stream)
