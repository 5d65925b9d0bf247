"""Outputs that keep the numbers: .npz, OpenEXR, 16-bit PNG."""

from __future__ import annotations

import contextlib
import io
import json
import math
import shutil
import zipfile
from fractions import Fraction
from pathlib import Path
from typing import IO

import numpy as np

from ..errors import OutputError
from ..files import commit, discard, partial_path, whole_file
from ..video.frame import Frame
from ..video.timing import PlayTime
from .base import RunInfo, ValueRange
from .values import Values, to_16_bit

# The mantissas of depth are noise: zlib's default level takes two thirds longer to save another 0.2 %.
DEFLATE_LEVEL = 1


class NpzArchive:
    """`_depths.npz`: `depths` (N, H, W) float32, deflated as frames come, and what they are.

    Beside it: `kind` ("disparity" or "depth_metres"), `depth` ("raw", "normalized" or "inverted"; the latter two with
    `lowest` and `highest`), `fps`, `timestamps` (N,) in seconds, `source_size` (H, W), and where the numbers come from.

    An array's length stands in front of its data. The expected one is written first; if another number of frames came,
    the array is copied with the true one at the end, frame by frame.
    """

    MEMBER = "depths.npy"

    def __init__(self, info: RunInfo, expected: int | None, values: Values | None = None) -> None:
        self.path = info.path("_depths.npz")
        self._info = info
        self._values = values or Values(info.kind)
        self._expected = expected or 0
        self._times: list[float] = []
        self._play = PlayTime()
        self._archive = self._create(partial_path(self.path))
        self._member = self._begin(self._archive, self._expected)

    def _create(self, path: Path) -> zipfile.ZipFile:
        return zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED, compresslevel=DEFLATE_LEVEL)

    def _begin(self, archive: zipfile.ZipFile, count: int) -> IO[bytes]:
        member = archive.open(self.MEMBER, "w", force_zip64=True)
        shape = (count, *self._info.size)
        header = {"descr": np.lib.format.dtype_to_descr(np.dtype("<f4")), "fortran_order": False, "shape": shape}
        np.lib.format.write_array_header_1_0(member, header)
        return member

    def write(self, frame: Frame) -> None:
        self._member.write(np.ascontiguousarray(self._values(frame.depth), dtype="<f4").data)
        self._times.append(frame.timestamp)
        self._play.add(frame.time, frame.duration)

    def close(self) -> None:
        self._member.close()
        if len(self._times) != self._expected:
            self._copy_with_length(len(self._times))
        facts: dict[str, object] = {
            **self._values.facts(),
            **self._info.origin(),
            "fps": np.float64(self._play.rate(self._info.fps)),
            "timestamps": np.array(self._times, dtype=np.float64),
            "source_size": np.array(self._info.source_size, dtype=np.int64),
        }
        for name, value in facts.items():
            with self._archive.open(f"{name}.npy", "w") as member:
                np.lib.format.write_array(member, np.asanyarray(value), allow_pickle=False)
        self._archive.close()
        commit(self.path)

    def _copy_with_length(self, count: int) -> None:
        self._archive.close()
        copied = self.path.with_name(f".copied_{self.path.name}")
        try:
            with zipfile.ZipFile(partial_path(self.path)) as old, old.open(self.MEMBER) as source:
                np.lib.format.read_magic(source)
                np.lib.format.read_array_header_1_0(source)
                self._archive = self._create(copied)
                with self._begin(self._archive, count) as target:
                    while data := source.read(1 << 20):
                        target.write(data)
            copied.replace(partial_path(self.path))
        finally:
            copied.unlink(missing_ok=True)

    def abort(self) -> None:
        # Closing writes what is held back, which a full disk refuses; the file goes all the same.
        for part in (self._member, self._archive):
            with contextlib.suppress(OSError, ValueError):
                part.close()
        discard(self.path)

    def written(self) -> list[str]:
        return [str(self.path)]


def require_openexr() -> None:
    """Raise OutputError, naming the remedy, if OpenEXR cannot be imported: before inference, not after it."""
    try:
        import OpenEXR  # noqa: F401
    except ImportError as error:
        raise OutputError(f"EXR files need OpenEXR, which does not import ({error}): pip install OpenEXR") from error


