"""Outputs that are videos: the source, depth in colour, depth in 16 bits."""

from __future__ import annotations

import json

import numpy as np
import numpy.typing as npt

from ..files import whole_file
from ..video.sound import AudioTrack
from ..video.writer import PixelFormat, VideoWriter
from .base import DepthFrame, RunInfo
from .values import Values, to_16_bit
from .visualiser import VisStyle, Visualiser


class _Video:
    """A video written as frames come; it plays as long as they did."""

    def __init__(
        self,
        info: RunInfo,
        ending: str,
        size: tuple[int, int],
        audio: AudioTrack | None = None,
        pixels: PixelFormat = "rgb24",
        codec: str = "libx264",
    ) -> None:
        self._writer = VideoWriter(info.path(ending), size, info.fps, pixels, audio, codec)

    def _append(self, picture: npt.NDArray[np.uint8] | npt.NDArray[np.uint16], frame: DepthFrame) -> None:
        self._writer.write(picture, frame.time, frame.duration)

    def close(self) -> None:
        self._writer.close()

    def abort(self) -> None:
        self._writer.abort()

    def written(self) -> list[str]:
        return [str(self._writer.path)]


class SourceVideo(_Video):
    """`_src.mp4`: the frames as they were processed."""

    def __init__(self, info: RunInfo, audio: AudioTrack | None = None, codec: str = "libx264") -> None:
        super().__init__(info, "_src.mp4", info.size, audio, codec=codec)

    def write(self, frame: DepthFrame) -> None:
        self._append(frame.image, frame)


class DepthVideo(_Video):
    """`_vis.mp4`: depth in colours.

    Args:
        ends: lowest and highest value of the video, where the colours span those.
    """

    def __init__(
        self,
        info: RunInfo,
        style: VisStyle,
        audio: AudioTrack | None = None,
        ends: tuple[float, float] | None = None,
        codec: str = "libx264",
    ) -> None:
        super().__init__(info, "_vis.mp4", style.size(info.size), audio, codec=codec)
        self._visualiser = Visualiser(info.kind, style, ends)

    def write(self, frame: DepthFrame) -> None:
        self._append(self._visualiser.picture(frame), frame)


class Depth16Video(_Video):
    """`_depths16.mkv`: lossless 16-bit gray, with the mapping to values in `_depths16.json`.

    Args:
        values: what is written; the range of the video is known, unless metres are written as millimetres.
    """

    def __init__(self, info: RunInfo, values: Values) -> None:
        self._mapping = info.path("_depths16.json")
        self._values = values
        scale, offset = self._scale = values.mapping()
        content = {**values.facts(), "value": "level * scale + offset", "scale": scale, "offset": offset}
        self._content = {**content, **info.origin()}
        super().__init__(info, "_depths16.mkv", info.size, pixels="gray16le")

    def write(self, frame: DepthFrame) -> None:
        self._append(to_16_bit(self._values(frame.depth), *self._scale), frame)

    def close(self) -> None:
        super().close()
        with whole_file(self._mapping) as partial:
            partial.write_text(json.dumps(self._content, indent=1) + "\n")

    def written(self) -> list[str]:
        return [*super().written(), str(self._mapping)]
