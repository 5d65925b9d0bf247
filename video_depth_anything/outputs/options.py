"""Output options, as data. Imports nothing heavy: the command line builds these before anything else."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from ..errors import UsageError
from ..options import BadValue, field_of_view, number, option, positive_float, positive_int

Layout = Literal["depth", "compare"]
DepthForm = Literal["raw", "normalized", "inverted"]
# Inverse depth up to scale and shift (larger is nearer), or metres.
DepthKind = Literal["disparity", "depth_metres"]


def usual_formats(metric: bool, streaming: bool = False) -> tuple[str, ...]:
    """Default formats; a metric stream is written as in the original: one colour video."""
    if metric:
        return ("vis",) if streaming else ("src", "vis", "ply")
    return ("src", "vis")


def formats(words: Sequence[str]) -> tuple[str, ...]:
    """Parse names of formats, each kept once; "none" alone means no format."""
    if "none" in words and len(words) > 1:
        raise BadValue("none cannot be combined with other formats")
    return tuple(dict.fromkeys(word for word in words if word != "none"))


def two_numbers(words: Sequence[str]) -> tuple[float, float]:
    """Parse a point."""
    x, y = map(number, words)
    if not math.isfinite(x + y):
        raise BadValue(f"{' '.join(words)!r} are not two numbers")
    return x, y


def number_up_to(most: float) -> Callable[[str], float]:
    """Make a parser of numbers from 0 to `most`."""

    def parse(word: str) -> float:
        value = number(word)
        if not 0 <= value <= most:
            raise BadValue(f"{value:g} is not a number from 0 to {most:g}")
        return value

    return parse


def rising_numbers(words: Sequence[str]) -> tuple[float, float]:
    """Parse a value range."""
    low, high = two_numbers(words)
    if not low < high:
        raise BadValue(f"{low:g} is not below {high:g}")
    return low, high


@dataclass(frozen=True)
class VisRange:
    """Value range of the colours: of the whole `video`, a running `percentile`, or `fixed` from low to high.

    `auto` becomes one of the first two once it is known whether the video has an end.
    """

    kind: Literal["auto", "video", "percentile", "fixed"] = "video"
    low: float = 0.0
    high: float = 0.0

    def __str__(self) -> str:
        return f"{self.low:g} {self.high:g}" if self.kind == "fixed" else self.kind

    @classmethod
    def parse(cls, words: Sequence[str]) -> VisRange:
        """Parse command-line words; "two-pass" is an alias of "video"."""
        kinds: dict[tuple[str, ...], VisRange] = {(kind,): cls(kind) for kind in ("auto", "video", "percentile")}
        kinds["two-pass",] = cls("video")
        low, high = map(number, words) if len(words) == 2 else (0.0, 0.0)
        if tuple(words) not in kinds and not -math.inf < low < high < math.inf:
            raise BadValue(f"{' '.join(words)!r} is not 'video', 'percentile' or two rising numbers")
        return kinds.get(tuple(words)) or cls("fixed", low, high)


@dataclass(frozen=True)
class OutputOptions:
    """What is written, and where.

    save: names of formats, see `registry.FORMATS`; None: the default. layout: the depth video alone, or to the right of
    its source. depth: the network's values; or scaled to 0..1 over the value range of the whole video, with 0 for the
    smallest (`normalized`) or largest (`inverted`). png16_scale: for disparity; metres become millimetres.
    """

    folder: Path = option(
        Path("outputs"), "folder for the results", Path, name="output_dir", short="-o", metavar="FOLDER", compared=False
    )
    save: tuple[str, ...] | None = option(
        None, "default: src and vis, with --metric also ply", formats, nargs="+", metavar="FORMAT"
    )
    layout: Layout = option(
        "depth",
        "depth alone, or source and depth side by side",
        lambda word: "compare" if word == "side-by-side" else word,
        name="vis",
        choices=("depth", "compare"),
    )
    colormap: str = option("inferno", "a matplotlib colour map", metavar="NAME")
    grayscale: bool = option(False, "depth video in gray instead of colours")
    vis_range: VisRange = option(
        VisRange(), "video, percentile or two numbers", VisRange.parse, nargs="+", metavar="RANGE"
    )
    depth: DepthForm = option(
        "raw",
        "saved numbers: unchanged, scaled to 0..1 over the video, or to 1..0",
        choices=("raw", "normalized", "inverted"),
    )
    depth_range: tuple[float, float] | None = option(
        None, "value range to use instead of the video's own", rising_numbers, nargs=2, metavar=("LOW", "HIGH")
    )
    png16_scale: Literal["video", "frame"] = option(
        "video", "value range of 16-bit images of relative depth", choices=("video", "frame")
    )
    stereo: Literal["half", "full", "tab", "anaglyph"] = option(
        "half", "layout of the two views in sbs", choices=("half", "full", "tab", "anaglyph")
    )
    stereo_depth: float = option(2.0, "parallax, in percent of the width", number_up_to(20), metavar="PERCENT")
    stereo_plane: float = option(0.5, "depth at the screen, 1: nearest", number_up_to(1), metavar="SHARE")
    keep_audio: bool = option(False, "copy the sound into the videos")
    codec: str = option("libx264", "FFmpeg's H.264 or HEVC encoder, such as h264_nvenc", metavar="NAME")
    overwrite: bool = option(False, "replace files that no earlier run wrote", compared=False)


@dataclass(frozen=True)
class CameraOptions:
    """The camera of point clouds, and which points are written; lengths and points are in pixels of the source."""

    focal_x: float | None = option(
        None,
        "default: 470.4 in the processed frame, which is wrong for almost every camera",
        positive_float,
        name="focal-length-x",
        metavar="PIXELS",
    )
    focal_y: float | None = option(
        None, "default: the same as x", positive_float, name="focal-length-y", metavar="PIXELS"
    )
    fov: float | None = option(
        None, "horizontal field of view, sets the focal length", field_of_view, metavar="DEGREES"
    )
    principal_point: tuple[float, float] | None = option(
        None, "default: the image centre", two_numbers, name="principal-point", nargs=2, metavar=("X", "Y")
    )
    every: int = option(1, "write a cloud for every Nth frame", positive_int, name="ply_every", metavar="N")
    stride: int = option(1, "take every Pth row and column", positive_int, name="ply_stride", metavar="P")
    max_depth: float = option(
        math.inf, "leave out points beyond M metres", positive_float, name="ply_max_depth", metavar="M"
    )

    def __post_init__(self) -> None:
        if self.focal_x is None and self.focal_y is not None:
            raise UsageError("--focal-length-y needs --focal-length-x")

    @property
    def focal(self) -> tuple[float, float] | None:
        """Focal lengths (x, y); None: the original's 470.4 of the processed frame."""
        return None if self.focal_x is None else (self.focal_x, self.focal_y or self.focal_x)
