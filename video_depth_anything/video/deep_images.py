"""Reads images of more than 8 bits per channel, which Pillow truncates or misreads, with OpenCV or FFmpeg."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any, NamedTuple

import av
import cv2
import numpy as np
import numpy.typing as npt

from .colorspaces import Colorspace, displayed

# TIFF tags, its code for floats, and the supported colours: gray (white or black is zero), RGB, palette, LogLuv.
WIDTH, HEIGHT, BITS, PHOTOMETRIC, SAMPLES, PLANAR, FORMAT = 256, 257, 258, 262, 277, 284, 339
FLOAT = 3
WHITE_IS_ZERO = 0
KNOWN_PHOTOMETRICS = {0, 1, 2, 3, 32844, 32845}
TIFF_STARTS = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
# Headers of Radiance and PFM files, which OpenCV would trust without a check.
TOLD_SIZE = re.compile(
    rb"(?s)#\?.*?\n\n[-+]Y (?P<height>\d+) [-+]X (?P<width>\d+)|P[Ff]\s+(?P<columns>\d+)\s+(?P<rows>\d+)"
)
# Markers of a JPEG 2000 code stream; the first channel's bit depth follows 40 bytes later.
CODE_STREAM, TO_BITS = b"\xff\x4f\xff\x51", 42
DPX_TRANSFER_OFFSET = 801
# Printing density and logarithmic. Not "linear": many programs write that for display-encoded values.
DPX_LOG_TRANSFERS = {1, 3}

Picture = npt.NDArray[np.uint8]


class ImageError(Exception):
    """An image cannot be read; the message states the reason."""


class Page(NamedTuple):
    """One picture of a file."""

    image: Picture
    seconds: float | None = None  # its duration
    total: int = 1  # number of pictures by the file's header
    note: str = ""  # for the user
    pixel_aspect: Fraction = Fraction(1)  # of the file's pixels, width over height; those of the picture are square


def check_pixels(width: int, height: int, max_pixels: int) -> None:
    """Refuse images that are larger than allowed."""
    if width * height > max_pixels:
        raise ImageError(
            f"it has {width}x{height} pixels; {max_pixels / 1e6:.3g} million are allowed; see --max_pixels"
        )


def is_deep(image: Any, path: Path) -> bool:
    """Whether a file has more than 8 bits per channel; False for animations, which only Pillow reads completely."""
    with path.open("rb") as file:
        if image.format == "PNG":
            return file.read(25)[24] == 16 and getattr(image, "n_frames", 1) == 1
        if image.format == "JPEG2000":
            head = file.read(1 << 16)
            at = head.find(CODE_STREAM)
            return at >= 0 and head[at + TO_BITS : at + TO_BITS + 1] > b"\x07"  # it stores the bit depth minus one
    if image.format == "TIFF":
        return max(image.tag_v2.get(BITS, (8,))) > 8
    return image.mode in ("I", "F") or image.mode.startswith("I;")


def read_deep(path: Path, colorspace: Colorspace, max_pixels: int, pages: int = 1) -> Iterator[Page]:
    """Yield the pictures of such a file, as 8 bits; `pages` is their number by the header; "auto" is "srgb"."""
    if not path.stat().st_size:
        raise ImageError("it is empty")
    # With many pages, the file is memory mapped, so that only the current page is in memory.
    data = np.memmap(path, np.uint8, "r") if pages > 1 else np.fromfile(path, np.uint8)
    head = data[: 1 << 16].tobytes()
    is_tiff = head.startswith(TIFF_STARTS)
    told = TOLD_SIZE.match(head)
    if told is not None:
        check_pixels(int(told["width"] or told["columns"]), int(told["height"] or told["rows"]), max_pixels)
    if CODE_STREAM in head or (is_tiff and _mistaken_by_opencv(path, max_pixels)):
        yield Page(through_ffmpeg(path, colorspace, max_pixels))
    else:
        yield from _through_opencv(data, is_tiff, pages, colorspace, max_pixels)


def _mistaken_by_opencv(path: Path, max_pixels: int) -> bool:
    """Whether OpenCV would misread a TIFF: with planar channels, or where 0 is white."""
    from PIL.TiffImagePlugin import ImageFileDirectory_v2

    with path.open("rb") as file:
        start = file.read(16)
        tags = ImageFileDirectory_v2(start if b"+" in start[:4] else start[:8])
        file.seek(tags.next)
        tags.load(file)
    check_pixels(tags.get(WIDTH, 0), tags.get(HEIGHT, 0), max_pixels)
    photometric = tags.get(PHOTOMETRIC, 1)
    if photometric not in KNOWN_PHOTOMETRICS:
        raise ImageError("its colours are not RGB (perhaps CMYK or Lab), which is supported with 8 bits only")
    if tags.get(FORMAT, (1,))[0] == FLOAT and tags.get(BITS, (8,))[0] == 16:
        raise ImageError("it holds 16-bit floats; save it with 32 bits, or as EXR")
    return photometric == WHITE_IS_ZERO or (tags.get(PLANAR) == 2 and tags.get(SAMPLES, 1) > 1)


def _through_opencv(
    data: npt.NDArray[np.uint8], is_tiff: bool, pages: int, colorspace: Colorspace, max_pixels: int
) -> Iterator[Page]:
    read_pages: Callable[..., Any] = cv2.imdecodemulti
    size: tuple[int, ...] | None = None
    for index in range(pages):
        try:
            if is_tiff:
                page = next(iter(read_pages(data, cv2.IMREAD_UNCHANGED, range=(index, index + 1))[1]), None)
            else:
                page = cv2.imdecode(data, cv2.IMREAD_UNCHANGED)
        except cv2.error as error:
            raise ImageError("it cannot be decoded") from error
        if page is None:
            raise ImageError("it cannot be decoded")
        check_pixels(page.shape[1], page.shape[0], max_pixels)
        if size is not None and page.shape[:2] != size:
            return
        size = page.shape[:2]
        values = page.astype(np.float32)
        if np.issubdtype(page.dtype, np.integer):
            values /= np.iinfo(page.dtype).max
        if values.ndim == 2 or values.shape[2] < 3:
            gray = values if values.ndim == 2 else values[..., 0]
            values = np.repeat(gray[..., None], 3, axis=2)
        yield Page(displayed(values[..., 2::-1], colorspace), total=pages)


def through_ffmpeg(path: Path, colorspace: Colorspace, max_pixels: int) -> Picture:
    """Read a picture with FFmpeg, which scales 10 or 12 bits; for Cineon and DPX, "auto" follows the header."""
    try:
        with av.open(f"file:{path}", "r", options={"max_pixels": str(max_pixels)}) as container:
            stream = container.streams.video[0]
            check_pixels(stream.width, stream.height, max_pixels)
            frame = next(container.decode(stream)).reformat(format="rgb48le")
    except (av.FFmpegError, StopIteration, IndexError) as error:
        raise ImageError("it cannot be decoded") from error
    suffix = path.suffix.lower()
    if colorspace == "auto" and suffix in (".dpx", ".cin"):
        with path.open("rb") as file:
            header = file.read(DPX_TRANSFER_OFFSET + 1)
        log = suffix == ".cin" or header[DPX_TRANSFER_OFFSET] in DPX_LOG_TRANSFERS
        colorspace = "log" if log else "srgb"
    return displayed(frame.to_ndarray().astype(np.float32) / 65535, colorspace)
