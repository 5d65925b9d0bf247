"""Errors that a user or a machine causes. Any other error is a bug, and shows its traceback."""

from __future__ import annotations

# Messages of out-of-memory errors in PyTorch: on a CPU, on MPS, in CUDA itself and in its libraries.
LACKS_OF_MEMORY = (
    "DefaultCPUAllocator",
    "MPS backend out of memory",
    "CUDA error: out of memory",
    "CUDNN_STATUS_ALLOC_FAILED",
    "CUBLAS_STATUS_ALLOC_FAILED",
    "(-4:Insufficient memory)",  # OpenCV
    "std::bad_alloc",
)


# Exit code after an interruption by the user.
INTERRUPTED = 130


class UserError(Exception):
    """An error that the user can correct; the message is one line that names the file or flag and the remedy.

    `exit_code` is that of the command.
    """

    exit_code = 2


class UsageError(UserError):
    """An option, or a combination of options, is invalid; the message names the flag."""


class InputError(UserError):
    """An input is missing, or cannot be read."""


class BrokenOffError(InputError):
    """An address, a pipe or a device stopped in mid-stream; its reader raises this after the last frame."""

    exit_code = 1


class OutputError(UserError):
    """An output cannot be written."""


class CheckpointError(UserError, ValueError):
    """A checkpoint is missing, unreadable or made for another network."""


class DeviceError(UserError, ValueError):
    """The wanted device, precision or backend is not available on this machine."""


class NonFiniteError(UserError):
    """The network computes no finite depth for a frame; the message names the frames."""

    exit_code = 1


class RankError(UserError):
    """Another rank failed, or the run was ended from outside; the message says which rank, where, and why."""


def user_line(error: BaseException) -> str | None:
    """Describe an error to the user in one line; None if the error is a bug.

    Errors of the operating system (no space, no permission, no such file) and of memory are not bugs.
    """
    if isinstance(error, UserError):
        return str(error)
    if isinstance(error, OSError) and error.strerror:
        return f"{error.filename}: {error.strerror}" if error.filename else error.strerror
    if is_out_of_memory(error):
        return "out of memory; try a smaller --input_size, --frames_at_once, --max_res or --encoder"
    return None


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an error means that the device or the machine has no memory left, in any wording of PyTorch's parts."""
    if isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError":
        return True
    return any(words in str(error) for words in LACKS_OF_MEMORY)
