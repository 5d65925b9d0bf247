"""Outputs that are videos: the source, depth in colour, depth in 16 bits."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

from ..files import whole_file
from ..video.timing import PlayTime
from ..video.writer import AudioTrack, VideoWriter
from .arrays import mapping_of, to_16_bit
from .base import DepthFrame, DepthKind, DepthMap, RunInfo, Spool, ValueRange
from .colormap import Colorizer, RunningRange
from .vis_range import VisRange


@dataclass(frozen=True)
class VisStyle:
    """How depth is shown. table: (256, 3) uint8 colours, None for gray; layout: alone, or right of the source."""

    table: npt.NDArray[np.uint8] | None
    range: VisRange = VisRange()  # noqa: RUF009 - immutable
    layout: Literal["depth", "side-by-side"] = "depth"

    def size(self, size: tuple[int, int]) -> tuple[int, int]:
        """(H, W) of the pictures for frames of that size."""
        return (size[0], 2 * size[1]) if self.layout == "side-by-side" else size

    def picture(
        self, kind: DepthKind, depth: DepthMap, low: float, high: float, image: npt.NDArray[np.uint8] | None
    ) -> npt.NDArray[np.uint8]:
        """Depth in colours, near bright: that is large for disparity, small for metres."""
        near, far = (high, low) if kind == "disparity" else (low, high)
        colored = Colorizer(far, near, self.table)(depth)
        if image is None or self.layout == "depth":
            return colored
        colored = colored if colored.ndim == 3 else np.repeat(colored[..., None], 3, axis=2)
        return np.concatenate((image, colored), axis=1)


class _OnePassVideo:
    """A video written as frames come; it plays as long as they did."""

    def __init__(self, info: RunInfo, ending: str, size: tuple[int, int], audio: AudioTrack | None) -> None:
        self._writer = VideoWriter(info.path(ending), size, info.fps, audio=audio)
        self._play = PlayTime()

    def _append(self, picture: npt.NDArray[np.uint8], frame: DepthFrame) -> None:
        self._writer.write(picture)
        self._play.add(frame.time, frame.duration)

    def close(self) -> None:
        self._writer.close(self._play.seconds)

    def abort(self) -> None:
        self._writer.abort()

    def written(self) -> list[str]:
        return [str(self._writer.path)]


class SourceVideo(_OnePassVideo):
    """`_src.mp4`: the frames as they were processed."""

    def __init__(self, info: RunInfo, audio: AudioTrack | None) -> None:
        super().__init__(info, "_src.mp4", info.size, audio)

    def write(self, frame: DepthFrame) -> None:
        self._append(frame.image, frame)


class OnePassVis(_OnePassVideo):
    """`_vis.mp4` written as frames come, its range fixed or a running percentile."""

    def __init__(self, info: RunInfo, style: VisStyle, audio: AudioTrack | None) -> None:
        super().__init__(info, "_vis.mp4", style.size(info.size), audio)
        self._kind = info.kind
        self._style = style
        self._running = RunningRange() if style.range.kind == "percentile" else None

    def write(self, frame: DepthFrame) -> None:
        fixed = (self._style.range.low, self._style.range.high)
        low, high = fixed if self._running is None else self._running.update(frame.depth)
        self._append(self._style.picture(self._kind, frame.depth, low, high, frame.image), frame)


class TwoPassVideos:
    """`_vis.mp4` over the range of the whole video, and `_depths16.mkv`: made at the end, from depth spooled to disk.

    Side by side, the source's frames are spooled too.

    Args:
        style: how `_vis.mp4` looks; None for none. mkv16: whether to write `_depths16.mkv` and its mapping.
    """

    def __init__(self, info: RunInfo, style: VisStyle | None, mkv16: bool, audio: AudioTrack | None) -> None:
        self._info = info
        self._style = style
        self._mkv16 = mkv16
        self._audio = audio
        self._play = PlayTime()
        self._range = ValueRange()
        self._depths = Spool(info.folder, info.size, np.float32)
        side_by_side = style is not None and style.layout == "side-by-side"
        self._images = Spool(info.folder, (*info.size, 3), np.uint8) if side_by_side else None

    def write(self, frame: DepthFrame) -> None:
        self._depths.append(frame.depth)
        self._range.update(frame.depth)
        if self._images is not None:
            self._images.append(frame.image)
        self._play.add(frame.time, frame.duration)

    def close(self) -> None:
        try:
            if self._style is not None:
                self._write_vis(self._style)
            if self._mkv16:
                self._write_mkv16()
        finally:
            self.abort()

    def _write_vis(self, style: VisStyle) -> None:
        info = self._info
        writer = VideoWriter(info.path("_vis.mp4"), style.size(info.size), self._play.rate(info.fps), audio=self._audio)
        images = iter(self._images) if self._images is not None else None
        try:
            for depth in self._depths:
                image = next(images) if images is not None else None
                writer.write(style.picture(info.kind, depth, *self._range.ends, image))
        except BaseException:
            writer.abort()
            raise
        writer.close()

    def _write_mkv16(self) -> None:
        info = self._info
        scale, offset = mapping_of(info.kind, *self._range.ends)
        writer = VideoWriter(info.path("_depths16.mkv"), info.size, self._play.rate(info.fps), "gray16le")
        try:
            for depth in self._depths:
                writer.write(to_16_bit(depth, scale, offset))
        except BaseException:
            writer.abort()
            raise
        writer.close()
        content = {"kind": info.kind, "value": "level * scale + offset", "scale": scale, "offset": offset}
        with whole_file(info.path("_depths16.json")) as partial:
            partial.write_text(json.dumps(content, indent=1) + "\n")

    def abort(self) -> None:
        self._depths.close()
        if self._images is not None:
            self._images.close()

    def written(self) -> list[str]:
        paths = [self._info.path("_vis.mp4")] if self._style is not None else []
        if self._mkv16:
            paths += [self._info.path("_depths16.mkv"), self._info.path("_depths16.json")]
        return [str(path) for path in paths]
