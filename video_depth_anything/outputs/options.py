"""What to write, as data."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from .vis_range import VisRange


@dataclass(frozen=True)
class OutputOptions:
    folder: Path = Path("outputs")
    save: tuple[str, ...] | None = None
    layout: Literal["depth", "compare"] = "depth"
    colormap: str = "inferno"
    grayscale: bool = False
    vis_range: VisRange = VisRange()  # noqa: RUF009 - immutable
    depth: Literal["raw", "normalized", "inverted"] = "raw"
    png16_scale: Literal["video", "frame"] = "video"
    keep_audio: bool = False
    codec: str = "libx264"
    overwrite: bool = False


@dataclass(frozen=True)
class CameraOptions:
    focal: tuple[float, float] | None = None
    fov: float | None = None
    principal_point: tuple[float, float] | None = None
    every: int = 1
    stride: int = 1
    max_depth: float = math.inf


@dataclass(frozen=True)
class Provenance:
    software: str
    checkpoint: str
    sha256: str
