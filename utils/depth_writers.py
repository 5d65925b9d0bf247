"""One small class per output format. Each takes frame after frame and shows its file only when that is whole."""

from __future__ import annotations

import tempfile
import zipfile
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import IO, Protocol

import numpy as np
import numpy.typing as npt

from .colors import Colorizer
from .files import whole_file
from .point_cloud import Intrinsics, write_ply
from .video_writer import VideoWriter

DepthMap = npt.NDArray[np.float32]
Frame = npt.NDArray[np.uint8]


class OutputWriter(Protocol):
    """What the pipeline asks of an output."""

    def write(self, frame: Frame, depth: DepthMap) -> None:
        """Take the next frame, (H, W, 3) uint8 RGB, and its depth, (H, W) float32."""

    def close(self) -> None:
        """Finish: the output has its final name afterwards."""

    def abort(self) -> None:
        """Remove what is not whole."""

    def written(self) -> list[str]:
        """What it wrote, for the user to find."""


class SourceVideo:
    """`_src.mp4`: the frames as they were processed."""

    def __init__(self, path: Path, size: tuple[int, int], fps: Fraction) -> None:
        self.path = path
        self._writer = VideoWriter(path, size, fps)

    def write(self, frame: Frame, depth: DepthMap) -> None:
        self._writer.write(frame)

    def close(self) -> None:
        self._writer.close()

    def abort(self) -> None:
        self._writer.abort()

    def written(self) -> list[str]:
        return [str(self.path)]


class DepthSpool:
    """Depth maps on disk, for outputs that need a second look; the file has no name and goes with the object."""

    def __init__(self, folder: Path, size: tuple[int, int]) -> None:
        self.count = 0
        self.low, self.high = float("inf"), float("-inf")
        self._size = size
        self._file: IO[bytes] = tempfile.TemporaryFile(dir=folder)

    def append(self, depth: DepthMap) -> None:
        finite = depth[np.isfinite(depth)]
        if finite.size:
            self.low, self.high = min(self.low, float(finite.min())), max(self.high, float(finite.max()))
        self._file.write(np.ascontiguousarray(depth, dtype=np.float32).data)
        self.count += 1

    def __iter__(self) -> Iterator[DepthMap]:
        self._file.seek(0)
        pixels = self._size[0] * self._size[1]
        for _ in range(self.count):
            yield np.frombuffer(self._file.read(4 * pixels), np.float32).reshape(self._size)

    def close(self) -> None:
        self._file.close()


class SpooledOutputs:
    """The outputs that need all depth: `_vis.mp4`, coloured by the whole video's range, and `_depths.npz`.

    Args:
        vis: path of the colour video. npz: path of the array file, None for none.
        size: (H, W). fps: of the colour video. colormap: matplotlib name, None for gray.
    """

    def __init__(self, vis: Path, npz: Path | None, size: tuple[int, int], fps: Fraction, colormap: str | None) -> None:
        self.path = vis
        self._npz = npz
        self._size = size
        self._fps = fps
        self._colormap = colormap
        self._spool = DepthSpool(vis.parent, size)

    def write(self, frame: Frame, depth: DepthMap) -> None:
        self._spool.append(depth)

    def close(self) -> None:
        try:
            if self._npz is not None:
                write_npz(self._npz, self._spool, (self._spool.count, *self._size))
            self._write_video()
        finally:
            self._spool.close()

    def _write_video(self) -> None:
        colorizer = Colorizer(self._spool.low, self._spool.high, self._colormap)
        writer = VideoWriter(self.path, self._size, self._fps)
        try:
            for depth in self._spool:
                writer.write(colorizer(depth))
        except BaseException:
            writer.abort()
            raise
        writer.close()

    def abort(self) -> None:
        self._spool.close()

    def written(self) -> list[str]:
        return [str(path) for path in (self.path, self._npz) if path is not None]


def write_npz(path: Path, depths: DepthSpool, shape: tuple[int, int, int]) -> None:
    """Write frames to a deflated .npz file with one array, `depths` (N, H, W) float32, holding one frame at a time."""
    header = {"descr": np.lib.format.dtype_to_descr(np.dtype(np.float32)), "fortran_order": False, "shape": shape}
    with (
        whole_file(path) as partial,
        zipfile.ZipFile(partial, "w", zipfile.ZIP_DEFLATED) as archive,
        archive.open("depths.npy", "w", force_zip64=True) as member,
    ):
        np.lib.format.write_array_header_1_0(member, header)
        for depth in depths:
            member.write(depth.data)


class ExrFrames:
    """`_depths_exr/frame_00000.exr`: one 32-bit float OpenEXR file per frame, ZIP compressed.

    Channel `Z` is the depth as it is, as in the original. `R`, `G` and `B` repeat it: viewers show those, and ffmpeg
    opens no file without them.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._index = 0
        path.mkdir(parents=True, exist_ok=True)

    def write(self, frame: Frame, depth: DepthMap) -> None:
        import OpenEXR

        header = {"compression": OpenEXR.ZIP_COMPRESSION, "type": OpenEXR.scanlineimage}
        pixels = np.ascontiguousarray(depth)
        with whole_file(self.path / f"frame_{self._index:05d}.exr") as partial:
            OpenEXR.File(header, dict.fromkeys("RGBZ", pixels)).write(str(partial))
        self._index += 1

    def close(self) -> None:
        pass

    def abort(self) -> None:
        pass

    def written(self) -> list[str]:
        return [f"{self.path}/ ({self._index} files)"]


class PointClouds:
    """`<name>_point0000.ply`: one binary point cloud per frame, coloured by the frame; depth must be in metres."""

    def __init__(self, path: Path, intrinsics: Intrinsics) -> None:
        self.path = path
        self._intrinsics = intrinsics
        self._index = 0

    def write(self, frame: Frame, depth: DepthMap) -> None:
        path = self.path.with_name(f"{self.path.name}{self._index:04d}.ply")
        write_ply(path, self._intrinsics.unproject(depth), frame.reshape(-1, 3))
        self._index += 1

    def close(self) -> None:
        pass

    def abort(self) -> None:
        pass

    def written(self) -> list[str]:
        return [f"{self.path}*.ply ({self._index} files)"]
