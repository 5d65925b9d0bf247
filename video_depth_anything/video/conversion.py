"""Converts decoded frames to RGB for display: progressive, square pixels, upright, SDR."""

from __future__ import annotations

import logging
from fractions import Fraction

import av
import numpy as np
import numpy.typing as npt
from av import VideoFrame
from av.filter import Graph
from av.video.reformatter import VideoReformatter

from ..errors import InputError
from .cropping import Crop
from .filters import filter_graph
from .names import printable
from .tone_mapping import ToneMapper

logger = logging.getLogger(__name__)

# H.273 codes of the matrices that libswscale supports; it treats 2, unspecified, as BT.601.
KNOWN_MATRICES = {1, 2, 4, 5, 6, 7, 9}
BT709, UNSPECIFIED, BT2020 = 1, 2, 9
# Matrix for given primaries, for frames with an unknown matrix.
MATRIX_OF_PRIMARIES = {1: 1, 4: 4, 5: 5, 6: 6, 7: 7, 9: 9}
PQ, HLG = 16, 18
# A sample aspect ratio beyond this is a mistake in the header.
WIDEST_PIXEL = 4

# glibc's limit is 32 MiB, including its overhead.
KEPT_BLOCK = 31 << 20

Orientation = tuple[int, int, int, int]
UPRIGHT: Orientation = (1, 0, 0, 1)


def square_size(height: int, width: int, pixel_aspect: Fraction | None) -> tuple[int, int]:
    """Size (H, W) with square pixels: one side is stretched to an even number, none is reduced."""
    if not pixel_aspect or pixel_aspect == 1 or not Fraction(1, WIDEST_PIXEL) <= pixel_aspect <= WIDEST_PIXEL:
        return height, width
    if pixel_aspect > 1:
        return height, _even(width * pixel_aspect)
    return _even(height / pixel_aspect), width


def _even(side: Fraction) -> int:
    return max(2 * round(side / 2), 2)


def upright(image: npt.NDArray[np.uint8], orientation: Orientation) -> npt.NDArray[np.uint8]:
    """Rotate and mirror a picture (H, W, 3) by its display matrix, to the nearest quarter turn."""
    a, b, c, d = orientation
    if abs(a) + abs(d) >= abs(b) + abs(c):
        horizontal, vertical = a, d
    else:
        image = image.transpose(1, 0, 2)
        horizontal, vertical = c, b
    if horizontal < 0:
        image = image[:, ::-1]
    if vertical < 0:
        image = image[::-1]
    return np.ascontiguousarray(image)


def orientation_of(frame: VideoFrame) -> Orientation:
    """Read the frame's display matrix."""
    try:
        data = bytes(frame.side_data["DISPLAYMATRIX"])  # type: ignore[typeddict-item]
    except KeyError:
        return UPRIGHT
    except ValueError:
        # Side data of a kind unknown to PyAV hides the matrix, but PyAV still reports the rotation.
        return {90: (0, -1, 1, 0), -90: (0, 1, -1, 0), 180: (-1, 0, 0, -1), -180: (-1, 0, 0, -1)}.get(
            frame.rotation, UPRIGHT
        )
    a, b, _, c, d = np.frombuffer(data, np.int32)[:5].tolist()
    return (a, b, c, d)


