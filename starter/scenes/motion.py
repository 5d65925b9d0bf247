"""Motion of objects: a pose for every time, exact at any frame rate."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from starter.scenes.mesh import rotation_z


@dataclass(frozen=True)
class Motion:
    """Steady motion; called with seconds it gives a rigid (4, 4) pose.

    Attributes:
        start: (x, y, z) at time 0, metres.
        heading: direction of motion, radians from x; the object's front (-y) looks along it.
        speed: metres per second.
        spin: turn about its own axis, radians per second.
        bounce: height of hops in metres, `rate` of them per second.
    """

    start: tuple[float, float, float]
    heading: float
    speed: float
    spin: float = 0.0
    bounce: float = 0.0
    rate: float = 1.5

    def __call__(self, seconds: float) -> npt.NDArray[np.float64]:
        """(4, 4) pose after that many seconds."""
        pose = np.eye(4)
        pose[:3, :3] = rotation_z(self.heading + np.pi / 2 + self.spin * seconds)
        ahead = np.array([np.cos(self.heading), np.sin(self.heading), 0.0]) * self.speed * seconds
        hop = self.bounce * abs(np.sin(np.pi * self.rate * seconds))
        pose[:3, 3] = np.array(self.start) + ahead + [0, 0, hop]
        return pose
