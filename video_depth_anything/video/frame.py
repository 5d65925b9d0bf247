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
    """One frame of a video, made by its reader and passed on as it is. Times are in seconds."""

    image: Image  # (H, W, 3) uint8 RGB
    time: float  # when it is shown, from the first frame that was chosen
    duration: float
    number: int | None = None  # of an image in a numbered sequence, the number in its name
    source_time: float | None = None  # by the source's clock, if any: 0 is where the earliest of its streams begins
    depth: DepthMap = field(default_factory=_NO_DEPTH.view)  # (H, W) float32, empty until it has been computed
    arrived: float | None = None  # when a live source gave it, by `time.monotonic`

    @property
    def end(self) -> float:
        """When the next frame is due."""
        return self.time + self.duration

    @property
    def timestamp(self) -> float:
        """The time that files of numbers state: the source's own where it has a clock."""
        return self.time if self.source_time is None else self.source_time

    def numbered(self, count: int) -> int:
        """The number in the names of its files, for the frame after `count` others."""
        return count if self.number is None else self.number
