"""Checkpoints that training writes."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor

from video_depth_anything.errors import OutputError
from video_depth_anything.files import whole_file


def save_checkpoint(state: Mapping[str, Tensor], path: Path, half: bool, metric: bool = False) -> None:
    """Write a full checkpoint, in float16 if `half`, whole or not at all; missing folders are made.

    Raises:
        OutputError: if it cannot be written.
    """
    written = OrderedDict((n, (v.half() if half else v.float()).contiguous()) for n, v in state.items())
    written._metadata = {"": {"version": 1, "depth": "metric" if metric else "relative"}}  # type: ignore[attr-defined]
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with whole_file(path) as partial:
            torch.save(written, partial)
    except (OSError, RuntimeError, ValueError) as error:
        raise OutputError(f"--output {path}: cannot be written ({error}); choose another path") from error
