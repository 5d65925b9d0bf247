"""Where outputs are made until they are whole: a hidden folder beside their final names, and the lock of these names.

Whoever holds the lock `.NAME.run-lock` owns all that is called `.NAME.partial-*`. The lock is the process's: it ends
with it, however it ends, so that what nobody holds was left by a run that was killed.
"""

from __future__ import annotations

import contextlib
import hashlib
import logging
import os
import re
import shutil
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from ..errors import OutputError
from .ownership import Ownership, is_output, outputs_in

logger = logging.getLogger(__name__)

# Hidden names carry the output's name, which may be as long as a file system allows.
LONGEST_KEY = 160
# Another run that only looks whether a lock is free holds it for a moment.
PATIENCE = 1.0
# A record is written in milliseconds, by whoever finished, without the lock.
OLD_RECORD = 60.0
# File systems count bytes.
LONGEST_NAME = 255

_STAGED = re.compile(r"\.(?P<key>.+)\.partial-\d+-\w+")
_LOCK = re.compile(r"\.(?P<key>.+)\.run-lock")
# What earlier versions wrote in place.
_OLD = re.compile(
    r"\.(partial|finished|copied)_\.?(?P<name>.+?)"
    r"(_src\.mp4|_vis\.mp4|_depths\.npz|_depths16\.mkv|_depths16\.json|_point\d+\.ply|_run\.json)"
)


def key_of(name: str) -> str:
    """What stands for an output's name in hidden names: the name, or the beginning of a long one and its hash."""
    data = os.fsencode(name)
    if len(data) <= LONGEST_KEY:
        return name
    return f"{data[: LONGEST_KEY - 20].decode(errors='ignore')}~{hashlib.sha256(data).hexdigest()[:16]}"


def check_length(folder: Path, name: str, longest_ending: str) -> None:
    """Refuse a name that is too long with what is added to it.

    Raises:
        OutputError: naming it, and by how much it is too long.
    """
    longest = LONGEST_NAME
    with contextlib.suppress(OSError, ValueError, AttributeError):
        longest = os.pathconf(folder, "PC_NAME_MAX")
    excess = len(os.fsencode(f"{name}{longest_ending}")) - longest
    if excess > 0:
        raise OutputError(
            f"the name {name[:40]}... is too long by {excess} bytes for its outputs (such as NAME{longest_ending}) in "
            f"{folder}; rename the input"
        )


@contextlib.contextmanager
def _held(folder: Path, key: str, patience: float = 0.0) -> Iterator[bool]:
    """Hold the lock of a key, if it is free within so many seconds, and say whether it is."""
    from filelock import FileLock, Timeout

    path = folder / f".{key}.run-lock"
    lock = FileLock(path, thread_local=False)
    try:
        lock.acquire(timeout=patience)
    except Timeout:
        yield False
        return
    try:
        yield True
    finally:
        # While it is held: whoever opened it meanwhile finds that it has no name any more, and begins anew.
        with contextlib.suppress(OSError):
            path.unlink()
        lock.release()


def remove_abandoned(folder: Path) -> list[str]:
    """Remove what runs that do not live any more left unfinished in a folder of outputs.

    That is hidden folders of outputs in the making, with the depth spooled in them, locks, and hidden files of earlier
    versions. What a living process holds stays, and so does whatever is called otherwise.

    Args:
        folder: of outputs; nothing happens if it is not there.

    Returns:
        The names of what was removed, locks left out.
    """
    removed: list[str] = []
    if not folder.is_dir():
        return removed
    found: dict[str, list[Path]] = {}
    for path in sorted(folder.iterdir()):
        match = _STAGED.fullmatch(path.name) or _LOCK.fullmatch(path.name)
        old = _OLD.fullmatch(path.name)
        if match is not None:
            found.setdefault(match["key"], []).append(path)
        elif old is not None and not (path.name.endswith("_run.json") and _is_new(path)):
            found.setdefault(key_of(old["name"]), []).append(path)
    for key, paths in found.items():
        with contextlib.suppress(OSError), _held(folder, key) as free:
            for path in paths if free else ():
                if _LOCK.fullmatch(path.name):
                    continue  # goes as it is let go
                _remove(path)
                removed.append(path.name)
    if removed:
        logger.info("%s: removed what an ended run left unfinished: %s", folder, ", ".join(removed))
    return removed


