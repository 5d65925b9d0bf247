"""Outputs that are videos: the source, depth in colour, depth in 16 bits."""

from __future__ import annotations

import json

import numpy as np
import numpy.typing as npt

from ..files import whole_file
from ..video.copying import Original, VideoCopier
from ..video.frame import Frame
from ..video.sound import AudioTrack
from ..video.writer import PixelFormat, VideoWriter
from .base import RunInfo
from .values import Values, to_16_bit
from .visualiser import VisStyle, Visualiser


class _File:
    """An output that is one video file; what writes it is made by the subclass."""

    _file: VideoWriter | VideoCopier

    def close(self) -> None:
        self._file.close()

    def abort(self) -> None:
        self._file.abort()

    def written(self) -> list[str]:
        return [str(self._file.path)]


class _Video(_File):
    """A video written as frames come; it plays as long as they did."""

    _file: VideoWriter

    def __init__(
        self,
        info: RunInfo,
        ending: str,
        size: tuple[int, int],
        audio: AudioTrack | None = None,
        pixels: PixelFormat = "rgb24",
        codec: str = "libx264",
        table: npt.NDArray[np.uint8] | None = None,
    ) -> None:
        self._file = VideoWriter(info.path(ending), size, info.fps, pixels, audio, codec, table)

    def _append(self, picture: npt.NDArray[np.uint8] | npt.NDArray[np.uint16], frame: Frame) -> None:
        self._file.write(picture, frame.time, frame.duration)


class SourceVideo(_Video):
    """`_src.mp4`: the frames as they were processed."""

    def __init__(self, info: RunInfo, audio: AudioTrack | None = None, codec: str = "libx264") -> None:
        super().__init__(info, "_src.mp4", info.size, audio, codec=codec)

    def write(self, frame: Frame) -> None:
        self._append(frame.image, frame)


class CopiedVideo(_File):
    """`_src.mp4` where the frames are processed as the file has them: its packets."""

    _file: VideoCopier

    def __init__(self, info: RunInfo, original: Original, audio: AudioTrack | None, codec: str) -> None:
        self._file = VideoCopier(info.path("_src.mp4"), original, info.fps, audio, codec)

    def write(self, frame: Frame) -> None:
        self._file.add(frame.time, frame.duration)


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
        self._alone = style.layout == "depth"
        table = style.table if self._alone else None
        super().__init__(info, "_vis.mp4", style.size(info.size), audio, codec=codec, table=table)
        self._visualiser = Visualiser(info.kind, style, ends)

    def write(self, frame: Frame) -> None:
        show = self._visualiser.levels if self._alone else self._visualiser.picture
        self._append(show(frame), frame)


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

    def write(self, frame: Frame) -> None:
        self._append(to_16_bit(self._values(frame.depth), *self._scale), frame)

    def close(self) -> None:
        super().close()
        with whole_file(self._mapping) as partial:
            partial.write_text(json.dumps(self._content, indent=1) + "\n")

    def written(self) -> list[str]:
        return [*super().written(), str(self._mapping)]
