"""The record by which a finished run is known, and the line that closes a run."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from ..outputs.ownership import read_record, write_record
from ..outputs.run_outputs import RunOutputs
from .offline import RunSummary


class RunRecord:
    """Hidden file beside the outputs that says with which settings they were finished; `--resume` looks for it."""

    def __init__(self, folder: Path, name: str, location: str, settings: Mapping[str, str]) -> None:
        self._folder = folder
        self._name = name
        self._settings = {"input": location, **settings}

    def is_finished(self) -> bool:
        """Whether a run with the same settings finished, and its files are still there."""
        record = read_record(self._folder, self._name)
        there = all(Path(path).exists() for path in record.get("files", []))
        return there and record.get("settings") == self._settings

    def write(self, outputs: RunOutputs) -> None:
        """Note that everything is written, beside what the outputs themselves noted."""
        record = read_record(self._folder, self._name)
        files = [str(path) for path in outputs.files()]
        write_record(self._folder, self._name, {**record, "settings": self._settings, "files": files})


def describe(summary: RunSummary, outputs: RunOutputs, memory: str) -> str:
    """The closing line: what was written, the frame rate reached and the peak memory."""
    files = ", ".join(outputs.written())
    state = "interrupted: " if summary.interrupted else ""
    return (
        f"{state}wrote {files}: {summary.frames} frames in {summary.seconds:.1f} s, "
        f"{summary.rate:.2f} frames/s, peak memory {memory}"
    )
