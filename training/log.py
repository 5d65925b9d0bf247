"""A training run's log: one JSON object per line, and the same values for TensorBoard."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from video_depth_anything.errors import UsageError
from video_depth_anything.files import whole_file

NAME = "log.jsonl"
EVENTS = "tensorboard"


class TrainingLog:
    """Writes `log.jsonl` and, if wanted, TensorBoard events into a run's folder.

    Lines of an interrupted run after `step`, where this run continues, are removed.
    """

    def __init__(self, folder: Path, step: int, tensorboard: bool) -> None:
        self._events: Any = None
        if tensorboard:
            try:
                from torch.utils.tensorboard import SummaryWriter
            except ImportError as error:
                raise UsageError("tensorboard is missing; pip install tensorboard, or --no-tensorboard") from error
            self._events = SummaryWriter(str(folder / EVENTS), purge_step=step or None)
        path = folder / NAME
        kept = [x for x in path.read_text().splitlines() if _step_of(x) <= step] if step and path.exists() else []
        with whole_file(path) as partial:
            partial.write_text("".join(line + "\n" for line in kept))
        self._lines = path.open("a", buffering=1)

    def write(self, step: int, values: Mapping[str, float]) -> None:
        """Log values after `step` steps."""
        self._lines.write(json.dumps({"step": step, **{k: round(v, 8) for k, v in values.items()}}) + "\n")
        if self._events is not None:
            for name, value in values.items():
                self._events.add_scalar(name, value, step)

    def close(self) -> None:
        self._lines.close()
        if self._events is not None:
            self._events.close()


def _step_of(line: str) -> int:
    """Step of a line; infinite if the line is truncated."""
    try:
        return int(json.loads(line)["step"])
    except (ValueError, KeyError, TypeError):
        return 1 << 62
