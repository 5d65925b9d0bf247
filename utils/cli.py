"""What the scripts share: arguments, messages, progress, and how errors end a run. Imports nothing heavy."""

from __future__ import annotations

import argparse
import logging
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from fractions import Fraction
from pathlib import Path

from video_depth_anything.config import DEVICES, ENCODERS, PRECISIONS

EXAMPLE_VIDEO = Path(__file__).resolve().parents[1] / "assets" / "example_videos" / "box.mp4"


def add_model_arguments(parser: argparse.ArgumentParser) -> None:
    """Which weights, where, and in which precision."""
    group = parser.add_argument_group("model")
    group.add_argument("--encoder", choices=ENCODERS, default="vitl", help="size of the model (default: %(default)s)")
    group.add_argument(
        "--metric", action="store_true", help="use the metric weights: depth in metres, and point clouds"
    )
    group.add_argument("--checkpoint", type=Path, help="weights file (default: checkpoints/<public name>)")
    group.add_argument("--input_size", type=positive_int, default=518, help="shorter side of the network's input")
    group.add_argument("--device", choices=DEVICES, default="auto", help="where to compute (default: %(default)s)")
    group.add_argument(
        "--precision",
        choices=PRECISIONS,
        default="auto",
        help="auto: fp16 on CUDA, bf16 on a CPU that has it in hardware, else fp32",
    )
    group.add_argument("--fp32", action="store_true", help="the same as --precision fp32, and stronger")


def positive_int(text: str) -> int:
    """Argument type: a whole number above zero."""
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError(f"{text} is not a positive number")
    return value


def limit(text: str) -> int:
    """Argument type: a whole number above zero, or -1 for no limit."""
    return -1 if text == "-1" else positive_int(text)


def frame_rate(text: str) -> Fraction | None:
    """Argument type: a positive number or fraction of frames per second; None for -1, all frames."""
    try:
        rate = Fraction(text)
    except (ValueError, ZeroDivisionError) as error:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number or fraction") from error
    if rate == -1:
        return None
    if rate <= 0:
        raise argparse.ArgumentTypeError(f"{text} is not positive; -1 keeps all frames")
    return rate


def positive_float(text: str) -> float:
    """Argument type: a number above zero."""
    value = float(text)
    if not 0 < value < float("inf"):
        raise argparse.ArgumentTypeError(f"{text} is not a positive number")
    return value


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


def peak_memory() -> float:
    """Most memory this process has held resident so far, in GiB; nan where the system does not tell."""
    try:
        import resource
    except ImportError:
        return float("nan")
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return float(peak) / (2**30 if sys.platform == "darwin" else 2**20)


def run_script(main: Callable[[], int]) -> int:
    """Run a script's main function; errors that a user can cause become one line on standard error and exit code 2."""
    logger = logging.getLogger()
    logger.handlers = [_Console()]
    logger.setLevel(logging.INFO)
    try:
        return main()
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return 130
    except Exception as error:
        line = _user_error(error)
        if line is None:
            raise
        print(f"error: {line}", file=sys.stderr)
        return 2


def _user_error(error: Exception) -> str | None:
    """One line for an error that is the user's or the machine's, None for one that is ours."""
    from video_depth_anything.checkpoint import CheckpointError
    from video_depth_anything.device import DeviceError

    from .dc_utils import VideoError
    from .files import OutputError

    if isinstance(error, (CheckpointError, DeviceError, VideoError, OutputError)):
        return str(error)
    if isinstance(error, OSError):
        return f"{error.filename}: {error.strerror}" if error.filename else str(error)
    if isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError":
        return "out of memory; try a smaller --input_size, --max_res or --encoder"
    return None
