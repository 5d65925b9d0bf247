"""Error messages for visitors: sentences that say what to do."""

from __future__ import annotations

import errno
import html
import logging
import re

from ..errors import CheckpointError, DeviceError, InputError, OutputError, UsageError, UserError, user_line
from .uploads import UploadError

logger = logging.getLogger(__name__)

FULL = (
    "The server has no room on its disk for this result. Choose fewer files to download or fewer frames, or try again "
    "later."
)
MEMORY = "The server ran out of memory with this video. Choose less detail or a smaller frame size, and try again."
WRITING = (
    "The server could not write the result, so nothing was kept. Try again; if it happens again, tell the person who "
    "runs this page."
)
MODEL = "The model cannot be used on this server. Tell the person who runs this page: its log has the reason."
BUG = (
    "Something went wrong on the server; your video is not to blame. Try again; if it happens again, tell the person "
    "who runs this page: its log has more."
)


class Refusal(UserError):
    """A request of a visitor is refused; the message says why, and what to do."""


def message_of(error: BaseException) -> str:
    """The message for a visitor, as HTML. Errors that only the operator can fix are logged."""
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
    if isinstance(error, (OutputError, OSError)):
        return FULL if is_full(error) else WRITING
    return BUG if isinstance(error, UserError) else MEMORY


def is_full(error: BaseException | None) -> bool:
    """Whether an output failed because the disk, or its quota, is full, whatever the words in its path."""
    if re.search(r"\d [kMGT]?B are free in ", str(error)):
        return True
    while error is not None and not (isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT)):
        error = error.__cause__ or error.__context__
    return error is not None
