"""The frame that travels from a reader to the writers."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

Image = npt.NDArray[np.uint8]
DepthMap = npt.NDArray[np.float32]

_NO_DEPTH: DepthMap = np.zeros((0, 0), np.float32)


@dataclass(slots=True, eq=False)
class Frame:
    """One frame of a video, from its reader to the writers. Times are in seconds."""

    image: Image  # (H, W, 3) uint8 RGB
    time: float  # counted from the first selected frame
    duration: float
    number: int | None = None  # in a numbered sequence, the number in the file's name
    source_time: float | None = None  # by the source's clock, if any: 0 is the start of its earliest stream
    depth: DepthMap = field(default_factory=_NO_DEPTH.view)  # (H, W) float32, empty until it has been computed
    arrived: float | None = None  # from a live source, by `time.monotonic`

    @property
    def end(self) -> float:
        """When the next frame is due."""
        return self.time + self.duration

    @property
    def timestamp(self) -> float:
        """The time written to files: that of the source's clock if it has one."""
        return self.time if self.source_time is None else self.source_time

    def numbered(self, count: int) -> int:
        """The number in the names of its files; `count` frames were written before it."""
        return count if self.number is None else self.number
