"""What the page says when something goes wrong: sentences for visitors, with what to do."""

from __future__ import annotations

import errno
import html
import logging

from ..errors import CheckpointError, DeviceError, InputError, OutputError, UsageError, UserError, user_line
from .turns import Refusal
from .uploads import UploadError

logger = logging.getLogger(__name__)

FULL = (
    "The server has no room on its disk for this result. Choose fewer files to download or fewer frames, or try again "
    "later."
)
MEMORY = "The server ran out of memory with this video. Choose less detail or a smaller frame size, and try again."
WRITING = "The server could not write the result, so nothing was kept. Try again; tell who runs this page if it stays."
MODEL = "The model cannot be used on this server. Tell who runs this page: its log says why."
BUG = (
    "Something went wrong on the server; the video is not to blame. Try again; if it happens again, tell who runs this "
    "page: its log says more."
)


def message_of(error: BaseException) -> str:
    """What to tell a visitor about an error, as HTML; what only who runs the page can mend goes to the log.

    Args:
        error: anything that was raised.
    """
    if isinstance(error, (Refusal, UploadError)):
        return html.escape(str(error))
    if isinstance(error, UsageError):
        return html.escape(f"A setting cannot be used: {str(error).removeprefix('--')}. Change it and try again.")
    line = user_line(error)
    if line is None:
        logger.error("a job failed", exc_info=error)
        return BUG
    logger.warning("a job failed: %s", line)
    if isinstance(error, (CheckpointError, DeviceError)):
        return MODEL
    if isinstance(error, InputError):
        return "The video cannot be read: it may be damaged. Convert it to MP4 (H.264) and try again."
    if isinstance(error, OutputError):
        return FULL if "free" in line or "space" in line else WRITING
    if isinstance(error, OSError):
        return FULL if error.errno in (errno.ENOSPC, errno.EDQUOT) else WRITING
    return BUG if isinstance(error, UserError) else MEMORY
