"""The record by which a finished run is known, and the line that closes a run."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

from ..files import whole_file
from ..outputs.base import OutputWriter
from .offline import RunSummary


class RunRecord:
    """Hidden file beside the outputs that says with which settings they were finished; `--resume` looks for it."""

    def __init__(self, folder: Path, name: str, location: str, settings: Mapping[str, str]) -> None:
        self._path = folder / f".{name}_run.json"
        self._settings = {"input": location, **settings}

    def is_finished(self) -> bool:
        """Whether a run with the same settings finished, and its files are still there."""
        try:
            record = json.loads(self._path.read_text())
        except (OSError, ValueError):
            return False
        there = all(Path(path).exists() for path in record.get("files", []))
        return there and record.get("settings") == self._settings

    def write(self, writers: list[OutputWriter]) -> None:
        """Note that everything is written."""
        files = [text for writer in writers for text in writer.written() if not text.endswith(" files)")]
        with whole_file(self._path) as partial:
            partial.write_text(json.dumps({"settings": self._settings, "files": files}, indent=1) + "\n")

    def forget(self) -> None:
        """The outputs are about to change."""
        self._path.unlink(missing_ok=True)


def describe(summary: RunSummary, writers: list[OutputWriter], memory: str) -> str:
    """The closing line: what was written, the frame rate reached and the peak memory."""
    files = ", ".join(written for writer in writers for written in writer.written())
    state = "interrupted: " if summary.interrupted else ""
    return (
        f"{state}wrote {files}: {summary.frames} frames in {summary.seconds:.1f} s, "
        f"{summary.rate:.2f} frames/s, peak memory {memory}"
    )
