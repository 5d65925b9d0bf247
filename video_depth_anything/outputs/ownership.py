"""Which files earlier runs wrote: the hidden record of a name, and what may be replaced."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from ..files import whole_file
from .registry import FORMATS

# What a folder of frames may hold; a file of another name in it is somebody else's.
FRAME_FILE = re.compile(r"(\.partial_)?(frame_-?\d+\.(exr|png)|mapping\.json)")
# Coarse file systems, and copies through archives, round times of change to two seconds.
SAME_TIME_NS = 2_000_000_000


def record_path(folder: Path, name: str) -> Path:
    """The hidden record of the runs that wrote outputs called `name`."""
    return folder / f".{name}_run.json"


def read_record(folder: Path, name: str) -> dict[str, Any]:
    """What the record says; empty where there is none, or it is damaged."""
    try:
        record = json.loads(record_path(folder, name).read_text())
    except (OSError, ValueError):
        return {}
    return record if isinstance(record, dict) else {}


def write_record(folder: Path, name: str, record: Mapping[str, Any]) -> None:
    """Replace the record as a whole."""
    with whole_file(record_path(folder, name)) as partial:
        partial.write_text(json.dumps(record, indent=1) + "\n")


def is_output(path: Path, name: str, formats: Iterable[str] = FORMATS) -> bool:
    """Whether a path has a name by which one of the formats writes outputs called `name`."""
    if not path.name.startswith(name):
        return False
    ending = path.name[len(name) :]
    return any(re.fullmatch(e.rstrip("/"), ending) for one in formats for e in FORMATS[one].endings)


def outputs_in(folder: Path, name: str, formats: Iterable[str] = FORMATS) -> list[Path]:
    """What there is in a folder under the names by which the formats write outputs called `name`."""
    chosen = list(formats)
    with os.scandir(folder) as entries:
        return sorted(Path(entry) for entry in entries if is_output(Path(entry.name), name, chosen))


class Ownership:
    """What earlier runs of one name wrote in a folder.

    The record lists every file with its size and time of change, so that one which somebody replaced or edited since
    is theirs; of a folder of frames, the names in it tell. Formats have no place in common where a mark could stand,
    and a mark stays in a file that somebody edits: hence a list beside them.
    """

    def __init__(self, folder: Path, name: str) -> None:
        self._folder = folder
        self._name = name
        self.record = read_record(folder, name)

    @property
    def finished(self) -> bool:
        """Whether the outputs that are there are those of a run that came to its end."""
        # Records of old list files, and only of finished runs.
        listed = self.record.get("outputs", [Path(file).name for file in self.record.get("files", [])])
        return bool(self.record.get("finished", listed)) and any((self._folder / name).exists() for name in listed)

    def owns(self, path: Path) -> bool:
        """Whether an earlier run of this name wrote what is at `path`, in this folder, and nobody changed it since."""
        if path.is_symlink():
            return False
        if "outputs" in self.record:
            stamps = self.record["outputs"].get(path.name)
        else:
            stamps = [] if self.record and is_output(path, self._name) else None
        if stamps is None:
            return False
        if path.is_dir():
            return all(FRAME_FILE.fullmatch(file.name) for file in path.iterdir())
        now = path.stat()
        return not stamps or any(size == now.st_size and abs(t - now.st_mtime_ns) < SAME_TIME_NS for size, t in stamps)

    def announce(self, made: Mapping[str, Path], finished: bool | None) -> None:
        """Note that files are about to get their names, so that they are known whenever the process ends.

        Args:
            made: from final names to where the files are now.
            finished: whether they replace a result as a whole: the settings of the old one are forgotten; None: they
                are put beside it.
        """
        outputs = dict(self.record.get("outputs") or self._old_outputs())
        for name, path in made.items():
            outputs[name] = [*outputs.get(name, []), *_stamps(path)]
        kept = self.record if finished is None else {"finished": finished}
        self.record = {**kept, "outputs": outputs}
        write_record(self._folder, self._name, self.record)

    def settle(self) -> None:
        """Note what is there now, of all that was announced."""
        paths = [self._folder / name for name in self.record["outputs"]]
        self.record["outputs"] = {path.name: _stamps(path) for path in paths if path.exists()}
        write_record(self._folder, self._name, self.record)

    def _old_outputs(self) -> dict[str, list[list[int]]]:
        owned = (path for path in outputs_in(self._folder, self._name) if self.owns(path))
        return {path.name: _stamps(path) for path in owned}


def _stamps(path: Path) -> list[list[int]]:
    """Size and time of change of a file; nothing of a folder."""
    if path.is_dir():
        return []
    now = path.stat()
    return [[now.st_size, now.st_mtime_ns]]
