"""Videos that are a file's own packets, where nothing of its frames was changed: nothing is encoded twice."""

from __future__ import annotations

import logging
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from fractions import Fraction
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

from ..files import partial_path
from .headers import video_stream
from .names import printable
from .sound import AudioTrack
from .writer import TimedVideo, VideoWriter

if TYPE_CHECKING:
    from av import VideoStream
    from av.container import InputContainer

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Original:
    """A file whose packets may be copied.

    Attributes:
        location: of the file.
        unchanged: whether its packets show just the frames that were read of it so far.
    """

    location: Path
    unchanged: Callable[[], bool]


class VideoCopier(TimedVideo):
    """Writes the frames of a file as its own packets at their times, all at the end.

    Where the packets turn out to show something else, because the run was cut short or the file is damaged, the frames
    are read again and encoded.

    Args:
        path: where to; .mp4.
        original: the file.
        fps, audio, codec: as of `VideoWriter`.
    """

    def __init__(self, path: Path, original: Original, fps: Fraction, audio: AudioTrack | None, codec: str) -> None:
        super().__init__(path, fps, audio)
        self._original = original
        self._codec = codec
        logger.info("%s: the frames of %s are copied, not encoded again", path.name, printable(original.location))

    def add(self, time: float, duration: float) -> None:
        """Take note of the next frame: when it is shown and for how long, in seconds."""
        self._add(time, duration)

    def close(self) -> None:
        """Write the file.

        Raises:
            OutputError: if that fails.
        """
        try:
            with self._failing():
                if self._original.unchanged() and self._copied():
                    self._finish(self._schedule(None))
                    return
            self._encode()
        except BaseException:
            self.abort()
            raise

    def abort(self) -> None:
        """Remove what was written."""
        self._discard()

    def _copied(self) -> bool:
        """Copy the packets, counting frames instead of their times, as an encoder does; whether there are as many."""
        import av

        source = f"file:{self._original.location}"
        with av.open(source) as given:
            stamps = [packet.pts for packet in given.demux(self._stream(given)) if packet.size]
        shown = {stamp: index for index, stamp in enumerate(sorted(stamp for stamp in stamps if stamp is not None))}
        if len(shown) != self._count or len(stamps) != self._count:
            return False
        # A packet is stored before it is shown.
        delay = max(index - shown[stamp] for index, stamp in enumerate(stamps) if stamp is not None)
        options = {"movflags": "+faststart"} if self._audio is None else {}
        target = f"file:{partial_path(self.path)}"
        with av.open(source) as given, av.open(target, "w", format="mp4", container_options=options) as output:
            stream = self._stream(given)
            copied = output.add_stream_from_template(stream)
            copied.time_base = 1 / self._fps
            for index, packet in enumerate(packet for packet in given.demux(stream) if packet.size):
                packet.pts, packet.dts, packet.duration = shown[packet.pts or 0], index - delay, 1
                packet.time_base, packet.stream = 1 / self._fps, copied
                output.mux(packet)
        return True

    def _stream(self, container: InputContainer) -> VideoStream:
        """The video that was read: a file may hold several."""
        return video_stream(container, str(self._original.location))

    def _encode(self) -> None:
        from .source import open_video

        logger.info("%s: its frames are encoded after all: not all of them were used as they are", self.path.name)
        with closing(open_video(self._original.location)) as source:
            writer = VideoWriter(self.path, source.size, self._fps, audio=self._audio, codec=self._codec)
            try:
                for frame, time in zip(islice(source, self._count), self._stamps):
                    writer.write(frame, time, self._end - time)
                writer.close()
            except BaseException:
                writer.abort()
                raise
