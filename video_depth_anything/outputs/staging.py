"""Staging: outputs are made in a hidden folder beside their final names, and these names are locked.

A run that holds the lock `.NAME.run-lock` owns all files called `.NAME.partial-*`. The system releases the lock when
the process ends in any way, so files without a lock were left by a killed run.
"""

from __future__ import annotations

import contextlib
import errno
import json
import logging
import os
import re
import shutil
import tempfile
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from ..errors import OutputError
from ..files import whole_file
from .base import as_json
from .record import RunRecord, Span, count_files, is_output, names
from .registry import FORMATS

logger = logging.getLogger(__name__)

# Seconds: another run that only checks whether a lock is free holds it for a moment.
PATIENCE = 1.0
# Errors of file systems without locks.
NO_LOCKS = {errno.ENOLCK, errno.EOPNOTSUPP, errno.ENOTSUP, errno.ENOSYS}
MAPPING = "mapping.json"

_HIDDEN = re.compile(r"(?s)\.(?P<name>.+)\.(run-lock|(?P<staged>partial-\d+-\w+))")


@contextlib.contextmanager
def held(path: Path, patience: float = 0.0) -> Iterator[bool | None]:
    """Acquire a lock file within a time in seconds; yield whether it is held, or None without lock support."""
    from filelock import FileLock, Timeout

    lock = FileLock(path, thread_local=False)
    state: bool | None = True
    try:
        with warnings.catch_warnings(action="ignore"):  # filelock warns where it falls back to the file's existence
            lock.acquire(timeout=patience)
    except Timeout:
        state = False
    except (OSError, NotImplementedError) as error:
        if isinstance(error, OSError) and error.errno not in NO_LOCKS:
            raise
        state = None
    try:
        yield state
    finally:
        if state is not False:
            # Unlinked while held: another run that has opened it finds that it lost its name, and starts over.
            with contextlib.suppress(OSError):
                path.unlink()
            lock.release()


def remove_abandoned(folder: Path) -> list[str]:
    """Remove unfinished files and locks of killed runs from an output folder; those of living processes stay.

    Returns the names of the removed files, without the locks.
    """
    found: dict[str, list[Path]] = {}
    for path in sorted(folder.iterdir()):
        match = _HIDDEN.fullmatch(path.name)
        if match is not None:
            found.setdefault(match["name"], []).extend([path] if match["staged"] else [])
    removed: list[str] = []
    for name, paths in found.items():
        with contextlib.suppress(OSError), held(folder / f".{name}.run-lock") as free:  # its file is removed at the end
            for path in paths if free else ():
                _remove(path)
                removed.append(path.name)
    if removed:
        logger.info("%s: removed unfinished files of an earlier run: %s", folder, ", ".join(removed))
    return removed


