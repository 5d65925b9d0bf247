"""The record that a run leaves beside its outputs, `.NAME_run.json`: their source, settings and names.

It decides what a later run may replace, and `--resume` compares it.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import NamedTuple

from ..files import whole_file
from ..options import options_of
from ..video.containers import is_address
from ..video.names import printable
from ..video.sequences import around_numbers
from .options import CameraOptions, OutputOptions
from .registry import FORMATS

Settings = dict[str, str]

# Options that do not change the depth of a frame.
NOT_OF_DEPTH = {one.name for one in (*options_of(OutputOptions), *options_of(CameraOptions))}
NOT_OF_DEPTH |= {"start", "end", "max_len", "frames"}


class Span(NamedTuple):
    """The part of its source that a run covers, in numbers of a sequence or seconds of a video."""

    start: float
    end: float
    step: float  # from one frame to the next
    own_numbers: bool  # whether frame files have the source's frame numbers, also for a part of it

    def covers(self, other: Span) -> bool:
        """Whether the other lies inside, to within a frame."""
        slack = max(self.step, other.step) * 0.99
        return self.start <= other.start + slack and self.end >= other.end - slack


@dataclass
class RunRecord:
    """What the runs of one name wrote in a folder; `source` is empty if there was no run."""

    folder: Path
    name: str
    source: str = ""
    inputs: list[list[str | int]] = field(default_factory=list)  # name, size and time of change of each file read
    settings: Settings = field(default_factory=dict)  # all settings that change the outputs
    finished: bool = False  # whether the last run finished
    span: Span | None = None
    ends: tuple[float, float] | None = None  # lowest and highest depth
    files: dict[str, int] = field(default_factory=dict)  # number of files of each output: folders hold several

    @classmethod
    def read(cls, folder: Path, name: str) -> RunRecord:
        """Read the record; return an empty one if it is missing or damaged."""
        record = cls(folder, name)
        try:
            found = json.loads(record.path.read_text())
            for one in fields(cls)[2:]:
                setattr(record, one.name, found.get(one.name, getattr(record, one.name)))
            record.span = None if record.span is None else Span(*record.span)
            record.files = {str(name): int(count) for name, count in record.files.items()}
        except (OSError, ValueError, TypeError, AttributeError):
            return cls(folder, name)
        return record

    @property
    def path(self) -> Path:
        return self.folder / f".{self.name}_run.json"

    def write(self) -> None:
        content = asdict(self)
        del content["folder"], content["name"]
        with whole_file(self.path) as partial:
            partial.write_text(json.dumps(content, indent=1) + "\n")

    def owns(self, path: Path) -> bool:
        """Whether a recorded run wrote the file or folder at that path."""
        return path.name in self.files and not path.is_symlink()

    def any_left(self) -> bool:
        """Whether any of its outputs still exists."""
        return any(os.path.lexists(self.folder / name) for name in self.files)

    def is_finished(self, source: str, inputs: Sequence[object], settings: Settings) -> bool:
        """Whether the same run has finished, and all its outputs still exist."""
        same = (self.source, self.inputs, self.settings) == (source, list(inputs), settings)
        return same and self.finished and all(count_files(self.folder / n) == k for n, k in self.files.items())

    def is_outdated(self, inputs: Sequence[list[str | int]]) -> bool:
        """Whether the inputs are the same files, but changed since that run."""
        return self.inputs != inputs and [name for name, *_ in self.inputs] == [name for name, *_ in inputs]

    def same_depth(self, settings: Settings) -> bool:
        """Whether a run with these settings computes the same depth for a frame, apart from its window."""
        what = {*self.settings, *settings} - NOT_OF_DEPTH
        return all(self.settings.get(key) == settings.get(key) for key in what)


def names(name: str) -> Iterator[str]:
    """NAME, NAME_2, NAME_3, and so on."""
    yield name
    for number in range(2, 1 << 30):
        yield f"{name}_{number}"


def record_of(folder: Path, name: str, source: str) -> RunRecord:
    """The record of a source's outputs under any of these names; an empty one if there are none."""
    records = (RunRecord.read(folder, candidate) for candidate in names(name))
    return next(record for record in records if record.source in ("", source))


def source_of(location: str, images: Sequence[Path] = (), live: bool = False) -> str:
    """Identity of a source: the absolute path of a file, folder or sequence, or an address.

    All parts of a numbered sequence are one source; each recording of a live source is a source of its own.
    """
    if images:
        if around := around_numbers(images):
            return str(images[0].parent.resolve() / "#".join((around[0].rpartition(os.sep)[2], around[1])))
        return str((images[0].parent if len(images) > 1 else images[0]).resolve())
    if os.path.lexists(location):
        return str(Path(location).resolve())
    if live:
        return f"{printable(location)} at {time.time():.3f}"
    # The query is left out of an address's name, but it distinguishes addresses.
    query = location.partition("?")[2] if is_address(location) else ""
    return printable(location) + (f" ({hashlib.sha256(query.encode()).hexdigest()[:8]})" if query else "")


def state_of(location: str, images: Sequence[Path] = ()) -> list[list[str | int]]:
    """Name, size and modification time of each file of an input; only the name of an address."""
    state: list[list[str | int]] = []
    for path in images or (() if is_address(location) else (Path(location),)):
        try:
            found = path.stat()
            state.append([str(path.absolute()), found.st_size, found.st_mtime_ns])
        except OSError:
            state.append([printable(path)])
    return state or [[printable(location)]]


def count_files(path: Path) -> int:
    """Number of files at a path: 1 for a file, 0 if there is nothing; file managers' hidden files do not count."""
    return sum(file.name[0] != "." for file in path.iterdir()) if path.is_dir() else int(path.exists())


def is_output(name: str, path_name: str, formats: Iterable[str] = FORMATS) -> bool:
    """Whether these formats would write that file or folder for outputs called `name`."""
    ending = path_name.removeprefix(name)
    return path_name.startswith(name) and any(re.fullmatch(e, ending) for one in formats for e in FORMATS[one].endings)
