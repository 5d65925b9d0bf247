"""Which outputs a run has, what they need on disk, and what they must not replace."""

from __future__ import annotations

import contextlib
import logging
import os
import shutil
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from fractions import Fraction
from pathlib import Path

from ..errors import OutputError, UsageError
from ..video.copying import Original
from ..video.inputs import Input
from ..video.names import printable
from ..video.sound import AudioTrack
from ..video.sound_streams import NO_SOUND
from .base import DepthKind, OutputWriter, RunInfo, Source
from .colormap import color_table
from .options import CameraOptions, OutputOptions, Provenance
from .ownership import Ownership, is_output, outputs_in
from .point_clouds import processed_intrinsics
from .registry import FORMATS, Making
from .run_outputs import RunOutputs
from .spool import LateOutputs, MakeLate, abort_all
from .staging import Staging, check_length, remove_abandoned
from .values import Values
from .visualiser import VisStyle

logger = logging.getLogger(__name__)

SPOOLED_DEPTH, SPOOLED_IMAGE = 4.0, 3.0
# The longest name that is made of a run's: that of a point cloud put beside a whole result.
LONGEST_ENDING = "_interrupted_point00000.ply"


@dataclass(frozen=True)
class OutputPlan:
    """What to write of every input, decided once; whatever is wrong with the options comes out here.

    Attributes:
        options: what is written and where.
        camera: of point clouds.
        metric: whether depth is in metres.
        start: seconds of every input that are left out at its beginning; its sound begins there too.
        provenance: of the numbers; `dataclasses.replace` adds it when the weights are known.
        save: the formats, in order.
        style: how depth is shown.

    Raises:
        UsageError: if options make no sense together, or name what does not exist.
        OutputError: if a package is missing that a format needs.
    """

    options: OutputOptions
    camera: CameraOptions
    metric: bool
    start: float = 0.0
    provenance: Provenance | None = None
    save: tuple[str, ...] = field(init=False)
    style: VisStyle = field(init=False)

    def __post_init__(self) -> None:
        usual = ("src", "vis", "ply") if self.metric else ("src", "vis")
        save = usual if self.options.save is None else tuple(dict.fromkeys(self.options.save))
        for name in save:
            self._check_format(name)
        if self.options.png16_scale == "frame" and self.options.depth != "raw":
            raise UsageError(f"--depth {self.options.depth} spans the video: --png16_scale frame does not go with it")
        try:
            table = None if self.options.grayscale else color_table(self.options.colormap)
        except ValueError as error:
            raise UsageError(f"--colormap: {error}") from error
        object.__setattr__(self, "save", save)
        object.__setattr__(self, "style", VisStyle(table, self.options.vis_range, self.options.layout))

    def _check_format(self, name: str) -> None:
        if name not in FORMATS:
            raise UsageError(f"--save {name}: there is no such format; choose from {', '.join(FORMATS)}")
        if FORMATS[name].metric and not self.metric:
            raise UsageError(f"--save {name} needs metres: use --metric with a metric checkpoint")
        FORMATS[name].require()

    @property
    def folder(self) -> Path:
        """Where the outputs go."""
        return self.options.folder

    def _late(self) -> list[str]:
        """The formats that are written at the end, when the range of the video is known."""
        return [name for name in self.save if FORMATS[name].whole_range(self.options, self.metric)]

    def _spools_images(self) -> bool:
        return any(FORMATS[name].shows_source(self.options) for name in self._late())

    def bytes_per_frame(self, size: tuple[int, int]) -> dict[str, float]:
        """Upper estimate for each output, and for the spool, of frames of `size` (H, W)."""
        pixels = size[0] * size[1]
        needed = {name: FORMATS[name].bytes_a_pixel * FORMATS[name].share(self.camera) * pixels for name in self.save}
        if self._late():
            images = SPOOLED_IMAGE if self._spools_images() else 0.0
            needed["spool, removed at the end"] = (SPOOLED_DEPTH + images) * pixels
        return needed

    def run_info(self, source: Source) -> RunInfo:
        """What the outputs of one input have in common."""
        kind: DepthKind = "depth_metres" if self.metric else "disparity"
        return RunInfo(
            self.folder,
            source.name,
            printable(source.location),
            kind,
            source.size,
            source.source_size,
            source.fps,
            self.start,
            float(source.pixel_aspect),
            self.provenance,
        )

    def check_inputs(self, inputs: Sequence[Input]) -> None:
        """Refuse outputs that would take the place of an input of the run, or of another input's outputs.

        Raises:
            OutputError: naming both.
        """
        folder = Path(os.path.realpath(self.folder))
        for one in inputs:
            for file in () if one.path is None else (*one.images, one.path):
                # The input itself, or a folder that it lies in, might be the name of an output.
                real = Path(os.path.realpath(file))
                for path in (real, *real.parents):
                    if path.parent == folder or _same(path.parent, folder):
                        self._check_input(path, one, inputs)

    def _check_input(self, path: Path, one: Input, inputs: Sequence[Input]) -> None:
        for other in inputs:
            # Some file systems take upper and lower case for the same.
            if is_output(path.with_name(path.name.casefold()), other.name.casefold(), self.save):
                raise OutputError(
                    f"the outputs of {other.location} would overwrite the input {one.location}; "
                    "choose another --output_dir"
                )

    def open(self, source: Source) -> RunOutputs:
        """Make the outputs of one input, ready for its frames.

        What the disk needs is said, and what ended runs left unfinished in the folder is removed.

        Raises:
            OutputError: if the folder cannot be made, the disk is too full, another run writes the same outputs, files
                would be replaced that no earlier run wrote, or a format cannot hold frames of that size.
        """
        if not self.save:
            return RunOutputs(source.name, self.folder, None, [])
        self._check_size(source)
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            reason = f"{error.strerror}; choose another --output_dir"
            raise OutputError(f"output folder {self.folder} cannot be made: {reason}") from error
        check_length(self.folder, source.name, LONGEST_ENDING)
        remove_abandoned(self.folder)
        try:
            staging = Staging(self.folder, source.name, self.options.overwrite)
        except OSError as error:
            raise OutputError(
                f"cannot write to {self.folder}: {error.strerror}; choose another --output_dir"
            ) from error
        try:
            self._check_replaced(source.name)
            self._check_disk(source)
            return RunOutputs(source.name, self.folder, staging, self._make_writers(source, staging.path))
        except BaseException:
            staging.close()
            raise

    def _check_size(self, source: Source) -> None:
        for name in self.save:
            if min(source.size) < FORMATS[name].shortest_side:
                raise OutputError(
                    f"{name} cannot hold frames of {source.size[1]}x{source.size[0]} pixels ({source.location}); "
                    "use --save npz or --save exr"
                )

    def _check_replaced(self, name: str) -> None:
        ownership = Ownership(self.folder, name)
        for path in outputs_in(self.folder, name, self.save):
            if not self.options.overwrite and not ownership.owns(path):
                raise OutputError(
                    f"{path} is there, and no earlier run wrote it so; move it, choose another --output_dir, or give "
                    "--overwrite"
                )

    def _check_disk(self, source: Source) -> None:
        """Say what the run needs on disk and refuse what does not fit."""
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
                f"{self.folder}; choose another --output_dir, fewer outputs, or --vis_range percentile; if the length "
                f"in its header is wrong, {_length(source.expected, source.fps)}, --max_len says how many"
            )
        logger.info("disk: up to %s (%s)", readable(total), parts)

    def _make_writers(self, source: Source, folder: Path) -> list[OutputWriter]:
        info = replace(self.run_info(source), folder=folder)
        intrinsics, line = processed_intrinsics(self.camera, source.source_size, source.size)
        if "ply" in self.save:
            logger.info("%s", line)
        audio = self._sound(source)
        making = Making(
            info,
            self.style,
            Values(info.kind),
            None,
            intrinsics,
            self.camera,
            audio,
            self.options.codec,
            source.expected,
            Original(Path(source.location), lambda: source.copyable) if source.copyable else None,
        )
        late = self._late()
        writers: list[OutputWriter] = []
        with contextlib.ExitStack() as failed:
            failed.callback(lambda: abort_all(writers))
            for name in self.save:
                if name not in late:
                    writers.append(FORMATS[name].make(making))
            if late:
                makers = [self._maker(name, making) for name in late]
                writers.append(LateOutputs(info, makers, self._spools_images()))
            failed.pop_all()
        return writers

    def _sound(self, source: Source) -> AudioTrack | None:
        """The input's sound, if it is wanted and can be used: it never costs the depth."""
        if not self.options.keep_audio or not {"src", "vis"} & set(self.save):
            return None
        audio = AudioTrack(source.location, self.start, lambda: source.first_time, lambda: source.joints)
        reason = audio.check()
        if reason is not None:
            level = logging.INFO if reason == NO_SOUND else logging.WARNING  # a silent video is nothing to warn of
            logger.log(level, "%s: its sound is left out: %s", printable(source.location), reason)
            return None
        return audio

    def _maker(self, name: str, making: Making) -> MakeLate:
        def make(info: RunInfo, ends: tuple[float, float]) -> OutputWriter:
            values = Values(info.kind, self.options.depth, ends)
            return FORMATS[name].make(replace(making, info=info, values=values, ends=ends))

        return make


def _same(path: Path, other: Path) -> bool:
    """Whether two names are of one folder."""
    try:
        return path.samefile(other)
    except OSError:
        return False


def _length(frames: int, fps: Fraction) -> str:
    seconds = frames / max(float(fps), 1e-9)
    unit, size = next((unit for unit in (("hours", 3600), ("minutes", 60)) if seconds >= 2 * unit[1]), ("seconds", 1))
    return f"{frames} frames or {seconds / size:.3g} {unit}"


def readable(number: float) -> str:
    """A number of bytes, rounded, with its unit."""
    for unit, size in (("TB", 1e12), ("GB", 1e9), ("MB", 1e6)):
        if number >= size:
            return f"{number / size:.3g} {unit}"
    return f"{number / 1e3:.3g} kB"
