"""The formats: a new one is one file with its writer, and one entry here. Imports nothing heavy."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .base import OutputWriter, RunInfo
    from .options import CameraOptions, OutputOptions


@dataclass(frozen=True)
class Format:
    """One entry.

    Attributes:
        writer: module and class in this package; the class takes a `RunInfo`.
        endings: of the names that it writes, as regular expressions; a folder of frames ends in a slash.
        bytes_a_pixel: on disk, an upper estimate: arrays and point clouds as they are stored, videos by experience.
        share: of the pixels that are written.
        metric: whether it needs metres.
        shortest_side: of the frames that it can hold, in pixels.
        package: that it needs and that is not always installed.
        whole_range: from options and whether depth is metric: whether it needs the range of the video beforehand.
        shows_source: whether it then also needs the source's frames.
        frame_files: whether it writes a file for each frame.
        sound: whether it can have the source's sound.
    """

    writer: str
    endings: tuple[str, ...]
    bytes_a_pixel: float
    share: Callable[[CameraOptions], float] = lambda _: 1.0
    metric: bool = False
    shortest_side: int = 1
    package: str = ""
    whole_range: Callable[[OutputOptions, bool], bool] = lambda _, __: False
    shows_source: Callable[[OutputOptions], bool] = lambda _: False
    frame_files: bool = False
    sound: bool = False

    def open(self, run: RunInfo) -> OutputWriter:
        """Make the writer."""
        module, name = self.writer.split(".")
        writer: OutputWriter = getattr(import_module(f".{module}", __package__), name)(run)
        return writer


def _colored(options: OutputOptions, _metric: bool) -> bool:
    return options.vis_range.kind == "video"


def _scaled(options: OutputOptions, _metric: bool) -> bool:
    return options.depth != "raw"


def _scaled_to_16_bit(options: OutputOptions, metric: bool) -> bool:
    return options.depth != "raw" or not metric


FORMATS = {
    "src": Format("videos.SourceVideo", (r"_src\.mp4",), 0.3, sound=True),
    "vis": Format(
        "videos.ColorVideo",
        (r"_vis\.mp4",),
        0.6,
        whole_range=_colored,
        shows_source=lambda options: options.layout == "compare",
        sound=True,
    ),
    "compare": Format(
        "videos.CompareVideo",
        (r"_compare\.mp4",),
        0.9,
        whole_range=_colored,
        shows_source=lambda _: True,
        sound=True,
    ),
    "sbs": Format(
        "stereo.StereoVideo",
        (r"_sbs_(LR|TB|anaglyph)\.mp4",),
        1.2,
        whole_range=_colored,
        shows_source=lambda _: True,
        sound=True,
    ),
    "npz": Format("npz.NpzArchive", (r"_depths\.npz",), 4.0, whole_range=_scaled),
    "exr": Format(
        "frame_files.ExrFrames",
        ("_depths_exr/",),
        4.5,
        package="OpenEXR",
        whole_range=_scaled,
        frame_files=True,
    ),
    "png16": Format(
        "frame_files.Png16Frames",
        ("_depths_png16/",),
        2.0,
        whole_range=lambda options, metric: _scaled_to_16_bit(options, metric) and options.png16_scale == "video",
        frame_files=True,
    ),
    # FFV1 cuts a frame into two by two slices.
    "mkv16": Format(
        "videos.Depth16Video",
        (r"_depths16\.mkv", r"_depths16\.json"),
        2.0,
        shortest_side=2,
        whole_range=_scaled_to_16_bit,
    ),
    "ply": Format(
        "point_clouds.PointClouds",
        (r"_point\d{4,}\.ply",),
        15.0,
        share=lambda camera: 1 / camera.stride**2 / camera.every,
        metric=True,
        frame_files=True,
    ),
}
