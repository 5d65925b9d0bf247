"""The formats: a new one is one file with its writer, and one entry here. Imports nothing heavy."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ..video.sound import AudioTrack
    from .base import OutputWriter, RunInfo
    from .options import CameraOptions, OutputOptions
    from .point_clouds import Intrinsics
    from .values import Values
    from .visualiser import VisStyle


@dataclass(frozen=True)
class Making:
    """What a writer is made from.

    Attributes:
        info: the run.
        style: how depth is shown.
        values: what numeric outputs write.
        ends: lowest and highest value of the video, for a format that needs them; else None.
        intrinsics: of the processed frames.
        camera: which points are wanted.
        audio: sound for videos; None: none.
        codec: of colour videos.
        expected: how many frames will come; None: not known.
    """

    info: RunInfo
    style: VisStyle
    values: Values
    ends: tuple[float, float] | None
    intrinsics: Intrinsics
    camera: CameraOptions
    audio: AudioTrack | None
    codec: str
    expected: int | None


@dataclass(frozen=True)
class Format:
    """One entry.

    Attributes:
        make: its writer.
        endings: of the names that it writes, as regular expressions; a folder of frames ends in a slash.
        bytes_a_pixel: on disk, an upper estimate: arrays and point clouds as they are stored, videos by experience.
        share: of the pixels that are written.
        metric: whether it needs metres.
        shortest_side: of the frames that it can hold, in pixels.
        require: raises OutputError where a package is missing that it needs.
        whole_range: from options and whether depth is metric: whether it needs the range of the video beforehand.
        shows_source: whether it then also needs the source's frames.
    """

    make: Callable[[Making], OutputWriter]
    endings: tuple[str, ...]
    bytes_a_pixel: float
    share: Callable[[CameraOptions], float] = lambda _: 1.0
    metric: bool = False
    shortest_side: int = 1
    require: Callable[[], None] = lambda: None
    whole_range: Callable[[OutputOptions, bool], bool] = lambda _, __: False
    shows_source: Callable[[OutputOptions], bool] = lambda _: False


def _src(making: Making) -> OutputWriter:
    from .videos import SourceVideo

    return SourceVideo(making.info, making.audio, making.codec)


def _vis(making: Making) -> OutputWriter:
    from .videos import DepthVideo

    return DepthVideo(making.info, making.style, making.audio, making.ends, making.codec)


def _npz(making: Making) -> OutputWriter:
    from .arrays import NpzArchive

    return NpzArchive(making.info, making.expected, making.values)


def _exr(making: Making) -> OutputWriter:
    from .arrays import ExrFrames

    names = ("focal_x", "focal_y", "center_x", "center_y") if making.info.kind == "depth_metres" else ()
    return ExrFrames(making.info, {name: getattr(making.intrinsics, name) for name in names}, making.values)


def _require_openexr() -> None:
    from .arrays import require_openexr

    require_openexr()


def _png16(making: Making) -> OutputWriter:
    from .arrays import Png16Frames

    return Png16Frames(making.info, making.values)


def _mkv16(making: Making) -> OutputWriter:
    from .videos import Depth16Video

    return Depth16Video(making.info, making.values)


def _ply(making: Making) -> OutputWriter:
    from .point_clouds import PointClouds

    return PointClouds(making.info, making.intrinsics, making.camera)


def _require_open3d() -> None:
    from .point_clouds import require_open3d

    require_open3d()


def _scaled(options: OutputOptions, _metric: bool) -> bool:
    return options.depth != "raw"


def _scaled_to_16_bit(options: OutputOptions, metric: bool) -> bool:
    return options.depth != "raw" or not metric


def _scaled_png16(options: OutputOptions, metric: bool) -> bool:
    return _scaled_to_16_bit(options, metric) and options.png16_scale == "video"


FORMATS = {
    "src": Format(_src, (r"_src\.mp4",), 0.3),
    "vis": Format(
        _vis,
        (r"_vis\.mp4",),
        0.6,
        whole_range=lambda options, _: options.vis_range.kind == "video",
        shows_source=lambda options: options.layout == "compare",
    ),
    "npz": Format(_npz, (r"_depths\.npz",), 4.0, whole_range=_scaled),
    "exr": Format(_exr, ("_depths_exr/",), 4.5, require=_require_openexr, whole_range=_scaled),
    "png16": Format(_png16, ("_depths_png16/",), 2.0, whole_range=_scaled_png16),
    # FFV1 cuts a frame into two by two slices.
    "mkv16": Format(
        _mkv16, (r"_depths16\.mkv", r"_depths16\.json"), 2.0, shortest_side=2, whole_range=_scaled_to_16_bit
    ),
    "ply": Format(
        _ply,
        (r"_point\d{4,}\.ply",),
        15.0,
        share=lambda camera: 1 / camera.stride**2 / camera.every,
        metric=True,
        require=_require_open3d,
    ),
}
