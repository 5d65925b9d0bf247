"""Outputs with one file per frame: OpenEXR and 16-bit PNG."""

from __future__ import annotations

import contextlib
import io
import shutil
from pathlib import Path

import cv2
import numpy as np

from ..video.frame import Frame
from .base import OutputWriter, RunInfo, ValueRange, as_json, write_whole
from .point_clouds import processed_intrinsics
from .values import to_16_bit


class _FrameFiles(OutputWriter):
    """A folder with one file per frame, complete or absent, numbered like the frames."""

    def __init__(self, run: RunInfo, ending: str, suffix: str) -> None:
        self._run = run
        self._values = run.values
        self._folder = run.path(ending)
        self._folder.mkdir(exist_ok=True)
        self._suffix = suffix
        self._count = 0

    def _write(self, frame: Frame, data: memoryview) -> Path:
        path = self._folder / f"{self._run.numbering.name(frame.numbered(self._count))}{self._suffix}"
        write_whole(path, data)
        self._count += 1
        return path


class ExrFrames(_FrameFiles):
    """`_depths_exr/frame_00000.exr`: one 32-bit float OpenEXR file per frame, ZIP compressed.

    Channel `Z` holds depth unchanged, as in the original. `R`, `G` and `B` repeat it: viewers show those, and ffmpeg
    cannot open a file without them. The standard attributes framesPerSecond and pixelAspectRatio are set; others
    describe the values and their origin. There is no timeCode: frames have the source's numbers, and a code computed
    from times would be wrong if the source has its own.
    """

    def __init__(self, run: RunInfo) -> None:
        super().__init__(run, "_depths_exr", ".exr")
        fps = run.fps.limit_denominator(100_000)
        self._attributes = {**run.facts(), "source": run.source, "fps": float(run.fps), "framesPerSecond": fps}
        self._attributes["pixelAspectRatio"] = float(run.pixel_aspect)
        if run.kind == "depth_metres":
            intrinsics, _ = processed_intrinsics(run.camera, run.source_size, run.size)
            self._attributes |= vars(intrinsics.scaled(run.size, run.grid))

    def write(self, frame: Frame) -> None:
        import OpenEXR

        header = {"compression": OpenEXR.ZIP_COMPRESSION, "type": OpenEXR.scanlineimage, **self._attributes}
        pixels = np.ascontiguousarray(self._values(frame.depth))
        # Through memory: OpenEXR cannot write to names that are not valid Unicode.
        data = io.BytesIO()
        OpenEXR.File({**header, "time": frame.timestamp}, dict.fromkeys("RGBZ", pixels)).write(data)
        self._write(frame, data.getbuffer())


class Png16Frames(_FrameFiles):
    """`_depths_png16/frame_00000.png`: 16-bit gray; `mapping.json` has each file's mapping to values.

    Metres are stored as millimetres; disparity spans the value range of the video if known, else of each frame.
    """

    def __init__(self, run: RunInfo) -> None:
        super().__init__(run, "_depths_png16", ".png")
        self._own_scales = run.ends is None or run.options.png16_scale == "frame"
        self._mappings: dict[str, dict[str, float]] = {}

    def write(self, frame: Frame) -> None:
        scale, offset = self._values.mapping(ValueRange().update(frame.depth) if self._own_scales else None)
        ok, data = cv2.imencode(".png", to_16_bit(self._values(frame.depth), scale, offset))
        assert ok
        self._mappings[self._write(frame, data.data).name] = {"scale": scale, "offset": offset}

    def close(self) -> None:
        path = self._folder / "mapping.json"
        content = {**self._run.facts(), "value": "level * scale + offset", "files": self._mappings}
        write_whole(path, as_json(content))

    def abort(self) -> None:
        # The files are useless without their mapping: on a full disk, the last ones are removed to make room for it.
        while self._mappings:
            with contextlib.suppress(OSError):
                self.close()
                return
            (self._folder / self._mappings.popitem()[0]).unlink(missing_ok=True)
        shutil.rmtree(self._folder, ignore_errors=True)
