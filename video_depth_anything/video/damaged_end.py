"""The last frames of a file whose end is damaged."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, cast

if TYPE_CHECKING:
    from av import Packet, VideoCodecContext, VideoFrame, VideoStream

# Compressed bytes remembered since the last keyframe.
REMEMBERED_BYTES = 64 << 20


class Tail:
    """Packets since the last keyframe.

    When a decoder with several threads meets a broken packet at the very end, the binding loses the good frames before
    it that were still on their way. They are decoded again, in one thread.
    """

    def __init__(self) -> None:
        self.begun = False
        self._packets: deque[Packet[VideoStream]] = deque()
        self._bytes = 0
        self._pending = 0
        self._last_pts: int | None = None

    def add(self, packet: Packet[VideoStream]) -> None:
        """Remember a packet that goes to the decoder."""
        self.begun = True
        if packet.is_keyframe or self._bytes > REMEMBERED_BYTES:
            self._packets.clear()
            self._bytes = 0
        self._packets.append(packet)
        self._bytes += packet.size
        self._pending += 1

    def seen(self, frames: list[VideoFrame]) -> None:
        """Note the frames that the decoder gave."""
        self._pending -= len(frames)
        stamps = [frame.pts for frame in frames if frame.pts is not None]
        if stamps:
            self._last_pts = max(stamps) if self._last_pts is None else max(self._last_pts, *stamps)

    def missing(self, stream: VideoStream) -> list[VideoFrame]:
        """Frames later than any seen, if some packets gave none."""
        import av

        if self._pending <= 0 or not self._packets or not self._packets[0].is_keyframe:
            return []
        codec = cast("VideoCodecContext", av.CodecContext.create(stream.codec_context.codec.name, "r"))
        codec.extradata = stream.codec_context.extradata
        codec.thread_count = 1
        frames: list[VideoFrame] = []
        for packet in (*self._packets, None):
            try:
                frames += codec.decode(packet)
            except av.FFmpegError:
                continue
        return [f for f in frames if f.pts is not None and (self._last_pts is None or f.pts > self._last_pts)]
