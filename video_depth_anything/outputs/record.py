"""What a finished run leaves beside its outputs in `.NAME_run.json`: from which source they are, with which settings,
and which they are. It decides what a run may replace, and `--resume` compares it.
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

# Options that leave the depth of a frame as it is.
NOT_OF_DEPTH = {one.name for one in (*options_of(OutputOptions), *options_of(CameraOptions))}
NOT_OF_DEPTH |= {"start", "end", "max_len", "frames"}


class Span(NamedTuple):
    """What part of its source a run covers, in numbers of a sequence or seconds of a video."""

    start: float
    end: float
    step: float  # from one frame to the next
    own_numbers: bool  # whether files of frames are numbered as the source counts, whatever part of it was chosen

    def covers(self, other: Span) -> bool:
        """Whether nothing of the other lies outside, give or take a frame."""
        slack = max(self.step, other.step) * 0.99
        return self.start <= other.start + slack and self.end >= other.end - slack


@dataclass
class RunRecord:
    """What the runs of one name wrote in a folder; `source` is empty where no run wrote anything."""

    folder: Path
    name: str
    source: str = ""
    inputs: list[list[str | int]] = field(default_factory=list)  # name, size and time of change of each file read
    settings: Settings = field(default_factory=dict)  # all that changes what is written
    finished: bool = False  # whether the last run came to its end
    span: Span | None = None
    ends: tuple[float, float] | None = None  # lowest and highest depth
    files: dict[str, int] = field(default_factory=dict)  # how many each output is: folders hold several

    @classmethod
    def read(cls, folder: Path, name: str) -> RunRecord:
        """What is recorded; an empty record where nothing is, or it is damaged."""
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
        """Whether a run wrote what is at a path in its folder."""
        return path.name in self.files and not path.is_symlink()

    def any_left(self) -> bool:
        """Whether any of its outputs is still there."""
        return any(os.path.lexists(self.folder / name) for name in self.files)

    def is_finished(self, source: str, inputs: Sequence[object], settings: Settings) -> bool:
        """Whether the same run came to its end before, and all that it wrote is still there."""
        same = (self.source, self.inputs, self.settings) == (source, list(inputs), settings)
        return same and self.finished and all(count_files(self.folder / n) == k for n, k in self.files.items())

    def same_depth(self, settings: Settings) -> bool:
        """Whether a run with these settings gives a frame the same depth, but for the windows around it."""
        what = {*self.settings, *settings} - NOT_OF_DEPTH
        return all(self.settings.get(key) == settings.get(key) for key in what)


def names(name: str) -> Iterator[str]:
    """NAME, NAME_2, NAME_3, and so on."""
    yield name
    for number in range(2, 1 << 30):
        yield f"{name}_{number}"


def record_of(folder: Path, name: str, source: str) -> RunRecord:
    """The record of a source's outputs, whatever name they got; an empty one if there are none."""
    records = (RunRecord.read(folder, candidate) for candidate in names(name))
    return next(record for record in records if record.source in ("", source))


def source_of(location: str, images: Sequence[Path] = (), live: bool = False) -> str:
    """What tells a source from others: the absolute path of a file, folder or sequence, or an address.

    All parts of one numbered sequence are one source, every recording of a live source is another one.
    """
    if images:
        if around := around_numbers(images):
            return str(images[0].parent.resolve() / "#".join((around[0].rpartition(os.sep)[2], around[1])))
        return str((images[0].parent if len(images) > 1 else images[0]).resolve())
    if os.path.lexists(location):
        return str(Path(location).resolve())
    if live:
        return f"{printable(location)} at {time.time():.3f}"
    # What an address asks for is left out of its name, and yet tells it from others.
    query = location.partition("?")[2] if is_address(location) else ""
    return printable(location) + (f" ({hashlib.sha256(query.encode()).hexdigest()[:8]})" if query else "")


def state_of(location: str, images: Sequence[Path] = ()) -> list[list[str | int]]:
    """Name, size and time of change of each file of an input; an address has its name alone."""
    state: list[list[str | int]] = []
    for path in images or (() if is_address(location) else (Path(location),)):
        try:
            found = path.stat()
            state.append([str(path), found.st_size, found.st_mtime_ns])
        except OSError:
            state.append([printable(path)])
    return state or [[printable(location)]]


def count_files(path: Path) -> int:
    """Number of files at a path: 1 for a file, 0 if there is nothing."""
    return sum(1 for _ in path.iterdir()) if path.is_dir() else int(path.exists())


def is_output(name: str, path_name: str, formats: Iterable[str] = FORMATS) -> bool:
    """Whether the formats write a file or folder of that name among the outputs called `name`."""
    ending = path_name.removeprefix(name)
    return path_name.startswith(name) and any(re.fullmatch(e, ending) for one in formats for e in FORMATS[one].endings)
