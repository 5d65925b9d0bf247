"""What a run is told, as data: the command line and the page construct it, `--resume` compares it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class ModelOptions:
    """Which network, and how it is computed.

    encoder: "vits", "vitb" or "vitl"; None chooses among those that are there. metric: weights that predict metres.
    checkpoint: a weights file instead of the public one. input_size: shorter side of the network's input in pixels.
    device, backend, precision: names of `config.DEVICES`, `BACKENDS` and `PRECISIONS`. compile: let PyTorch compile.
    """

    encoder: str | None = None
    metric: bool = False
    checkpoint: Path | None = None
    input_size: int = 518
    device: str = "auto"
    backend: str = "auto"
    precision: str = "auto"
    compile: bool = False
