"""The `st3d` box of Google's spatial media specification, which marks an MP4 file as stereoscopic."""

from __future__ import annotations

import shutil
import struct
from collections.abc import Iterator
from pathlib import Path

import numpy as np

# Bytes between the header of these boxes and the boxes inside them.
HOLDERS = {b"moov": 0, b"trak": 0, b"mdia": 0, b"minf": 0, b"stbl": 0, b"stsd": 8}
PICTURES = {b"avc1", b"avc3", b"hvc1", b"hev1"}
OFFSETS = {b"stco": ">u4", b"co64": ">u8"}
TOP_BOTTOM, LEFT_RIGHT = 1, 2


def tag_stereo(path: Path, layout: int) -> None:
    """Mark the stereo layout in an MP4 with one video stream and its index before the data."""
    tag = _box(b"st3d", struct.pack(">IB", 0, layout))
    tagged = path.with_name(f".tagged_{path.name}")
    with path.open("rb") as source, tagged.open("wb") as target:
        while head := source.read(8):
            size, kind = struct.unpack(">I4s", head)
            if kind == b"mdat":
                target.write(head)
                break
            body = source.read(size - 8)
            target.write(_tagged(kind, body, tag))
        shutil.copyfileobj(source, target, 1 << 20)
    tagged.replace(path)


def _box(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I4s", 8 + len(body), kind) + body


def _tagged(kind: bytes, body: bytes, tag: bytes) -> bytes:
    """Insert the tag into a box, and correct the chunk offsets, which it shifts."""
    if kind in HOLDERS:
        begin = HOLDERS[kind]
        body = body[:begin] + b"".join(_tagged(*child, tag) for child in _children(body[begin:]))
    elif kind in PICTURES:
        body += tag
    elif kind in OFFSETS:
        places = np.frombuffer(body[8:], OFFSETS[kind]) + len(tag)
        body = body[:8] + places.astype(OFFSETS[kind]).tobytes()
    return _box(kind, body)


def _children(body: bytes) -> Iterator[tuple[bytes, bytes]]:
    at = 0
    while at < len(body):
        size, kind = struct.unpack_from(">I4s", body, at)
        yield kind, body[at + 8 : at + size]
        at += size
