"""Which outputs a run has, what they need on disk, and the record by which a finished run is known."""

from __future__ import annotations

import logging
import shutil
from collections.abc import Sequence
from pathlib import Path

from ..errors import OutputError, UsageError
from ..video.inputs import Input
from ..video.source import VideoSource
from ..video.writer import AudioTrack
from .arrays import ExrFrames, NpzArchive, Png16Frames
from .base import DepthFrame, DepthKind, Finished, OutputWriter, RunInfo
from .colormap import color_table
from .options import CameraOptions, OutputOptions, Provenance
from .point_clouds import ORIGINAL_FOCAL, CloudOptions, Intrinsics, PointClouds, require_open3d
from .videos import OnePassVis, SourceVideo, TwoPassVideos, VisStyle


class RunOutputs:
    def __init__(self, writers: list[OutputWriter]) -> None:
        self.writers = writers

    def add(self, writer: OutputWriter) -> None:
        self.writers.append(writer)

    def write(self, frame: DepthFrame) -> None:
        finished = False
        for writer in self.writers:
            try:
                writer.write(frame)
            except Finished:
                finished = True
        if finished:
            raise Finished

    def close(self, interrupted: bool = False) -> None:
        for writer in self.writers:
            writer.close()

    def abort(self) -> None:
        for writer in self.writers:
            writer.abort()

    def written(self) -> list[str]:
        return [text for writer in self.writers for text in writer.written()]

    def files(self) -> list[Path]:
        return [Path(text) for text in self.written() if not text.endswith(" files)")]


logger = logging.getLogger(__name__)

# Bytes a frame, for each of its pixels: arrays and .ply as they are stored, videos and EXR by experience.
BYTES_PER_PIXEL = {"src": 0.3, "vis": 0.3, "npz": 4.0, "exr": 4.5, "png16": 2.0, "mkv16": 2.0}
BYTES_PER_POINT = 15.0
SPOOLED_DEPTH, SPOOLED_IMAGE = 4.0, 3.0


class OutputPlan:
    def __init__(
        self,
        options: OutputOptions,
        camera: CameraOptions,
        metric: bool,
        start: float = 0.0,
        provenance: Provenance | None = None,
    ) -> None:
        usual = ["src", "vis"] + ["ply"] * metric
        self.save = tuple(dict.fromkeys(usual if options.save is None else options.save))
        if "ply" in self.save:
            if not metric:
                raise UsageError("--save ply needs metres: use --metric with a metric checkpoint")
            require_open3d()
        try:
            table = None if options.grayscale else color_table(options.colormap)
        except ValueError as error:
            raise UsageError(f"--colormap: {error}") from error
        self.folder = options.folder
        self.style = VisStyle(table, options.vis_range, "side-by-side" if options.layout == "compare" else "depth")
        self.metric = metric
        self.keep_audio = options.keep_audio
        self.start = start
        self.clouds = CloudOptions(camera.every, camera.stride, camera.max_depth)
        self.focal = camera.focal or (ORIGINAL_FOCAL, ORIGINAL_FOCAL)
        self.fov = camera.fov
        self.principal_point = camera.principal_point

    def check_inputs(self, inputs: Sequence[Input]) -> None:
        pass

    def open(self, source: VideoSource) -> RunOutputs:
        return RunOutputs(self.make_writers(source))

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
