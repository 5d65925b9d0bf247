"""Outputs that keep the numbers: .npz, OpenEXR, 16-bit PNG."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path
from typing import IO

import numpy as np

from ..files import commit, discard, partial_path, whole_file
from ..video.timing import PlayTime
from .base import DepthFrame, DepthKind, RunInfo, ValueRange

# The mantissas of depth are noise: zlib's default level takes two thirds longer to save another 0.2 %.
DEFLATE_LEVEL = 1
# Metric 16-bit files count in millimetres, as most depth cameras do: up to 65.5 m.
UNITS_PER_METRE = 1000
LEVELS = 65535


class NpzArchive:
    """`_depths.npz`: `depths` (N, H, W) float32, deflated as frames come, and what they are.

    Beside it: `kind` ("disparity" or "depth_metres"), `fps`, `timestamps` (N,) in seconds, `source_size` (H, W).

    An array's length stands in front of its data. The expected one is written first; if another number of frames came,
    the array is copied with the true one at the end, frame by frame.
    """

    MEMBER = "depths.npy"

    def __init__(self, info: RunInfo, expected: int | None) -> None:
        self.path = info.path("_depths.npz")
        self._info = info
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

    def write(self, frame: DepthFrame) -> None:
        self._member.write(np.ascontiguousarray(frame.depth, dtype="<f4").data)
        self._times.append(frame.time)
        self._play.add(frame.time, frame.duration)

    def close(self) -> None:
        self._member.close()
        if len(self._times) != self._expected:
            self._copy_with_length(len(self._times))
        facts = {
            "kind": np.array(self._info.kind),
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
        self._member.close()
        self._archive.close()
        discard(self.path)

    def written(self) -> list[str]:
        return [str(self.path)]


class ExrFrames:
    """`_depths_exr/frame_00000.exr`: one 32-bit float OpenEXR file per frame, ZIP compressed.

    Channel `Z` is the depth as it is, as in the original. `R`, `G` and `B` repeat it: viewers show those, and ffmpeg
    opens no file without them. Header attributes say what the numbers are.
    """

    def __init__(self, info: RunInfo, intrinsics: dict[str, float]) -> None:
        self._folder = info.path("_depths_exr")
        self._folder.mkdir(exist_ok=True)
        self._attributes = {"kind": info.kind, "source": info.source, "fps": float(info.fps), **intrinsics}
        self._index = 0

    def write(self, frame: DepthFrame) -> None:
        import OpenEXR

        header = {"compression": OpenEXR.ZIP_COMPRESSION, "type": OpenEXR.scanlineimage, **self._attributes}
        pixels = np.ascontiguousarray(frame.depth)
        with whole_file(self._folder / f"frame_{self._index:05d}.exr") as partial:
            OpenEXR.File({**header, "time": frame.time}, dict.fromkeys("RGBZ", pixels)).write(str(partial))
        self._index += 1

    def close(self) -> None:
        """Every file is whole already."""

    def abort(self) -> None:
        """Every file is whole already, and stays."""

    def written(self) -> list[str]:
        return [f"{self._folder}/ ({self._index} files)"]


def to_16_bit(depth: np.ndarray, scale: float, offset: float) -> np.ndarray:
    """Levels 0..65535, uint16, of which value = level * scale + offset; pixels without a number become 0."""
    levels = np.nan_to_num((depth.astype(np.float64) - offset) / scale, nan=0.0, posinf=LEVELS, neginf=0.0)
    return np.clip(np.rint(levels), 0, LEVELS).astype(np.uint16)


def mapping_of(kind: DepthKind, low: float, high: float) -> tuple[float, float]:
    """(scale, offset) of 16-bit files: millimetres for metres, the whole range [low, high] for disparity."""
    if kind == "depth_metres":
        return 1 / UNITS_PER_METRE, 0.0
    return ((high - low) / LEVELS if high > low else 1.0), low


class Png16Frames:
    """`_depths_png16/frame_00000.png`: 16-bit gray, with the mapping to values of each file in `mapping.json`.

    Metres are stored as millimetres. Disparity has no fixed range, so each frame uses all 16 bits for its own.
    """

    def __init__(self, info: RunInfo) -> None:
        self._folder = info.path("_depths_png16")
        self._folder.mkdir(exist_ok=True)
        self._kind = info.kind
        self._mappings: dict[str, dict[str, float]] = {}

    def write(self, frame: DepthFrame) -> None:
        import cv2

        scale, offset = mapping_of(self._kind, *ValueRange().update(frame.depth))
        name = f"frame_{len(self._mappings):05d}.png"
        with whole_file(self._folder / name) as partial:
            ok, data = cv2.imencode(".png", to_16_bit(frame.depth, scale, offset))
            assert ok
            partial.write_bytes(data.tobytes())
        self._mappings[name] = {"scale": scale, "offset": offset}

    def close(self) -> None:
        content = {"kind": self._kind, "value": "level * scale + offset", "files": self._mappings}
        with whole_file(self._folder / "mapping.json") as partial:
            partial.write_text(json.dumps(content, indent=1) + "\n")

    def abort(self) -> None:
        # The files that are there mean nothing without it.
        self.close()

    def written(self) -> list[str]:
        return [f"{self._folder}/ ({len(self._mappings)} files)"]
