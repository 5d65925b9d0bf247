"""Outputs that are videos: the source, depth in colour, depth in 16 bits."""

from __future__ import annotations

from dataclasses import replace

from ..video.copying import VideoCopier
from ..video.frame import Frame
from ..video.writer import VideoWriter
from .base import OutputWriter, RunInfo, as_json, write_whole
from .colormap import Visualiser
from .values import to_16_bit


class VideoOutput(OutputWriter):
    """An output that is one video file, with the frames' times and durations."""

    def __init__(self, file: VideoWriter | VideoCopier) -> None:
        self._file = file

    def close(self) -> None:
        self._file.close()

    def abort(self) -> None:
        self._file.abort()


class SourceVideo(VideoOutput):
    """`_src.mp4`: the processed frames; if they are the file's own, its packets."""

    def __init__(self, run: RunInfo) -> None:
        path, audio, codec = run.path("_src.mp4"), run.audio, run.options.codec
        if run.original is not None:
            super().__init__(VideoCopier(path, run.original, run.fps, audio, codec))
        else:
            super().__init__(VideoWriter(path, run.size, run.fps, audio=audio, codec=codec))

    def write(self, frame: Frame) -> None:
        self._file.write(frame.image, frame.time, frame.duration)


class ColorVideo(VideoOutput):
    """`_vis.mp4`: depth in colours."""

    def __init__(self, run: RunInfo, ending: str = "_vis.mp4") -> None:
        pictures = Visualiser(run.kind, run.options, run.ends)
        self._show = pictures.levels if pictures.alone else pictures.picture
        table = pictures.table if pictures.alone else None
        path, size, codec = run.path(ending), pictures.size(run.size), run.options.codec
        super().__init__(VideoWriter(path, size, run.fps, audio=run.audio, codec=codec, table=table))

    def write(self, frame: Frame) -> None:
        self._file.write(self._show(frame), frame.time, frame.duration)


class CompareVideo(ColorVideo):
    """`_compare.mp4`: depth in colours, to the right of its source."""

    def __init__(self, run: RunInfo) -> None:
        super().__init__(replace(run, options=replace(run.options, layout="compare")), "_compare.mp4")


class Depth16Video(VideoOutput):
    """`_depths16.mkv`: lossless 16-bit gray, with the mapping to values in `_depths16.json`.

    The video's value range must be known, unless depth is in metres.
    """

    def __init__(self, run: RunInfo) -> None:
        self._run = run
        self._mapping = run.path("_depths16.json")
        self._values = run.values
        self._scale = self._values.mapping()
        super().__init__(VideoWriter(run.path("_depths16.mkv"), run.grid, run.fps, "gray16le"))

    def write(self, frame: Frame) -> None:
        levels = to_16_bit(self._values(frame.depth), *self._scale)
        self._file.write(levels, frame.time, frame.duration)

    def close(self) -> None:
        super().close()
        scale, offset = self._scale
        content = {**self._run.facts(), "value": "level * scale + offset", "scale": scale, "offset": offset}
        write_whole(self._mapping, as_json(content))
