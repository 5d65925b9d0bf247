"""Format and size of an image from its header, parsed in plain Python before any decoder sees it."""

from __future__ import annotations

import struct

# JPEG markers with the size: all SOF markers; DHT, JPG and DAC lie between them.
FRAME_MARKERS = set(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}


def check_picture(data: bytes, max_pixels: int, max_ratio: int) -> tuple[int, int] | None:
    """(height, width) of a JPEG, PNG or WebP image; None if it is none of them, too large or too narrow."""
    try:
        if data.startswith(b"\x89PNG\r\n\x1a\n") and data[12:16] == b"IHDR":
            width, height = struct.unpack_from(">II", data, 16)
        elif data.startswith(b"\xff\xd8\xff"):
            height, width = _jpeg_size(data)
        elif data.startswith(b"RIFF") and data[8:12] == b"WEBP":
            height, width = _webp_size(data)
        else:
            return None
    except (struct.error, IndexError, ValueError):
        return None
    fits = (
        min(height, width) > 0 and height * width <= max_pixels and max(height, width) <= max_ratio * min(height, width)
    )
    return (height, width) if fits else None


def _jpeg_size(data: bytes) -> tuple[int, int]:
    """From the only frame header; with two, the decoder might use the other one."""
    at, found = 2, []
    while True:
        while data[at] == 0xFF and data[at + 1] == 0xFF:  # padding
            at += 1
        if data[at] != 0xFF:
            raise ValueError("no marker")
        marker = data[at + 1]
        if marker == 0xDA:  # the image data begins
            break
        if marker in FRAME_MARKERS:
            found.append(struct.unpack_from(">HH", data, at + 5))
        at += 2 + (0 if 0xD0 <= marker <= 0xD9 or marker == 1 else struct.unpack_from(">H", data, at + 2)[0])
    (size,) = found
    return size[0], size[1]


def _webp_size(data: bytes) -> tuple[int, int]:
    kind = data[12:16]
    if kind == b"VP8 " and data[23:26] == b"\x9d\x01\x2a":
        width, height = (side & 0x3FFF for side in struct.unpack_from("<HH", data, 26))
    elif kind == b"VP8L" and data[20] == 0x2F:
        bits = int.from_bytes(data[21:25], "little")
        width, height = (bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1
    elif kind == b"VP8X":
        width, height = (int.from_bytes(data[at : at + 3], "little") + 1 for at in (24, 27))
    else:
        raise ValueError("no picture")
    return height, width
