"""Plans a run's outputs: which there are, the disk space they need, and what they must not replace."""

from __future__ import annotations

import contextlib
import logging
import math
import os
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from fractions import Fraction
from importlib import import_module
from pathlib import Path

from ..errors import OutputError, UsageError
from ..video.inputs import Input
from ..video.names import printable
from ..video.options import FrameRange
from ..video.sequences import around_numbers, numbered
from ..video.sound import NO_SOUND, AudioTrack
from ..video.source import Source
from ..video.writer import check_codec
from .base import Numbering, OutputWriter, RunInfo, abort_all
from .colormap import color_table
from .late import LateOutputs, late_bytes
from .options import CameraOptions, OutputOptions, VisRange, usual_formats
from .record import RunRecord, Span, is_output, record_of, source_of, state_of
from .registry import FORMATS
from .run_outputs import RunOutputs
from .staging import Staging, remove_abandoned

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class OutputPlan:
    """What to write for each input, decided once.

    Raises:
        UsageError: if options contradict each other, or name something unknown.
        OutputError: if a format needs a missing package.
    """

    options: OutputOptions
    camera: CameraOptions
    metric: bool  # whether depth is in metres
    start: float = 0.0  # seconds skipped at the start of every input
    # The values' origin, and all settings that change the outputs: added when the weights are known.
    provenance: Mapping[str, str] = field(default_factory=dict)
    settings: Mapping[str, str] = field(default_factory=dict)
    frames: FrameRange | None = None  # those that are written; None: all
    save: tuple[str, ...] = field(init=False)  # the formats, in order

    def __post_init__(self) -> None:
        save = tuple(dict.fromkeys(usual_formats(self.metric) if self.options.save is None else self.options.save))
        for name in save:
            if name not in FORMATS:
                raise UsageError(f"--save {name}: unknown format; choose from {', '.join(FORMATS)}")
            if FORMATS[name].holds == "points" and not self.metric:
                raise UsageError(f"--save {name} needs depth in metres: use --metric with a metric checkpoint")
            package = FORMATS[name].package
            try:
                import_module(package or "numpy")
            except ImportError as error:
                line = f"--save {name} needs {package}, which cannot be imported ({error}): pip install {package}"
                raise OutputError(line) from error
        if self.options.png16_scale == "frame" and self.options.depth != "raw":
            raise UsageError(
                f"--depth {self.options.depth} spans the whole video and cannot be combined with --png16_scale frame"
            )
        if {"src", "vis"} & set(save):
            check_codec(self.options.codec)
        try:
            color_table(self.options.colormap)
        except ValueError as error:
            raise UsageError(f"--colormap: {error}") from error
        object.__setattr__(self, "save", save)

    @property
    def folder(self) -> Path:
        """The output folder."""
        return self.options.folder

    def _late(self) -> list[str]:
        """The formats written at the end, when the video's value range is known."""
        return [name for name in self.save if FORMATS[name].needs_range(self.options, self.metric)]

    def bytes_per_frame(self, size: tuple[int, int]) -> dict[str, float]:
        """Estimate the largest size in bytes of each output, and of the spool, for frames of `size` (H, W)."""
        pixels = size[0] * size[1]
        needed = {name: FORMATS[name].bytes_a_frame_pixel(self.camera) * pixels for name in self.save}
        late = [FORMATS[name] for name in self._late()]
        if late and self.options.depth_range is None:
            needed["spool, removed at the end"] = late_bytes(late, self.options) * pixels
        return needed

    def run_info(self, source: Source) -> RunInfo:
        """What the outputs of one input have in common."""
        return RunInfo(
            self.folder,
            source.name,
            printable(source.location),
            "depth_metres" if self.metric else "disparity",
            source.size,
            source.source_size,
            source.fps,
            self.start,
            float(source.pixel_aspect),
            self.provenance,
            self.options,
            self.camera,
            self.options.depth_range,
            numbering=numbering(source.images),
        )

    def is_finished(self, one: Input) -> bool:
        """Whether a run with these settings on this input has finished, and all its outputs still exist."""
        records = (RunRecord.read(self.folder, name) for name in (one.name, f"{one.name}_part"))
        what = source_of(one.location, one.images), state_of(one.location, one.images), dict(self.settings)
        return any(record.is_finished(*what) for record in records)

    def named(self, one: Input) -> Input:
        """The input under the name that its outputs have from an earlier run, in whatever order inputs came then."""
        record = record_of(self.folder, one.stem or one.name, source_of(one.location, one.images))
        return replace(one, name=record.name) if record.source else one

    def check_inputs(self, inputs: Sequence[Input]) -> None:
        """Raise an OutputError that names both if outputs would replace an input of the run."""
        folder = Path(os.path.realpath(self.folder))
        for one in inputs:
            for file in () if one.path is None else (*one.images, one.path):
                # The input, or a folder that contains it, might have the name of an output.
                real = Path(os.path.realpath(file))
                names = [path.name.casefold() for path in (real, *real.parents) if _same(path.parent, folder)]
                for other in inputs:
                    # Some file systems ignore case.
                    if any(is_output(other.name.casefold(), name, self.save) for name in names):
                        what = f"the outputs of {other.shown} would overwrite the input {one.shown}"
                        raise OutputError(f"{what}; choose another --output_dir")

    def open(self, source: Source) -> RunOutputs:
        """Make the outputs of one input, ready for its frames.

        Log the disk space needed, and remove unfinished files of ended runs from the folder.

        Raises:
            OutputError: if the folder cannot be made, the disk is too full, another run writes the same outputs, files
                would be replaced that no earlier run wrote, or a format cannot hold frames of that size.
        """
        if self.options.vis_range.kind == "auto":
            # An endless source has no value range of the whole video; its outputs are written frame by frame.
            span = VisRange("percentile" if source.live else "video")
            return replace(self, options=replace(self.options, vis_range=span)).open(source)
        run = self.run_info(source)
        if not self.save:
            return RunOutputs(run)
        for name in self.save:
            shortest, longest = FORMATS[name].sides
            if not shortest <= min(source.size) <= max(source.size) <= longest:
                size = f"{source.size[1]}x{source.size[0]} pixels ({source.location})"
                raise OutputError(f"{name} cannot hold frames of {size}; use --save npz, --save exr or --max_res")
        origin = source_of(source.address, source.images, source.live)
        state = state_of(source.address, source.images)
        wanted = RunRecord(self.folder, source.name, origin, state, dict(self.settings))
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            remove_abandoned(self.folder)
            staging = Staging(wanted, self.save, self.options.overwrite)
        except OSError as error:
            reason = f"{error.strerror}; choose another --output_dir"
            raise OutputError(f"cannot write to {self.folder}: {reason}") from error
        run = replace(run, name=staging.name, ends=run.ends or self._range_of_whole(source, staging.earlier))
        if self.frames is not None and self._late() and run.ends is None:
            text = "%s: the value range is that of frames %s only; --depth_range LOW HIGH sets another"
            logger.warning(text, ", ".join(self._late()), self.frames)
        try:
            self._check_disk(source)
            writers = self._make_writers(source, replace(run, folder=staging.path))
            # Counts of a video are its own where nothing is left out before them or between them.
            own_numbers = self.start <= 0 and source.fps == source.source_fps
            return RunOutputs(run, staging, writers, own_numbers)
        except BaseException:
            staging.close()
            raise

    def _range_of_whole(self, source: Source, whole: RunRecord) -> tuple[float, float] | None:
        """An earlier run's value range, if this run recomputes part of it."""
        if not (self._late() and whole.finished and whole.same_depth(dict(self.settings))):
            return None
        if whole.span is None or whole.ends is None:
            return None
        numbers = [part.number for part in map(numbered, source.images) if part is not None]
        step = 1.0 if numbers else 1 / float(source.fps)
        zero = 0 if numbers else self.start  # the number or time of frame 0
        known = source.expected is not None and self.frames is None
        start, end = zero, zero + (source.expected or 0) * step if known else math.inf
        if numbers:
            start, end = numbers[0], numbers[-1] + 1
        if self.frames is not None:
            start, end = max(start, zero + self.frames.first * step), min(end, zero + (self.frames.last + 1) * step)
        part = Span(start, end, step, True)
        if part.covers(whole.span) or not whole.span.covers(part):
            return None
        low, high = whole.ends
        logger.info("using the value range of the earlier run on the whole input: %.6g to %.6g", low, high)
        return low, high

    def _check_disk(self, source: Source) -> None:
        """Log the disk space needed; OutputError if there is not enough."""
        per_frame = self.bytes_per_frame(source.size)
        if source.expected is None:
            logger.info("disk: up to %s per frame", with_unit(sum(per_frame.values())))
            return
        needed = {name: value * source.expected for name, value in per_frame.items()}
        total, free = sum(needed.values()), shutil.disk_usage(self.folder).free
        parts = ", ".join(f"{name} {with_unit(value)}" for name, value in needed.items())
        if total > free:
            raise OutputError(
                f"{source.location} needs up to {with_unit(total)} on disk ({parts}), {with_unit(free)} are free in "
                f"{self.folder}; choose another --output_dir, fewer outputs, or --vis_range percentile; if the length "
                f"in its header is wrong, {_length(source.expected, source.fps)}, --max_len says how many"
            )
        logger.info("disk: up to %s (%s)", with_unit(total), parts)

    def _make_writers(self, source: Source, run: RunInfo) -> list[OutputWriter]:
        run = replace(run, audio=self._sound(source), original=source if source.copyable else None)
        late = self._late() if run.ends is None else []
        writers: list[OutputWriter] = []
        with contextlib.ExitStack() as failed:
            failed.callback(lambda: abort_all(writers))
            for name in self.save:
                if name not in late:
                    writers.append(FORMATS[name].open(run))
            if late:
                writers.append(LateOutputs(run, [FORMATS[name] for name in late]))
            failed.pop_all()
        return writers

    def _sound(self, source: Source) -> AudioTrack | None:
        """The input's sound, if wanted and usable; else None, with the reason logged."""
        if not self.options.keep_audio or not any(FORMATS[name].holds in ("source", "pictures") for name in self.save):
            return None
        audio = AudioTrack(source.address, lambda: source.first_time, lambda: source.joints)
        reason = "its source can be read only once" if source.live else audio.check()
        if reason is not None:
            level = logging.INFO if reason == NO_SOUND else logging.WARNING  # a silent video needs no warning
            logger.log(level, "%s: its sound is omitted: %s", printable(source.location), reason)
            return None
        return audio


def numbering(images: Sequence[Path]) -> Numbering:
    """Naming of frame files: that of a numbered sequence, if the source is one."""
    around = around_numbers(images)
    if around is None:
        return Numbering()
    before, after = around[0].rpartition(os.sep)[2], around[1].removesuffix(images[0].suffix)
    digits = min(len(path.stem) for path in images) - len(before) - len(after)
    return Numbering(before, digits, after)


def _same(path: Path, other: Path) -> bool:
    """Whether two paths are the same folder."""
    try:
        return path == other or path.samefile(other)
    except OSError:
        return False


def _length(frames: int, fps: Fraction) -> str:
    seconds = frames / max(float(fps), 1e-9)
    unit, size = next((unit for unit in (("hours", 3600), ("minutes", 60)) if seconds >= 2 * unit[1]), ("seconds", 1))
    return f"{frames} frames or {seconds / size:.3g} {unit}"


def with_unit(number: float) -> str:
    """Format a number of bytes, rounded, with its unit."""
    for unit, size in (("TB", 1e12), ("GB", 1e9), ("MB", 1e6)):
        if number >= size:
            return f"{number / size:.3g} {unit}"
    return f"{number / 1e3:.3g} kB"
