"""Taking turns, medians, and how far one output lies from another."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

Depths = npt.NDArray[np.float32]
# After each turn: threads that it has woken look for work for a while before they sleep.
PAUSE_SECONDS = 0.02


@dataclass
class Contender:
    """Something that is measured, or the other tree that is its yardstick; its work returns seconds and depth."""

    name: str
    precision: str
    yardstick: bool
    work: Callable[[npt.NDArray[np.uint8]], tuple[float, Depths]]
    seconds: list[float] = field(default_factory=list)
    depths: Depths | None = None

    def take_turn(self, frames: npt.NDArray[np.uint8]) -> None:
        """Do the work once and note what came."""
        seconds, self.depths = self.work(frames)
        self.seconds.append(seconds)
        time.sleep(PAUSE_SECONDS)

    @property
    def median(self) -> float:
        """Median seconds of a turn."""
        return float(np.median(self.seconds))


def take_turns(contenders: Sequence[Contender], frames: npt.NDArray[np.uint8], repeats: int) -> None:
    """Each once, then each once more, so that other load hits all alike; every second round goes backwards."""
    for turn in range(repeats):
        for contender in contenders[:: 1 if turn % 2 == 0 else -1]:
            contender.take_turn(frames)


def reference_of(contenders: Sequence[Contender]) -> Contender:
    """What depth is compared with: the first in fp32, other trees before ours; the first of all if none is."""
    ordered = sorted(contenders, key=lambda contender: (contender.precision != "fp32", not contender.yardstick))
    return ordered[0]


def speedups(contender: Contender, contenders: Sequence[Contender], first: int = 0) -> list[str]:
    """Cells: how many times as fast as the other tree in fp32, and in the same precision; blank without one."""
    cells = []
    for precision in ("fp32", contender.precision):
        other = next((c for c in contenders if c.yardstick and c.precision == precision), None)
        own = np.median(contender.seconds[first:])
        cells.append(f"{np.median(other.seconds[first:]) / own:.2f}" if other is not None else "")
    return cells


@dataclass
class Difference:
    """How far depth lies from a reference, over any number of maps."""

    largest: float = 0.0
    low: float = np.inf
    high: float = -np.inf
    squares: float = 0.0
    reference_squares: float = 0.0

    def add(self, depth: Depths, reference: Depths) -> None:
        """Take more maps; raises ValueError if the shapes differ."""
        if depth.shape != reference.shape:
            raise ValueError(f"depth {depth.shape} cannot be compared with {reference.shape}")
        difference = depth.astype(np.float64) - reference
        self.largest = max(self.largest, float(np.abs(difference).max()))
        self.low, self.high = min(self.low, float(reference.min())), max(self.high, float(reference.max()))
        self.squares += float(np.square(difference).sum())
        self.reference_squares += float(np.square(reference.astype(np.float64)).sum())

    @property
    def of_range(self) -> float:
        """Largest difference, as a share of the range that the reference's values span."""
        return self.largest / max(self.high - self.low, 1e-12)

    @property
    def of_norm(self) -> float:
        """Euclidean norm of the difference, as a share of the reference's."""
        return float(np.sqrt(self.squares / max(self.reference_squares, 1e-24)))
