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
    """One frame of a video, made by its reader and passed on as it is.

    Attributes:
        image: (H, W, 3) uint8 RGB.
        time: when it is shown, in seconds from the first frame that was chosen.
        duration: for how long, in seconds.
        number: of an image in a numbered sequence, the number in its name; None otherwise.
        source_time: when it is shown by the source's own clock, in which 0 is where the earliest of its streams begins,
            picture or sound; None if the input has no clock.
        depth: (H, W) float32, empty until it has been computed.
        arrived: when a live source gave it, by `time.monotonic`; None of others.
    """

    image: Image
    time: float
    duration: float
    number: int | None = None
    source_time: float | None = None
    depth: DepthMap = field(default_factory=_NO_DEPTH.view)
    arrived: float | None = None

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
