"""What is asked of the outputs, as data. Imports nothing heavy: the command line builds these before anything else."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from .vis_range import VisRange

Layout = Literal["depth", "compare"]
DepthForm = Literal["raw", "normalized", "inverted"]


@dataclass(frozen=True)
class OutputOptions:
    """What is written, and where.

    Attributes:
        folder: for the results; made where it is missing.
        save: names of formats, see `registry.FORMATS`; None: src and vis, and ply with metric depth.
        layout: the depth video alone, or to the right of its source.
        colormap: matplotlib's name of the colours. grayscale: gray instead.
        vis_range: values that the colours span.
        depth: numbers as the network gives them; or 0 to 1 over the range of the whole video, smallest value first
            (`normalized`) or last (`inverted`).
        png16_scale: 16-bit PNGs of disparity span the range of the video, or of each frame. Metres are millimetres.
        keep_audio: copy the sound into the videos.
        codec: of the colour videos.
        overwrite: replace files that no earlier run wrote.
    """

    folder: Path = Path("outputs")
    save: tuple[str, ...] | None = None
    layout: Layout = "depth"
    colormap: str = "inferno"
    grayscale: bool = False
    vis_range: VisRange = VisRange()  # noqa: RUF009 - immutable
    depth: DepthForm = "raw"
    png16_scale: Literal["video", "frame"] = "video"
    keep_audio: bool = False
    codec: str = "libx264"
    overwrite: bool = False


@dataclass(frozen=True)
class CameraOptions:
    """The camera of point clouds, and which points are written.

    Attributes:
        focal: focal lengths (x, y) in pixels of the source; None: the original's 470.4 of the processed frame.
        fov: horizontal field of view in degrees, instead of focal lengths.
        principal_point: (x, y) in pixels of the source; None: the centre.
        every: a cloud for each so manyth frame. stride: each so manyth row and column of a frame.
        max_depth: metres beyond which points are left out.
    """

    focal: tuple[float, float] | None = None
    fov: float | None = None
    principal_point: tuple[float, float] | None = None
    every: int = 1
    stride: int = 1
    max_depth: float = math.inf


@dataclass(frozen=True)
class Provenance:
    """Where the numbers come from: program and version, the checkpoint's file name, its SHA-256 in hex digits."""

    software: str
    checkpoint: str
    sha256: str

    def facts(self) -> dict[str, str]:
        """As outputs name it."""
        return {"software": self.software, "checkpoint": self.checkpoint, "checkpoint_sha256": self.sha256}
