"""The hidden file beside the outputs by which a finished run is known."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from ..outputs.ownership import read_record, write_record
from ..video.inputs import Input


class RunRecord:
    """Says with which settings and from which input the outputs were finished; `--resume` looks for it.

    Args:
        folder: of the outputs.
        one: the input.
        settings: all that changes what is written.
    """

    def __init__(self, folder: Path, one: Input, settings: Mapping[str, str]) -> None:
        self._folder = folder
        self._name = one.name
        self._content = {"settings": dict(settings), "input": state_of(one)}

    def is_finished(self) -> bool:
        """Whether a run with the same settings on the same input finished, and all that it wrote is still there."""
        try:
            record = read_record(self._folder, self._name)
            files = {Path(name): count for name, count in record["files"].items()}
        except (KeyError, AttributeError):
            return False
        same = all(record.get(key) == value for key, value in self._content.items())
        return same and all(_count(path) == count for path, count in files.items())

    def write(self, files: Sequence[Path]) -> None:
        """Note that everything is written, beside what the outputs themselves noted there.

        Args:
            files: the outputs; folders count with the number of files in them.
        """
        content = {**self._content, "files": {str(path.absolute()): _count(path) for path in files}}
        write_record(self._folder, self._name, {**read_record(self._folder, self._name), **content})


def state_of(one: Input) -> list[list[str | int]]:
    """Name, size and time of change of each file of an input; an address has its name alone."""
    paths = one.images or (Path(one.location),)
    state: list[list[str | int]] = []
    for path in paths:
        try:
            found = path.stat()
        except OSError:
            state.append([str(path)])
        else:
            state.append([str(path), found.st_size, found.st_mtime_ns])
    return state


def _count(path: Path) -> int:
    """Number of files at a path: 1 for a file, 0 if there is nothing."""
    return sum(1 for _ in path.iterdir()) if path.is_dir() else int(path.exists())
