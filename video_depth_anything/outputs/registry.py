"""The output formats: a new one needs a file with its writer and an entry here. Imports nothing heavy."""

from __future__ import annotations

from dataclasses import dataclass
from importlib import import_module
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from .base import OutputWriter, RunInfo
    from .options import CameraOptions, OutputOptions


@dataclass(frozen=True)
class Format:
    """One output format."""

    writer: str  # module and class in this package, constructed with a `RunInfo`
    endings: tuple[str, ...]  # regular expressions for the endings of its files
    bytes_a_pixel: float  # upper estimate on disk: computed for arrays and point clouds, measured for videos
    holds: Literal["source", "pictures", "floats", "levels", "points"] = "pictures"  # levels have 16 bits
    needs_source: bool = False  # whether it needs source frames besides depth
    frame_files: bool = False  # whether it has one file per frame
    sides: tuple[int, int] = (1, 1 << 31)  # shortest and longest side of frames that it can hold, in pixels
    package: str = ""  # optional package that it needs

    def open(self, run: RunInfo) -> OutputWriter:
        """Make the writer."""
        module, name = self.writer.split(".")
        writer: OutputWriter = getattr(import_module(f".{module}", __package__), name)(run)
        return writer

    def needs_range(self, options: OutputOptions, metric: bool) -> bool:
        """Whether it needs the value range of the whole video before its first frame."""
        if self.holds == "pictures":
            return options.vis_range.kind == "video"
        if self.holds == "levels" and not metric and options.depth == "raw":
            return not self.frame_files or options.png16_scale == "video"
        return self.holds in ("floats", "levels") and options.depth != "raw"

    def shows_source(self, options: OutputOptions) -> bool:
        return self.needs_source or (self.holds == "pictures" and options.layout == "compare")

    def bytes_a_frame_pixel(self, camera: CameraOptions) -> float:
        return self.bytes_a_pixel / (camera.stride**2 * camera.every if self.holds == "points" else 1)


H264 = (1, 16384)
# `compare` and some layouts of `sbs` put two pictures side by side.
FORMATS = {
    "src": Format("videos.SourceVideo", (r"_src\.mp4",), 0.3, "source", sides=H264),
    "vis": Format("videos.ColorVideo", (r"_vis\.mp4",), 0.6, sides=H264),
    "compare": Format("videos.CompareVideo", (r"_compare\.mp4",), 0.9, needs_source=True, sides=(1, 8160)),
    "sbs": Format("stereo.StereoVideo", (r"_sbs_(LR|TB|anaglyph)\.mp4",), 1.2, needs_source=True, sides=(1, 8192)),
    "npz": Format("npz.NpzArchive", (r"_depths\.npz",), 4.0, "floats"),
    "exr": Format("frame_files.ExrFrames", ("_depths_exr",), 4.5, "floats", frame_files=True, package="OpenEXR"),
    "png16": Format("frame_files.Png16Frames", ("_depths_png16",), 2.0, "levels", frame_files=True),
    # FFV1 divides a frame into 2x2 slices.
    "mkv16": Format("videos.Depth16Video", (r"_depths16\.(mkv|json)",), 2.0, "levels", sides=(2, 1 << 31)),
    "ply": Format("point_clouds.PointClouds", (r"_point\d{4,}\.ply",), 15.0, "points", frame_files=True),
}
