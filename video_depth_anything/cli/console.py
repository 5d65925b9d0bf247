"""What the scripts share: messages, progress, and how errors end a run. Imports nothing heavy."""

from __future__ import annotations

import logging
import signal
import sys
from collections.abc import Callable

from ..errors import user_line


class _Console(logging.Handler):
    """Messages on standard error, above a progress bar if there is one."""

    def emit(self, record: logging.LogRecord) -> None:
        from tqdm import tqdm

        prefix = "" if record.levelno <= logging.INFO else f"{record.levelname.lower()}: "
        tqdm.write(f"{prefix}{record.getMessage()}", file=sys.stderr)


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
        line = user_line(error)
        if line is None:
            raise
        print(f"error: {line}", file=sys.stderr)
        return 2
