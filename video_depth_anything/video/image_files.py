"""Reads single image files of all common formats as RGB pictures."""

from __future__ import annotations

from collections.abc import Generator, Iterable, Iterator
from contextlib import suppress
from fractions import Fraction
from functools import cache
from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from .colorspaces import Colorspace, displayed
from .conversion import HLG, PQ, Converter, square_size
from .deep_images import ImageError, Page, Picture, check_pixels, is_deep, read_deep, through_ffmpeg
from .options import MAX_PIXELS

# Formats that Pillow may open here; the others start programs (EPS) or are not pictures.
PILLOW_FORMATS = ["PNG", "JPEG", "BMP", "DIB", "TIFF", "WEBP", "PPM", "TGA", "JPEG2000", "AVIF", "HEIF", "GIF"]
# Formats whose further pictures are frames. In others they are thumbnails or the other eye's view.
ANIMATED_FORMATS = {"PNG", "TIFF", "WEBP", "AVIF", "GIF"}
ORIENTATION = 0x0112  # EXIF's
# Milliseconds; browsers treat shorter delays of animations as mistakes and use the usual delay instead.
SHORTEST_DELAY, USUAL_DELAY = 10, 100
# The colour box of AVIF and HEIF: H.273 codes of primaries, transfer and matrix, two bytes each.
NCLX = b"colrnclx"
COLOR_LAYERS = ("rgba", "rgb", "beauty", "combined", "color")


def read_pages(
    path: Path, colorspace: Colorspace = "auto", max_pixels: int = MAX_PIXELS
) -> Generator[Page, None, None]:
    """Yield the pictures of an image file: one, or all frames of an animation or pages of a TIFF; raise ImageError.

    Gray becomes RGB, transparency is dropped, the EXIF orientation is applied, and 16 bits and floats become 8 bits.
    "auto" is linear for EXR and Radiance, logarithmic for Cineon and for DPX marked as such, and sRGB for the rest.
    """
    try:
        if path.suffix.lower() == ".exr":
            yield _read_exr(path, colorspace, max_pixels)
        elif path.suffix.lower() in (".dpx", ".cin"):
            yield Page(through_ffmpeg(path, colorspace, max_pixels))
        elif path.suffix.lower() == ".hdr":
            yield from read_deep(path, "linear" if colorspace == "auto" else colorspace, max_pixels)
        else:
            yield from _read_usual(path, colorspace, max_pixels)
    except (OSError, SyntaxError, ValueError, RuntimeError, EOFError, TypeError) as error:
        raise ImageError(str(error) or type(error).__name__) from error


def _read_usual(path: Path, colorspace: Colorspace, max_pixels: int) -> Iterator[Page]:
    try:
        opened = Image.open(path, formats=_formats())
    except Image.DecompressionBombError as error:
        raise ImageError("it is too large") from error
    except UnidentifiedImageError:  # for example floats in three channels
        yield from read_deep(path, colorspace, max_pixels)
        return
    with opened as image:
        check_pixels(image.width, image.height, max_pixels)
        if image.format in ("AVIF", "HEIF") and _is_hdr(path):
            yield Page(_tone_mapped(path, image))
            return
        if image.format == "PPM" and image.mode == "I":
            # Pillow scales by the maximum in the file's header, which is 1023 for some cameras.
            gray = np.asarray(image, dtype=np.float32)[..., None] / 65535
            yield Page(displayed(np.repeat(gray, 3, axis=2), colorspace))
            return
        if is_deep(image, path):
            with suppress(ValueError):  # a layout that Pillow does not support
                image.load()  # fails if the file is truncated
            yield from read_deep(path, colorspace, max_pixels, getattr(image, "n_frames", 1))
            return
        count = getattr(image, "n_frames", 1) if image.format in ANIMATED_FORMATS else 1
        size = image.size
        for index in range(bool(image.info.get("default_image")) and count > 1, count):
            image.seek(index)
            image.load()
            if image.size != size:
                return  # a thumbnail
            delay = image.info.get("duration") if count > 1 else None
            seconds = None if delay is None else (delay if delay > SHORTEST_DELAY else USUAL_DELAY) / 1000
            rgb = np.asarray(ImageOps.exif_transpose(image).convert("RGB"), dtype=np.uint8)
            if colorspace not in ("auto", "srgb"):
                rgb = displayed(rgb / np.float32(255), colorspace)
            yield Page(rgb, seconds, count)


@cache
def _formats() -> list[str]:
    with suppress(ImportError):  # HEIC, where the plugin is installed
        import pillow_heif  # type: ignore[import-not-found,unused-ignore]

        pillow_heif.register_heif_opener()
    Image.init()
    return [name for name in PILLOW_FORMATS if name in Image.OPEN]


def _is_hdr(path: Path) -> bool:
    with path.open("rb") as file:
        _, found, codes = file.read(1 << 16).partition(NCLX)
    return bool(found) and int.from_bytes(codes[2:4], "big") in (PQ, HLG)


