"""Cropping that a container asks for, which its decoder does not know: `clap` of MP4 and MOV, PixelCrop of Matroska."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

# Headers of files are smaller, and boxes that claim more are not looked into.
LARGEST_HEADER = 64 << 20
# Bytes before the boxes inside of a box: of a table of samples, and of the kind of a video.
TABLE, SAMPLE_ENTRY = 8, 78
SEGMENT, TRACKS, TRACK, VIDEO = 0x18538067, 0x1654AE6B, 0xAE, 0xE0
PIXEL_CROPS = {"left": 0x54CC, "top": 0x54BB, "right": 0x54DD, "bottom": 0x54AA}


class Crop(NamedTuple):
    """Pixels to leave out at each side."""

    left: int
    top: int
    right: int
    bottom: int


def container_crop(path: Path, format_name: str, index: int, width: int, height: int) -> Crop | None:
    """What a file says is to be left out of a stream's frames of `width` x `height`; None: nothing."""
    try:
        if "mp4" in format_name:
            found = _clean_aperture(path, index, width, height)
        elif "matroska" in format_name:
            found = _pixel_crop(path, index)
        else:
            return None
    except (OSError, ValueError, IndexError, struct.error, ZeroDivisionError):
        return None  # what else is wrong with the file is said where it is decoded
    if found is None or not any(found) or min(found) < 0:
        return None
    return found if found.left + found.right < width and found.top + found.bottom < height else None


def _boxes(data: bytes) -> Iterator[tuple[bytes, bytes]]:
    at = 0
    while at + 8 <= len(data):
        size, kind = struct.unpack_from(">I4s", data, at)
        if size < 8:
            return
        yield kind, data[at + 8 : at + size]
        at += size


def _inside(data: bytes, *kinds: bytes) -> bytes:
    """The content of a box inside of boxes; empty if there is none."""
    for kind in kinds:
        data = dict(_boxes(data)).get(kind, b"")
    return data


def _clean_aperture(path: Path, index: int, width: int, height: int) -> Crop | None:
    with path.open("rb") as file:
        while len(head := file.read(16)) >= 8:
            size, kind = struct.unpack_from(">I4s", head)
            begin = 16 if size == 1 else 8
            size = struct.unpack_from(">Q", head, 8)[0] if size == 1 else size
            if kind == b"moov" and size <= LARGEST_HEADER:
                movie = head[begin:] + file.read(size - len(head))
                break
            if size < 8:
                return None
            file.seek(size - len(head), 1)
        else:
            return None
    track = [content for kind, content in _boxes(movie) if kind == b"trak"][index]
    table = _inside(track, b"mdia", b"minf", b"stbl", b"stsd")
    for _, entry in _boxes(table[TABLE:]):
        if clap := _inside(entry[SAMPLE_ENTRY:], b"clap"):
            wide, tall, right, down = (n / d for n, d in zip(*[iter(struct.unpack(">8i", clap[:32]))] * 2))
            left, top = round((width - wide) / 2 + right), round((height - tall) / 2 + down)
            return Crop(left, top, round(width - wide - left), round(height - tall - top))
    return None


def _elements(data: bytes) -> Iterator[tuple[int, bytes]]:
    at = 0
    while at < len(data):
        first = data[at]
        length = 9 - first.bit_length()
        kind = int.from_bytes(data[at : at + length], "big")
        at += length
        first = data[at]
        length = 9 - first.bit_length()
        size = int.from_bytes(data[at : at + length], "big") & ((1 << 7 * length) - 1)
        at += length
        if size == (1 << 7 * length) - 1:  # unknown: to the end
            size = len(data) - at
        yield kind, data[at : at + size]
        at += size


def _pixel_crop(path: Path, index: int) -> Crop | None:
    with path.open("rb") as file:
        data = file.read(LARGEST_HEADER >> 6)  # tracks come before all frames
    segment = next((content for kind, content in _elements(data) if kind == SEGMENT), b"")
    tracks = next((content for kind, content in _elements(segment) if kind == TRACKS), b"")
    track = [content for kind, content in _elements(tracks) if kind == TRACK][index]
    video = dict(_elements(dict(_elements(track)).get(VIDEO, b"")))
    return Crop(*(int.from_bytes(video.get(PIXEL_CROPS[side], b""), "big") for side in Crop._fields))
