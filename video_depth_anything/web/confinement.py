"""Sandbox of the decoder processes: limits on memory, time and open files, and access to their own file only.

`resource` limits exist on every Unix. On Linux, Landlock also removes access to other files and to the network.
Where one of them is not available, the other still applies.
"""

from __future__ import annotations

import contextlib
import ctypes
import logging
import os
import struct
import sys
import sysconfig
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

logger = logging.getLogger(__name__)

# Constants of linux/landlock.h, the same on every architecture.
CREATE_RULESET, ADD_RULE, RESTRICT_SELF = 444, 445, 446
CREATE_RULESET_VERSION, RULE_PATH_BENEATH = 1, 1
NO_NEW_PRIVILEGES = 38
WRITE_FILE, READ_FILE, READ_DIR = 1 << 1, 1 << 2, 1 << 3
MAKE_REG, TRUNCATE = 1 << 8, 1 << 14
# File access rights by ABI version, beginning with version 1; versions after the last add none.
RIGHTS_BY_VERSION = ((1 << 13) - 1, (1 << 14) - 1, (1 << 15) - 1, (1 << 15) - 1, (1 << 16) - 1)
# From ABI version 4: bind and connect TCP sockets. From version 6: abstract sockets, signals to other processes.
NETWORK, SCOPES = 0b11, 0b11


@dataclass(frozen=True)
class DecoderLimits:
    """Limits of one decoder process."""

    memory_mb: int = 3000  # address space, code included
    cpu_seconds: int = 900
    open_files: int = 64
    file_mb: int = 0  # maximum size of a file that it writes
    patience: float = 60.0  # time-out in seconds for the next frame
    max_pixels: int = 4096 * 2304  # height times width of a frame


def confine(limits: DecoderLimits, readable: Iterable[Path], writable: Iterable[Path] = ()) -> list[str]:
    """Restrict this process permanently to these files and Python's own; return the mechanisms that apply."""
    holds = []
    try:
        import resource
    except ImportError:  # Windows
        pass
    else:
        for name, value in (
            ("RLIMIT_AS", limits.memory_mb << 20),
            ("RLIMIT_CPU", limits.cpu_seconds),
            ("RLIMIT_NOFILE", limits.open_files),
            ("RLIMIT_FSIZE", limits.file_mb << 20),
            ("RLIMIT_CORE", 0),
        ):
            # macOS does not support RLIMIT_AS.
            with contextlib.suppress(ValueError, OSError, AttributeError):
                # The soft limit's signal tells what happened; the hard limit kills.
                hard = value + 5 if name == "RLIMIT_CPU" else value
                resource.setrlimit(getattr(resource, name), (value, hard))
        holds.append("resource")
    if sys.platform == "linux" and _landlock(readable, writable):
        holds.append("landlock")
    return holds


def _landlock(readable: Iterable[Path], writable: Iterable[Path]) -> bool:
    """Restrict file access to these and the interpreter's files, and close the network; whether that is supported."""
    libc = ctypes.CDLL(None, use_errno=True)
    version = libc.syscall(CREATE_RULESET, None, ctypes.c_size_t(0), CREATE_RULESET_VERSION)
    if version < 1:
        return False
    rights = RIGHTS_BY_VERSION[min(version, len(RIGHTS_BY_VERSION)) - 1]
    handled = struct.pack("=Q", rights)
    if version >= 4:
        handled += struct.pack("=Q", NETWORK)
    if version >= 6:
        handled += struct.pack("=Q", SCOPES)
    rules = libc.syscall(CREATE_RULESET, handled, ctypes.c_size_t(len(handled)), 0)
    if rules < 0:
        return False
    try:
        for path in (*_own_folders(), *readable):
            _allow(libc, rules, path, rights & (READ_FILE | READ_DIR if path.is_dir() else READ_FILE))
        for path in writable:
            _allow(libc, rules, path, rights & (READ_FILE | WRITE_FILE | MAKE_REG | TRUNCATE))
        return libc.prctl(NO_NEW_PRIVILEGES, 1, 0, 0, 0) == 0 and libc.syscall(RESTRICT_SELF, rules, 0) == 0
    finally:
        os.close(rules)


def package_folders() -> list[Path]:
    """Folders of installed packages on the import path."""
    return [Path(name) for name in sys.path if Path(name).name in ("site-packages", "dist-packages")]


def _own_folders() -> set[Path]:
    """Folders of the interpreter, its packages and the system's libraries: some modules are imported late."""
    names = [sysconfig.get_path(name) for name in ("stdlib", "platstdlib", "purelib", "platlib")]
    # The package alone: in a clone of the repository, no other file needs to be readable.
    own = [Path(__file__).resolve().parents[1], Path(sys.base_prefix) / "lib"]
    own += map(Path, ("/lib", "/lib64", "/usr/lib", "/usr/lib64", "/usr/local/lib", "/proc/self"))
    own += [Path("/sys/devices/system/cpu")]
    return {path for path in (*map(Path, filter(None, names)), *package_folders(), *own) if path.is_dir()}


def _allow(libc: ctypes.CDLL, rules: int, path: Path, rights: int) -> None:
    with contextlib.suppress(FileNotFoundError, PermissionError):
        where = os.open(path, os.O_PATH | os.O_CLOEXEC)
        try:
            rule = struct.pack("=Qi", rights, where)
            if libc.syscall(ADD_RULE, rules, RULE_PATH_BENEATH, rule, 0):
                logger.warning("the kernel rejected a rule for %s: %s", path, os.strerror(ctypes.get_errno()))
        finally:
            os.close(where)