class _FrameFiles:
    """A folder with a file for each frame, each whole or not there; numbered as the frames are."""

    def __init__(self, info: RunInfo, folder: str, suffix: str) -> None:
        self._folder = info.path(folder)
        self._folder.mkdir(exist_ok=True)
        self._suffix = suffix
        self._count = 0

    def _next(self, frame: Frame) -> Path:
        path = self._folder / f"frame_{frame.numbered(self._count):05d}{self._suffix}"
        self._count += 1
        return path

    def close(self) -> None:
        """Every file is whole already."""

    def abort(self) -> None:
        """Every file is whole already, and stays."""

    def written(self) -> list[str]:
        return [f"{self._folder}/ ({self._count} files)"]


class ExrFrames(_FrameFiles):
    """`_depths_exr/frame_00000.exr`: one 32-bit float OpenEXR file per frame, ZIP compressed.

    Channel `Z` is the depth as it is, as in the original. `R`, `G` and `B` repeat it: viewers show those, and ffmpeg
    opens no file without them. The standard attributes of a sequence are there (framesPerSecond, timeCode,
    pixelAspectRatio); others say what the numbers are and where they come from.
    """

    def __init__(self, info: RunInfo, intrinsics: dict[str, float], values: Values | None = None) -> None:
        super().__init__(info, "_depths_exr", ".exr")
        self._info = info
        self._values = values or Values(info.kind)
        self._attributes: dict[str, object] = {**self._values.facts(), "source": info.source, "fps": float(info.fps)}
        self._attributes |= {**info.origin(), **intrinsics}

    def write(self, frame: Frame) -> None:
        import OpenEXR

        header = {"compression": OpenEXR.ZIP_COMPRESSION, "type": OpenEXR.scanlineimage, **self._attributes}
        header |= {"time": frame.timestamp, "pixelAspectRatio": float(self._info.pixel_aspect)}
        fps = self._info.fps.limit_denominator(100_000)
        header["framesPerSecond"] = fps
        code = time_code(self._info.start + frame.time if frame.source_time is None else frame.source_time, fps)
        if code is not None:
            # The fields after the frame: drop frame, colour frame, field phase, three flags of groups, eight user bits.
            header["timeCode"] = OpenEXR.TimeCode(*code[:4], 0, 0, code[4], *[0] * 11)
        pixels = np.ascontiguousarray(self._values(frame.depth))
        # Through memory: the package writes to no name that is not valid Unicode.
        data = io.BytesIO()
        OpenEXR.File(header, dict.fromkeys("RGBZ", pixels)).write(data)
        with whole_file(self._next(frame)) as partial:
            partial.write_bytes(data.getbuffer())


def time_code(seconds: float, fps: Fraction) -> tuple[int, int, int, int, int] | None:
    """(hours, minutes, seconds, frame, field) of SMPTE 12M, no frame dropped; None above 60 frames a second.

    Its frame numbers end at 39, so that rates above 30 count pairs of frames, and the field says which of the two.
    """
    rate = math.ceil(fps)
    if rate > 60:
        return None
    whole, frame = divmod(round(seconds * fps), rate)
    frame, field = divmod(frame, 2) if rate > 30 else (frame, 0)
    return whole // 3600 % 24, whole // 60 % 60, whole % 60, frame, field


class Png16Frames(_FrameFiles):
    """`_depths_png16/frame_00000.png`: 16-bit gray, with the mapping to values of each file in `mapping.json`.

    Metres are stored as millimetres.

    Args:
        values: what is written; where they know the range of the video, all files share one scale.
    """

    def __init__(self, info: RunInfo, values: Values | None = None) -> None:
        super().__init__(info, "_depths_png16", ".png")
        self._info = info
        self._values = values or Values(info.kind)
        self._mappings: dict[str, dict[str, float]] = {}

    def write(self, frame: Frame) -> None:
        import cv2

        # Used where the range of the video is not known: the frame's own.
        own = None if self._values.ends is not None else ValueRange().update(frame.depth)
        scale, offset = self._values.mapping(own)
        path = self._next(frame)
        ok, data = cv2.imencode(".png", to_16_bit(self._values(frame.depth), scale, offset))
        assert ok
        with whole_file(path) as partial:
            partial.write_bytes(data.tobytes())
        self._mappings[path.name] = {"scale": scale, "offset": offset}

    def close(self) -> None:
        content = {**self._values.facts(), "value": "level * scale + offset", **self._info.origin()}
        with whole_file(self._folder / "mapping.json") as partial:
            partial.write_text(json.dumps({**content, "files": self._mappings}, indent=1) + "\n")

    def abort(self) -> None:
        # Without their mapping the files mean nothing: on a full disk, the last ones make room for it.
        while self._mappings:
            try:
                return self.close()
            except OSError:
                (self._folder / self._mappings.popitem()[0]).unlink(missing_ok=True)
        shutil.rmtree(self._folder, ignore_errors=True)
        return None