class Converter:
    """Converts the frames of one stream to RGB pictures of the first one's size.

    HDR (PQ and HLG) is tone mapped to SDR. Wide-gamut SDR keeps its pixel values, as in the ffmpeg command, and looks
    slightly paler. `orientation` is that of the latest picture; None before the first.
    """

    def __init__(self, location: str, pixel_aspect: Fraction | None, crop: Crop | None = None) -> None:
        # glibc would map and unmap memory for every frame, a fifth of the work, until it has freed one block of the
        # largest size that it keeps.
        np.empty(KEPT_BLOCK, np.uint8)
        self._location = printable(location)
        self._pixel_aspect = pixel_aspect
        self._crop = crop
        self._cropper: tuple[tuple[object, ...], Graph] | None = None
        self._to_rgb = VideoReformatter()
        self._to_deep_rgb = VideoReformatter()
        self._shown: tuple[int, int] | None = None
        self._first: tuple[int, int] | None = None  # the first frame's stored size, until a change was told
        self._tone_mapper: ToneMapper | None = None
        self._told = False
        self.orientation: Orientation | None = None
        self._rotation = 0

    def picture(self, frame: VideoFrame) -> npt.NDArray[np.uint8]:
        """Convert a frame to (H, W, 3) uint8 RGB."""
        if self.orientation is None or frame.rotation != self._rotation:
            # Read only when it may have changed: PyAV's side data and its frame refer to each other, so reading it
            # keeps the frame in memory until the garbage collector runs.
            self._rotation = frame.rotation
            self.orientation = orientation_of(frame)
        orientation = self.orientation
        if self._crop is not None:
            frame = self._cropped(frame, self._crop)
        quarter = abs(orientation[0]) + abs(orientation[3]) < abs(orientation[1]) + abs(orientation[2])
        if self._shown is None:
            stored = square_size(frame.height, frame.width, self._pixel_aspect)
            self._shown = stored[::-1] if quarter else stored
            self._first = frame.width, frame.height
        elif self._first not in (None, (frame.width, frame.height)):
            text = "%s: its frames change from %dx%d to %dx%d pixels; they are scaled to the first size"
            logger.warning(text, self._location, *self._first, frame.width, frame.height)
            self._first = None  # told once
        height, width = self._shown[::-1] if quarter else self._shown
        pixel_format = frame.format.name
        hdr = frame.color_trc in (PQ, HLG)
        if hdr or frame.colorspace not in KNOWN_MATRICES:
            self._mend_matrix(frame, hdr)
        try:
            if hdr:
                frame = self._tone_mapped(frame)
            rgb = self._to_rgb.reformat(frame, width, height, "rgb24", interpolation="BICUBIC")
        except (av.FFmpegError, ValueError) as error:
            raise InputError(f"cannot read {self._location}: pixel format {pixel_format} is not supported") from error
        image = np.asarray(rgb.to_ndarray(), dtype=np.uint8)
        return image if orientation == UPRIGHT else upright(image, orientation)

    def _cropped(self, frame: VideoFrame, crop: Crop) -> VideoFrame:
        kind = frame.width, frame.height, frame.format.name
        if self._cropper is None or self._cropper[0] != kind:
            sides = {"w": frame.width - crop.left - crop.right, "h": frame.height - crop.top - crop.bottom}
            where = {**sides, "x": crop.left, "y": crop.top, "exact": 1}
            options = {name: str(value) for name, value in where.items()}
            self._cropper = kind, filter_graph(frame, "crop", **options)
        self._cropper[1].vpush(frame)
        return self._cropper[1].vpull()

    def _mend_matrix(self, frame: VideoFrame, hdr: bool) -> None:
        """Replace an unsupported colour matrix by the one that matches the primaries."""
        if frame.format.is_rgb or frame.format.has_palette:
            return
        if hdr and frame.colorspace == UNSPECIFIED:
            frame.colorspace = MATRIX_OF_PRIMARIES.get(frame.color_primaries, BT2020)
        if frame.colorspace in KNOWN_MATRICES:
            return
        matrix = MATRIX_OF_PRIMARIES.get(frame.color_primaries, BT2020 if hdr else BT709)
        if not self._told:
            name = {BT709: "BT.709", BT2020: "BT.2020"}.get(matrix, "BT.601")
            logger.warning(
                "%s: its colour matrix is not supported; %s is used instead, so colours may be off",
                self._location,
                name,
            )
            self._told = True
        frame.colorspace = matrix

    def _tone_mapped(self, frame: VideoFrame) -> VideoFrame:
        if self._tone_mapper is None:
            logger.info("%s is HDR; it is tone mapped to SDR", self._location)
            self._tone_mapper = ToneMapper("pq" if frame.color_trc == PQ else "hlg", frame.color_primaries)
        deep = self._to_deep_rgb.reformat(frame, format=ToneMapper.FORMAT, interpolation="BICUBIC")
        return self._tone_mapper.map(deep)