def _remove(path: Path) -> None:
    """Remove a file, a link, or a folder with its contents."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)


class Staging:
    """The hidden folder (`path`) of one run, the lock on its outputs' `name`, and their renaming.

    `wanted` is the record that the run would write; `earlier` is the existing one of that name. Outputs of another
    source keep their names; this run's then get a number after the name, which is logged. OutputError if another run is
    writing outputs of that name, or if files that no run wrote are in the way.
    """

    def __init__(self, wanted: RunRecord, save: Sequence[str], overwrite: bool = False) -> None:
        self._wanted = wanted
        self._folder = wanted.folder
        self._save = save
        self._overwrite = overwrite
        self._stack = contextlib.ExitStack()
        try:
            self.name = next(name for name in names(wanted.name) if self._take(name))
            self.earlier = RunRecord.read(self._folder, self.name)
            found = [] if overwrite else self._foreign_files(self.earlier)
            if found:
                raise OutputError(
                    f"{found[0]} exists, and no earlier run wrote it; move it, choose another --output_dir, or pass "
                    "--overwrite"
                )
            prefix = f".{self.name}.partial-{os.getpid()}-"
            self.path = Path(tempfile.mkdtemp(prefix=prefix, dir=self._folder))
            self._stack.callback(_remove, self.path)
        except BaseException:
            self._stack.close()
            raise

    def _take(self, name: str) -> bool:
        """Lock a name if the run may use it."""
        if not self._may_have(name):
            return False
        free = self._stack.enter_context(held(self._folder / f".{name}.run-lock", PATIENCE))
        if free is False:
            raise OutputError(
                f"another run is writing {name} into {self._folder}; wait until it ends, or choose another --output_dir"
            )
        if free is None:
            logger.warning("%s does not support file locks: do not write to it from two runs at once", self._folder)
        if not self._may_have(name):  # another run took it in the meantime
            self._stack.close()
            return False
        if name != self._wanted.name:
            text = "%s holds %s from another source; the outputs of %s are named %s"
            logger.warning(text, self._folder, self._wanted.name, self._wanted.source, name)
        return True

    def _may_have(self, name: str) -> bool:
        if self._overwrite:
            return True
        record = RunRecord.read(self._folder, name)
        ours = record.source in ("", self._wanted.source) or not record.any_left()
        # Files that no run wrote are an error for the wanted name; numbered names are skipped.
        return ours and (name == self._wanted.name or not self._foreign_files(record))

    def _foreign_files(self, record: RunRecord) -> list[Path]:
        found = sorted(path for path in self._folder.iterdir() if is_output(record.name, path.name, self._save))
        return [path for path in found if not record.owns(path)]

    def publish(self, finished: bool, span: Span, ends: tuple[float, float] | None) -> dict[Path, int]:
        """Give the outputs their names and record them; return the final paths with their numbers of new files.

        Frame files of a part join those of the whole, but not those of an input that has changed, unless --frames was
        given. Other outputs of a part never replace those of a larger part, and those of an interrupted run never
        replace complete ones: they are called NAME_part or NAME_interrupted.
        """
        made = sorted(path for path in self.path.iterdir() if path.name.startswith(self.name))
        if not made:
            return {}
        old = self.earlier
        same = old.source == self._wanted.source and old.any_left()
        new = replace(self._wanted, name=self.name, finished=finished, span=span, ends=ends, files={})
        join = same and old.span is not None and old.span.own_numbers and span.own_numbers
        replaces = old.span is None or span.covers(old.span) or (finished and self._overwrite)
        if not same or (replaces and (finished or not old.finished)):
            return self._put(made, replace(new, files=old.files if same else {}), join)
        outdated = old.is_outdated(new.inputs)
        join &= not outdated or new.settings.get("frames", "None") != "None"
        of_frames = [name for name, entry in FORMATS.items() if entry.frame_files]
        merged = [path for path in made if join and finished and is_output(self.name, path.name, of_frames)]
        rest = [path for path in made if path not in merged]
        put: dict[Path, int] = {}
        if merged:
            settings = old.settings if old.same_depth(new.settings) else {}
            if settings != old.settings:
                text = "%s: its other frames come from a run with different settings"
                logger.warning(text, self._folder / merged[0].name)
            if outdated:
                text = "%s: its other frames come from an earlier version of %s"
                logger.warning(text, self._folder / merged[0].name, new.source)
            put |= self._put(merged, replace(old, settings=settings), join)
        if rest:
            put |= self._put_beside(rest, replace(new, name=f"{self.name}_{'part' if finished else 'interrupted'}"))
        return put

    def _target(self, path: Path, name: str) -> Path:
        return self._folder / f"{name}{path.name[len(self.name) :]}"

    def _put_beside(self, made: list[Path], record: RunRecord) -> dict[Path, int]:
        """Give outputs the first name that is free or holds an earlier result of this kind."""

        def free(there: RunRecord) -> bool:
            covered = there.span is None or (record.span is not None and record.span.covers(there.span))
            replaceable = there.source == record.source and (not record.finished or covered)
            taken = [t for t in (self._target(path, there.name) for path in made) if os.path.lexists(t)]
            return self._overwrite or all(replaceable and there.owns(target) for target in taken)

        there = next(filter(free, (RunRecord.read(self._folder, name) for name in names(record.name))))
        stays = "is complete and is kept" if self.earlier.finished else "covers more and is kept"
        why = stays if record.name != self.name else "is not from an earlier run"
        text = "%s in %s %s; this run's outputs are named %s"
        logger.warning(text, self.name, self._folder, why, there.name)
        return self._put(made, replace(record, name=there.name, files=there.files), False)

    def _put(self, made: list[Path], record: RunRecord, join: bool) -> dict[Path, int]:
        """Move outputs to their names; files that no run wrote and that appeared in the meantime stay."""
        targets = {path: self._target(path, record.name) for path in made}
        foreign = [t for t in targets.values() if os.path.lexists(t) and not record.owns(t)]
        if foreign and not self._overwrite:
            return self._put_beside(made, replace(record, files={}))
        counts = {
            target: sum(file.name != MAPPING for file in path.iterdir()) if path.is_dir() else 1
            for path, target in targets.items()
        }
        # Point clouds are replaced as a set: those of an earlier run would lie between the new ones.
        clouds = not join and any(target.suffix == ".ply" for target in targets.values())
        stale = [self._folder / name for name in record.files if clouds and name.endswith(".ply")]
        record.files = record.files | {target.name: 1 for target in targets.values()}
        optional = contextlib.nullcontext() if record.finished else contextlib.suppress(OSError)  # the disk may be full
        with optional:  # now and not only at the end, so that the record is right whenever the process ends
            replace(record, finished=False).write()
        for path, target in targets.items():
            _move(path, target, join)
        for path in stale:
            if path not in counts:
                path.unlink(missing_ok=True)
        record.files = {name: count for name in record.files if (count := count_files(self._folder / name))}
        with optional:
            record.write()
        return counts

    def close(self) -> None:
        """Remove what is left, and release the lock."""
        self._stack.close()


def _move(path: Path, target: Path, join: bool) -> None:
    """Rename. Files of a folder move into an existing one; files of other frames stay there only if they `join`."""
    there = target.is_dir() and not target.is_symlink()
    if not (there and path.is_dir()):
        if there or path.is_dir():
            _remove(target)
        path.replace(target)
        return
    if join:
        _join_mappings(path / MAPPING, target / MAPPING)
    made = {file.name for file in path.iterdir()}
    for name in made:
        (path / name).replace(target / name)
    # Other files with names of this kind are from an earlier run.
    kinds = {re.sub(r"\d+(?=\D*$)", r"\\d+", re.escape(name)) for name in made}
    for file in list(target.iterdir()) if not join else ():
        if file.name not in made and any(re.fullmatch(kind, file.name) for kind in kinds):
            file.unlink()


def _join_mappings(new: Path, old: Path) -> None:
    """Add the mapping of old files to that of new ones."""
    with contextlib.suppress(OSError, ValueError, KeyError, TypeError):
        earlier, content = (json.loads(path.read_text()) for path in (old, new))
        content["files"] = dict(sorted({**earlier["files"], **content["files"]}.items()))
        with whole_file(new) as partial:
            partial.write_bytes(as_json(content))
