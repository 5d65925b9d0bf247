"""Which outputs a run has, what they need on disk, and the record by which a finished run is known."""

from __future__ import annotations

import argparse
import logging
import shutil
from dataclasses import dataclass
from pathlib import Path

from ..errors import OutputError
from ..video.source import VideoSource
from ..video.writer import AudioTrack
from .arrays import ExrFrames, NpzArchive, Png16Frames
from .base import DepthKind, OutputWriter, RunInfo
from .colormap import color_table
from .point_clouds import ORIGINAL_FOCAL, CloudOptions, Intrinsics, PointClouds, require_open3d
from .videos import OnePassVis, SourceVideo, TwoPassVideos, VisStyle

logger = logging.getLogger(__name__)

# Bytes a frame, for each of its pixels: arrays and .ply as they are stored, videos and EXR by experience.
BYTES_PER_PIXEL = {"src": 0.3, "vis": 0.3, "npz": 4.0, "exr": 4.5, "png16": 2.0, "mkv16": 2.0}
BYTES_PER_POINT = 15.0
SPOOLED_DEPTH, SPOOLED_IMAGE = 4.0, 3.0


@dataclass(frozen=True)
class OutputPlan:
    """What to write of every input, decided once from a script's arguments.

    Raises:
        OutputError: from `from_arguments`, if something asked for is not to be had or makes no sense.
    """

    folder: Path
    save: tuple[str, ...]
    style: VisStyle
    metric: bool
    keep_audio: bool
    start: float
    clouds: CloudOptions
    focal: tuple[float, float]
    fov: float | None
    principal_point: tuple[float, float] | None

    @classmethod
    def from_arguments(cls, args: argparse.Namespace) -> OutputPlan:
        usual = ["src", "vis"] + ["ply"] * args.metric
        save = list(getattr(args, "save", usual)) + ["npz"] * args.save_npz + ["exr"] * args.save_exr
        if "ply" in save:
            if not args.metric:
                raise OutputError("--save ply needs metres: use --metric with a metric checkpoint")
            require_open3d()
        try:
            table = None if args.grayscale else color_table(args.colormap)
        except ValueError as error:
            raise OutputError(f"--colormap: {error}") from error
        return cls(
            folder=args.output_dir,
            save=tuple(dict.fromkeys(save)),
            style=VisStyle(table, args.vis_range, args.vis),
            metric=args.metric,
            keep_audio=args.keep_audio,
            start=args.start,
            clouds=CloudOptions(args.ply_every, args.ply_stride, args.ply_max_depth),
            focal=(args.focal_length_x, args.focal_length_y),
            fov=args.fov,
            principal_point=None if args.principal_point is None else tuple(args.principal_point),
        )

    @property
    def two_pass(self) -> bool:
        """Whether depth has to be kept on disk until the range of the whole video is known."""
        return ("vis" in self.save and self.style.range.kind == "video") or "mkv16" in self.save

    def intrinsics(self, source: VideoSource) -> Intrinsics:
        """Of the processed frames; what the user gave is of the source's."""
        if self.fov is not None:
            own = Intrinsics.from_fov(self.fov, source.source_size)
        else:
            own = Intrinsics.centered(*self.focal, source.source_size)
        if self.principal_point is not None:
            own = Intrinsics(own.focal_x, own.focal_y, *self.principal_point)
        return own.scaled(source.source_size, source.size)

    def bytes_per_frame(self, size: tuple[int, int]) -> dict[str, float]:
        """Upper estimate for each output, and for the spool, of frames of `size` (H, W)."""
        pixels = size[0] * size[1]
        needed = {name: BYTES_PER_PIXEL[name] * pixels for name in self.save if name != "ply"}
        if "ply" in self.save:
            needed["ply"] = BYTES_PER_POINT * pixels / self.clouds.stride**2 / self.clouds.every
        if self.two_pass:
            images = SPOOLED_IMAGE if self.style.layout == "side-by-side" else 0.0
            needed["spool, removed at the end"] = (SPOOLED_DEPTH + images) * pixels
        return needed

    def check_disk(self, source: VideoSource) -> None:
        """Say what the run needs on disk and refuse what does not fit.

        Raises:
            OutputError: naming what is needed, what is free, and ways out.
        """
        per_frame = self.bytes_per_frame(source.size)
        if source.expected is None:
            logger.info("disk: up to %s a frame", readable(sum(per_frame.values())))
            return
        needed = {name: value * source.expected for name, value in per_frame.items()}
        total, free = sum(needed.values()), shutil.disk_usage(self.folder).free
        parts = ", ".join(f"{name} {readable(value)}" for name, value in needed.items())
        if total > free:
            raise OutputError(
                f"{source.location} needs up to {readable(total)} on disk ({parts}), {readable(free)} are free in "
                f"{self.folder}; choose another --output_dir, fewer outputs, or --vis_range percentile"
            )
        logger.info("disk: up to %s (%s)", readable(total), parts)

    def make_writers(self, source: VideoSource) -> list[OutputWriter]:
        """The writers for one input.

        Raises:
            OutputError: if the output folder cannot be made, or the disk is too full.
        """
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            reason = f"{error.strerror}; choose another --output_dir"
            raise OutputError(f"output folder {self.folder} cannot be made: {reason}") from error
        self.check_disk(source)
        if "ply" in self.save and self.fov is None and self.focal == (ORIGINAL_FOCAL, ORIGINAL_FOCAL):
            logger.info(
                "point clouds assume a focal length of %g pixels; --fov or --focal-length-x tell", ORIGINAL_FOCAL
            )
        writers: list[OutputWriter] = []
        try:
            for name in self._order():
                writers.append(self._make(name, source))
        except BaseException:
            for writer in writers:
                writer.abort()
            raise
        return writers

    def _order(self) -> list[str]:
        first = [name for name in self.save if name not in ("vis", "mkv16")]
        if self.two_pass:
            return [*first, "two-pass"] + (["vis"] if "vis" in self.save and self.style.range.kind != "video" else [])
        return [*first, "vis"] if "vis" in self.save else first

    def _make(self, name: str, source: VideoSource) -> OutputWriter:
        info = self.run_info(source)
        audio = AudioTrack(source.location, self.start) if self.keep_audio else None
        intrinsics = self.intrinsics(source)
        if name == "src":
            return SourceVideo(info, audio)
        if name == "vis":
            return OnePassVis(info, self.style, audio)
        if name == "two-pass":
            style = self.style if "vis" in self.save and self.style.range.kind == "video" else None
            return TwoPassVideos(info, style, "mkv16" in self.save, audio)
        if name == "npz":
            return NpzArchive(info, source.expected)
        if name == "exr":
            names = ("focal_x", "focal_y", "center_x", "center_y")
            return ExrFrames(info, {n: getattr(intrinsics, n) for n in names} if self.metric else {})
        if name == "png16":
            return Png16Frames(info)
        return PointClouds(info, intrinsics, self.clouds)

    def run_info(self, source: VideoSource) -> RunInfo:
        """What the outputs of one input have in common."""
        kind: DepthKind = "depth_metres" if self.metric else "disparity"
        return RunInfo(self.folder, source.name, source.location, kind, source.size, source.source_size, source.fps)


def readable(number: float) -> str:
    """A number of bytes, rounded, with its unit."""
    for unit, size in (("TB", 1e12), ("GB", 1e9), ("MB", 1e6)):
        if number >= size:
            return f"{number / size:.3g} {unit}"
    return f"{number / 1e3:.3g} kB"
