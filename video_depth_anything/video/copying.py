"""Copies a file's packets where its frames are unchanged, so that nothing is encoded twice."""

from __future__ import annotations

import logging
import os
from array import array
from contextlib import closing
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING

import av
from av.container import InputContainer

from ..errors import InputError, OutputError
from .containers import video_stream
from .names import printable
from .sound import AudioTrack, Sound
from .writer import BEHIND, TickClock, VideoWriter, open_mp4

if TYPE_CHECKING:
    from .source import Source

logger = logging.getLogger(__name__)


class VideoCopier:
    """Copies the packets of a `copyable` source to `path` (.mp4), all at the end.

    If the packets do not show exactly the frames of the run, because it was cut short or the file is damaged, the
    frames are read again and encoded, as by `VideoWriter`.
    """

    def __init__(self, path: Path, source: Source, fps: Fraction, audio: AudioTrack | None, codec: str) -> None:
        self.path = path
        self._source = source
        self._fps, self._audio, self._codec = fps, audio, codec
        self._times = array("d")
        self._end = 0.0
        # The open file stays readable if another one takes its name during the run.
        self._file = Path(source.location).open("rb")
        self._state = self._state_now()
        logger.info("%s: the frames of %s are copied, not encoded again", path.name, printable(source.location))

    def write(self, _picture: object, time: float, duration: float) -> None:
        """Record the next frame's time and duration, in seconds."""
        self._times.append(time)
        self._end = time + duration

    def close(self) -> None:
        """Write the file; if its frames cannot be read a second time, warn and write none."""
        try:
            changed = self._state_now() != self._state
            if changed:
                text = "%s changed while it was read; %s shows its present content"
                logger.warning(text, printable(self._source.location), self.path.name)
            if changed or not self._source.copyable or not self._copied():
                self._encode()
        except InputError as error:
            self.abort()
            logger.warning("%s is omitted: %s", self.path.name, error)
        except (av.FFmpegError, OSError) as error:
            self.abort()
            raise OutputError(f"cannot write {printable(self.path)}: {error.strerror or error}") from error
        except BaseException:
            self.abort()
            raise
        self._file.close()

    def abort(self) -> None:
        """Remove what was written."""
        self._file.close()
        self.path.unlink(missing_ok=True)

    def _state_now(self) -> tuple[int, int]:
        found = os.fstat(self._file.fileno())
        return found.st_size, found.st_mtime_ns

    def _copied(self) -> bool:
        """Copy the packets if there are as many as frames; return whether they were copied."""
        with self._opened() as given:
            stream = video_stream(given, self._source.location)
            base = stream.time_base or Fraction(1, 1000)
            stamps = [packet.pts for packet in given.demux(stream) if packet.size]
        known = [stamp for stamp in stamps if stamp is not None]
        if not len(known) == len(stamps) == len(self._times):
            return False
        clock, first = TickClock(self._fps), min(known)
        ticks = [clock.at(float((stamp - first) * base)) for stamp in known]
        shown = {tick: index for index, tick in enumerate(sorted(ticks))}
        if len(shown) < len(ticks):
            return False
        # With reordered frames, decoding timestamps run ahead by this many frames.
        delay = max(index - shown[tick] for index, tick in enumerate(ticks))
        stored = [(index - delay) * clock.step for index in range(delay)] + sorted(ticks)
        with self._opened() as given, open_mp4(self.path) as output:
            stream = video_stream(given, self._source.location)
            copied = output.add_stream_from_template(stream)
            copied.time_base = clock.tick
            sound = None if self._audio is None else Sound.opened(self._audio, output, self.path.name)
            # The container derives durations from decoding timestamps; the last packet makes up for the delay.
            ends = [*stored[1 : len(ticks)], stored[0] + clock.at(self._end)]
            packets = (packet for packet in given.demux(stream) if packet.size)
            for packet, pts, dts, end in zip(packets, ticks, stored, ends):
                packet.stream, packet.time_base = copied, clock.tick
                packet.pts, packet.dts, packet.duration = pts, dts, max(end - dts, 1)
                output.mux(packet)
                if sound is not None:
                    sound.write_until(float(dts * clock.tick) - BEHIND)
            if sound is not None:
                sound.finish(self._end)
        return True

    def _opened(self) -> InputContainer:
        self._file.seek(0)
        return av.open(self._file, "r")

    def _encode(self) -> None:
        from .source import open_video

        logger.info("%s: its frames are encoded: not all of them were used unchanged", self.path.name)
        with closing(open_video(self._source.location)) as source:
            writer = VideoWriter(self.path, source.size, self._fps, audio=self._audio, codec=self._codec)
            try:
                for frame, time, end in zip(source, self._times, [*self._times[1:], self._end]):
                    writer.write(frame, time, end - time)
                writer.close()
            except BaseException:
                writer.abort()
                raise
