"""Depth as one NumPy archive."""

from __future__ import annotations

import contextlib
import io
import struct
import zipfile
import zlib

import numpy as np

from ..video.frame import Frame
from ..video.timing import played_rate
from .base import OutputWriter, RunInfo

# Mantissas are noise: zlib's default level takes two thirds longer and saves only 0.2 % more.
DEFLATE_LEVEL = 1
CRC_POLYNOMIAL = 0xEDB88320


class NpzArchive(OutputWriter):
    """`_depths.npz`: `depths` (N, H, W) float32, compressed frame by frame, and metadata.

    Beside it: `kind` ("disparity" or "depth_metres"), `depth` ("raw", "normalized" or "inverted"; the latter two with
    `lowest` and `highest`), `fps`, `timestamps` (N,) in seconds, `source_size` (H, W), and the origin of the values.

    The array's length comes before its data but is known only at the end. So the array's header is an uncompressed
    deflate block of its own, which is rewritten at the end; the checksum is corrected accordingly.
    """

    def __init__(self, run: RunInfo) -> None:
        self.path = run.path("_depths.npz")
        self._run = run
        self._values = run.values
        self._times: list[float] = []
        self._first = self._end = 0.0
        self._archive = zipfile.ZipFile(self.path, "w", zipfile.ZIP_STORED)
        self._member = self._archive.open("depths.npy", "w", force_zip64=True)
        header = self._header(0)
        # A stored block, not the last one: its length, and the length with inverted bits.
        self._member.write(struct.pack("<BHH", 0, len(header), len(header) ^ 0xFFFF) + header)
        self._deflater = zlib.compressobj(DEFLATE_LEVEL, zlib.DEFLATED, -zlib.MAX_WBITS)
        self._bytes = self._crc = 0

    def _header(self, count: int) -> bytes:
        """The array's header, of the same length for any number of frames."""
        header = io.BytesIO()
        shape = (count, *self._run.grid)
        np.lib.format.write_array_header_1_0(header, {"descr": "<f4", "fortran_order": False, "shape": shape})
        return header.getvalue()

    def write(self, frame: Frame) -> None:
        data = np.ascontiguousarray(self._values(frame.depth), dtype="<f4").data
        self._member.write(self._deflater.compress(data))
        self._crc = zlib.crc32(data, self._crc)
        self._bytes += data.nbytes
        self._first = self._first if self._times else frame.time
        self._end = frame.end
        self._times.append(frame.timestamp)

    def close(self) -> None:
        self._member.write(self._deflater.flush())
        self._member.close()
        # Now the array's length and the compressed size are known.
        header = self._header(len(self._times))
        member, file = self._archive.getinfo("depths.npy"), self._archive.fp
        assert file is not None
        member.compress_type = zipfile.ZIP_DEFLATED
        member.file_size = len(header) + self._bytes
        member.CRC = joined_crc(zlib.crc32(header), self._crc, self._bytes)
        end = file.tell()
        file.seek(member.header_offset)
        file.write(member.FileHeader(zip64=True))
        file.seek(struct.calcsize("<BHH"), io.SEEK_CUR)
        file.write(header)
        file.seek(end)
        facts: dict[str, object] = {
            **self._run.facts(),
            "fps": np.float64(played_rate(self._run.fps, len(self._times), self._end - self._first)),
            "timestamps": np.array(self._times, dtype=np.float64),
            "source_size": np.array(self._run.source_size, dtype=np.int64),
        }
        for name, value in facts.items():
            with self._archive.open(f"{name}.npy", "w") as entry:
                np.lib.format.write_array(entry, np.asanyarray(value), allow_pickle=False)
        self._archive.close()

    def abort(self) -> None:
        # Closing writes buffered data, which fails on a full disk; the file is removed anyway.
        for part in (self._member, self._archive):
            with contextlib.suppress(OSError, ValueError):
                part.close()
        self.path.unlink(missing_ok=True)


def joined_crc(first: int, second: int, length: int) -> int:
    """CRC-32 of two concatenated pieces of data, from their checksums and the second one's length in bytes.

    Appending that many zero bytes to the first multiplies its checksum by x^(8 length), modulo the polynomial.
    """
    power, base, bits = 1 << 31, 1 << 30, 8 * length  # 1 and x: the highest bit is the constant term
    while bits:
        if bits & 1:
            power = _product(power, base)
        base, bits = _product(base, base), bits >> 1
    return _product(first, power) ^ second


def _product(a: int, b: int) -> int:
    """Multiply polynomials over GF(2), modulo that of CRC-32, with bits in reverse order."""
    product = 0
    for bit in range(31, -1, -1):
        if a >> bit & 1:
            product ^= b
        b = b >> 1 ^ (CRC_POLYNOMIAL if b & 1 else 0)
    return product
