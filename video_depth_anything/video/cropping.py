"""Cropping stored in the container, not in the codec: `clap` in MP4 and MOV, PixelCrop in Matroska."""

from __future__ import annotations

import mmap
import struct
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

# Bytes before the boxes inside of a box of MP4: of a table of samples, and of the kind of a video.
TABLE, SAMPLE_ENTRY = 8, 78
SEGMENT, TRACKS, TRACK, VIDEO = 0x18538067, 0x1654AE6B, 0xAE, 0xE0
PIXEL_CROPS = {"left": 0x54CC, "top": 0x54BB, "right": 0x54DD, "bottom": 0x54AA}
# Parts that are searched at most: headers have fewer.
MOST_PARTS = 10_000
# A part of a file: its kind, and where its content begins and ends.
Part = tuple[Any, int, int]


class Crop(NamedTuple):
    """Pixels to remove at each side."""

    left: int
    top: int
    right: int
    bottom: int


def container_crop(path: Path, format_name: str, index: int, width: int, height: int) -> Crop | None:
    """The cropping that a file states for a stream's frames of `width` x `height`; None if it states none."""
    if "mp4" not in format_name and "matroska" not in format_name:
        return None
    try:
        with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
            found = _clean_aperture(data, index, width, height) if "mp4" in format_name else _pixel_crop(data, index)
    except (OSError, ValueError, IndexError, struct.error, ZeroDivisionError):
        return None  # the decoder reports what else is wrong with the file
    if found is None or not any(found) or min(found) < 0:
        return None
    return found if found.left + found.right < width and found.top + found.bottom < height else None


def _inside(parts: Callable[[mmap.mmap, int, int], Iterator[Part]], data: mmap.mmap, part: Part, *kinds: Any) -> Part:
    """The first part reached by following these kinds inwards from the top level; an empty one if there is none."""
    for kind in kinds:
        part = next((found for found in parts(data, *part[1:]) if found[0] == kind), (kind, 0, 0))
    return part


def _boxes(data: mmap.mmap, at: int, end: int) -> Iterator[Part]:
    for _ in range(MOST_PARTS):
        if at + 8 > end:
            return
        size, kind = struct.unpack_from(">I4s", data, at)
        begin = at + 8
        if size == 1:
            size, begin = struct.unpack_from(">Q", data, begin)[0], begin + 8
        if size < begin - at:
            return
        yield kind, begin, min(at + size, end)
        at += size


def _clean_aperture(data: mmap.mmap, index: int, width: int, height: int) -> Crop | None:
    movie = _inside(_boxes, data, (None, 0, len(data)), b"moov")
    track = [part for part in _boxes(data, *movie[1:]) if part[0] == b"trak"][index]
    _, begin, end = _inside(_boxes, data, track, b"mdia", b"minf", b"stbl", b"stsd")
    for _, entry, entry_end in _boxes(data, begin + TABLE, end):
        _, at, stop = _inside(_boxes, data, (None, entry + SAMPLE_ENTRY, entry_end), b"clap")
        if at < stop:
            wide, tall, right, down = (n / d for n, d in zip(*[iter(struct.unpack_from(">8i", data, at))] * 2))
            left, top = round((width - wide) / 2 + right), round((height - tall) / 2 + down)
            return Crop(left, top, round(width - wide - left), round(height - tall - top))
    return None


def _elements(data: mmap.mmap, at: int, end: int) -> Iterator[Part]:
    for _ in range(MOST_PARTS):
        if at >= end:
            return
        length = 9 - data[at].bit_length()
        kind = int.from_bytes(data[at : at + length], "big")
        at += length
        length = 9 - data[at].bit_length()
        size, unknown = int.from_bytes(data[at : at + length], "big") & ((1 << 7 * length) - 1), (1 << 7 * length) - 1
        at += length
        stop = end if size == unknown else min(at + size, end)
        yield kind, at, stop
        at = stop


def _pixel_crop(data: mmap.mmap, index: int) -> Crop:
    tracks = _inside(_elements, data, (None, 0, len(data)), SEGMENT, TRACKS)
    track = [part for part in _elements(data, *tracks[1:]) if part[0] == TRACK][index]
    found = {kind: data[at:end] for kind, at, end in _elements(data, *_inside(_elements, data, track, VIDEO)[1:])}
    return Crop(*(int.from_bytes(found.get(PIXEL_CROPS[side], b""), "big") for side in Crop._fields))