def _tone_mapped(path: Path, image: Image.Image) -> Picture:
    """Read an HDR picture with FFmpeg, which keeps all bits; with Pillow if it is made of tiles."""
    upright = ImageOps.exif_transpose(image)
    with suppress(av.FFmpegError, StopIteration, IndexError), av.open(f"file:{path}", "r") as container:
        found = Converter(str(path), None).picture(next(container.decode(container.streams.video[0])))
        if found.shape[1::-1] == upright.size:
            return found
    frame = av.VideoFrame.from_ndarray(np.asarray(upright.convert("RGB")), format="rgb24")
    codes = path.read_bytes().partition(NCLX)[2]
    frame.color_primaries, frame.color_trc = (int.from_bytes(codes[at : at + 2], "big") for at in (0, 2))
    return Converter(str(path), None).picture(frame)


def told_size(path: Path) -> tuple[int, int] | None:
    """Displayed size (H, W) of an image, from its header alone; None if the header is not enough."""
    if path.suffix.lower() in (".exr", ".dpx", ".cin"):
        return None
    try:
        with Image.open(path, formats=_formats()) as image:
            turned = image.getexif().get(ORIENTATION, 1) >= 5
            return (image.width, image.height) if turned else (image.height, image.width)
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError):
        return None


def _sides(window: Any) -> tuple[int, int]:
    """Width and height of an OpenEXR window, whose corners are both included."""
    width, height = (int(side) for side in np.subtract(window[1], window[0]) + 1)
    return width, height


def _read_exr(path: Path, colorspace: Colorspace, max_pixels: int) -> Page:
    """Read the colours in an OpenEXR file's display window, with square pixels."""
    import OpenEXR

    with path.open("rb") as data:  # OpenEXR cannot open names that are not valid Unicode
        with OpenEXR.File(data, separate_channels=True, header_only=True) as file:
            width, height = _sides(file.header()["displayWindow"])
            for header in (file.header(index) for index in range(len(file.parts))):
                check_pixels(*_sides(header["displayWindow"]), max_pixels)
                check_pixels(*_sides(header["dataWindow"]), max_pixels)
        data.seek(0)
        with OpenEXR.File(data, separate_channels=True) as file:
            part, names = _color_part([file.channels(index) for index in range(len(file.parts))])
            header = dict(file.header(part))  # a copy: closing the file empties its own
            planes = [np.asarray(file.channels(part)[name].pixels, dtype=np.float32) for name in names]
    corner, origin = header["dataWindow"][0], header["displayWindow"][0]
    left, top = (int(at) for at in np.subtract(corner, origin))
    rows, columns = planes[0].shape
    values = np.zeros((height, width, 3), np.float32)
    y0, y1, x0, x1 = max(top, 0), min(top + rows, height), max(left, 0), min(left + columns, width)
    for channel in range(3):
        values[y0:y1, x0:x1, channel] = planes[channel % len(planes)][y0 - top : y1 - top, x0 - left : x1 - left]
    picture = displayed(values, "linear" if colorspace == "auto" else colorspace)
    aspect = Fraction(float(header.get("pixelAspectRatio", 1.0))).limit_denominator(1000)
    rows, columns = square_size(height, width, aspect)
    if (rows, columns) != (height, width):
        stretched = cv2.resize(picture, (columns, rows), interpolation=cv2.INTER_CUBIC)
        picture = np.asarray(stretched, dtype=np.uint8)
    inside = (y1 - y0, x1 - x0) == planes[0].shape
    note = "" if inside else f"pixels outside its display window ({width}x{height}) are ignored"
    return Page(picture, note=note, pixel_aspect=aspect)


def _color_part(parts: list[Iterable[str]]) -> tuple[int, list[str]]:
    """Find the part of an OpenEXR file that holds its colours, and their channels: three, or one for gray."""
    known = {name: rank for rank, name in enumerate(("", *COLOR_LAYERS))}
    for part, channels_of_part in enumerate(parts):
        layers: dict[str, dict[str, str]] = {}
        for name in channels_of_part:
            layer, _, channel = name.rpartition(".")
            layers.setdefault(layer, {})[channel.lower()] = name
        found = [layer for layer, channels in layers.items() if {"r", "g", "b"} <= channels.keys()]
        if found:
            best = min(found, key=lambda layer: known.get(layer.rpartition(".")[2].lower(), len(known)))
            return part, [layers[best][channel] for channel in "rgb"]
    for part, names in enumerate(map(list, parts)):
        gray = [name for name in names if name.rpartition(".")[2].lower() == "y"]
        if gray or len(names) == 1:
            return part, (gray or names)[:1]
    if not any(parts):
        raise ImageError("it is truncated, or its pixels are damaged")
    raise ImageError(f"it has no channels R, G, B or Y, only {', '.join(name for names in parts for name in names)}")
