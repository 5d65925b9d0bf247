"""The hidden file beside the outputs by which a finished run is known."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

from ..files import whole_file
from ..video.inputs import Input


class RunRecord:
    """Says with which settings and from which input the outputs were finished; `--resume` looks for it.

    Args:
        folder: of the outputs.
        one: the input.
        settings: all that changes what is written.
    """

    def __init__(self, folder: Path, one: Input, settings: Mapping[str, str]) -> None:
        self._path = folder / f".{one.name}_run.json"
        self._content = {"settings": dict(settings), "input": state_of(one)}

    def is_finished(self) -> bool:
        """Whether a run with the same settings on the same input finished, and all that it wrote is still there."""
        try:
            record = json.loads(self._path.read_text())
            files = {Path(name): count for name, count in record.pop("files").items()}
        except (OSError, ValueError, KeyError, AttributeError):
            return False
        return record == self._content and all(_count(path) == count for path, count in files.items())

    def write(self, files: Sequence[Path]) -> None:
        """Note that everything is written.

        Args:
            files: the outputs; folders count with the number of files in them.
        """
        content = {**self._content, "files": {str(path.absolute()): _count(path) for path in files}}
        with whole_file(self._path) as partial:
            partial.write_text(json.dumps(content, indent=1) + "\n")

    def forget(self) -> None:
        """The outputs are about to change."""
        self._path.unlink(missing_ok=True)


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