def _is_new(path: Path) -> bool:
    try:
        return time.time() - path.stat().st_mtime < OLD_RECORD
    except OSError:
        return True


def _remove(path: Path) -> None:
    """A file, a link, or a folder with all that is in it."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)


@dataclass(frozen=True)
class Published:
    """What became of a run's outputs: the name that they have, and their paths."""

    name: str
    paths: list[Path] = field(default_factory=list)


class Staging:
    """The hidden folder of one run, and the lock of its outputs' name.

    Args:
        folder: where the outputs go; it is there.
        name: of the outputs.
        overwrite: whether they may replace what no earlier run wrote.

    Raises:
        OutputError: if another run is writing outputs of that name there.
    """

    def __init__(self, folder: Path, name: str, overwrite: bool = False) -> None:
        self._folder = folder
        self._name = name
        self._overwrite = overwrite
        self._stack = contextlib.ExitStack()
        key = key_of(name)
        try:
            if not self._stack.enter_context(_held(folder, key, PATIENCE)):
                raise OutputError(
                    f"another run is writing {name} into {folder}; wait for its end, or choose another --output_dir"
                )
            self.path = Path(tempfile.mkdtemp(prefix=f".{key}.partial-{os.getpid()}-", dir=folder))
            self._stack.callback(_remove, self.path)
        except BaseException:
            self._stack.close()
            raise

    def publish(self, finished: bool) -> Published:
        """Give the outputs their names; those of a run that was cut short never replace whole ones.

        Where they cannot have their usual names, a line says what they are called.
        """
        made = sorted(path for path in self.path.iterdir() if not path.name.startswith("."))
        if not made:
            return Published(self._name)
        ownership = Ownership(self._folder, self._name)
        name = self._free_name(made, finished, ownership)
        targets = {f"{name}{path.name[len(self._name) :]}": path for path in made}
        own_names = name == self._name
        stale = [] if not own_names else self._stale(targets, ownership)
        with contextlib.suppress(OSError) if not finished else contextlib.nullcontext():
            ownership.announce(targets, finished if own_names else None)
        for number, (target, path) in enumerate(targets.items()):
            self._replace(path, self._folder / target, number)
        for path in stale:
            path.unlink(missing_ok=True)
        with contextlib.suppress(OSError) if not finished else contextlib.nullcontext():
            ownership.settle()
        return Published(name, [self._folder / target for target in targets])

    def _free_name(self, made: list[Path], finished: bool, ownership: Ownership) -> str:
        def may_take(name: str) -> bool:
            endings = [path.name[len(self._name) :] for path in made]
            taken = [path for path in (self._folder / f"{name}{end}" for end in endings) if os.path.lexists(path)]
            return self._overwrite or all(map(ownership.owns, taken))

        if may_take(self._name) and (finished or not ownership.finished):
            return self._name
        word = "new" if finished else "interrupted"
        reason = "is not from an earlier run" if finished else "is whole and stays"
        name, number = f"{self._name}_{word}", 2
        while not may_take(name):
            name, number = f"{self._name}_{word}{number}", number + 1
        logger.warning(
            "what is called %s in %s %s; this run's outputs are called %s", self._name, self._folder, reason, name
        )
        return name

    def _stale(self, targets: dict[str, Path], ownership: Ownership) -> list[Path]:
        """Point clouds of an earlier run that this one does not replace, if it writes any."""
        if not any(is_output(Path(target), self._name, ["ply"]) for target in targets):
            return []
        there = outputs_in(self._folder, self._name, ["ply"])
        return [path for path in there if path.name not in targets and ownership.owns(path)]

    def _replace(self, path: Path, target: Path, number: int) -> None:
        """Rename; a folder takes the place of the older one as a whole."""
        if target.is_dir() and not target.is_symlink():
            target.rename(self.path / f".replaced-{number}")
        elif target.is_symlink():
            target.unlink()
        path.replace(target)

    def close(self) -> None:
        """Remove what is left, and let the name go."""
        self._stack.close()
