"""What the scripts share: messages, progress, and how errors end a run. Imports nothing heavy."""

from __future__ import annotations

import logging
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager


class _Console(logging.Handler):
    """Messages on standard error, above a progress bar if there is one."""

    def emit(self, record: logging.LogRecord) -> None:
        from tqdm import tqdm

        prefix = "" if record.levelno <= logging.INFO else f"{record.levelname.lower()}: "
        tqdm.write(f"{prefix}{record.getMessage()}", file=sys.stderr)


@contextmanager
def progress(total: int | None, name: str) -> Iterator[Callable[[], None]]:
    """A bar with frames done, frames per second and the time left; yields the function to call after each frame."""
    from tqdm import tqdm

    with tqdm(total=total, desc=name, unit="frame", file=sys.stderr, dynamic_ncols=True, smoothing=0.05) as bar:

        def advance() -> None:
            # A file's frame count is a claim; a bar beyond 100 % helps nobody.
            if bar.total is not None and bar.n >= bar.total:
                bar.total = None
            bar.update()

        yield advance


def peak_memory() -> str:
    """Most memory this process has held resident so far, and on the GPU if one was used."""
    try:
        import resource
    except ImportError:
        text = "unknown on this system"
    else:
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        text = f"{peak / (2**30 if sys.platform == 'darwin' else 2**20):.2f} GiB"
    torch = sys.modules.get("torch")
    if torch is not None and torch.cuda.is_available() and torch.cuda.max_memory_allocated():
        text += f" (GPU {torch.cuda.max_memory_allocated() / 2**30:.2f} GiB)"
    return text


def run_script(main: Callable[[], int]) -> int:
    """Run a script's main function; errors that a user can cause become one line on standard error and exit code 2."""
    logger = logging.getLogger()
    logger.handlers = [_Console()]
    logger.setLevel(logging.INFO)
    # Being told to end is no reason to leave files half written.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        return main()
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return 130
    except Exception as error:
        line = user_error(error)
        if line is None:
            raise
        print(f"error: {line}", file=sys.stderr)
        return 2


def user_error(error: Exception) -> str | None:
    """One line for an error that is the user's or the machine's, None for one that is ours."""
    from .files import OutputError
    from .ranks import RankError
    from .video_source import VideoError

    if isinstance(error, (VideoError, OutputError, RankError)):
        return str(error)
    # These bring torch along, which takes seconds.
    from video_depth_anything.checkpoint import CheckpointError
    from video_depth_anything.device import DeviceError

    if isinstance(error, (CheckpointError, DeviceError)):
        return str(error)
    if isinstance(error, OSError):
        return f"{error.filename}: {error.strerror}" if error.filename else str(error)
    if isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError":
        return "out of memory; try a smaller --input_size, --max_res or --encoder"
    return None
