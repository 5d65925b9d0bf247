"""Taking turns, medians, and how far one output lies from another."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

Depths = npt.NDArray[np.float32]
# After each turn: threads that the last one has woken look for work for a while before they sleep.
PAUSE_SECONDS = 0.02


@dataclass
class Contender:
    """Something that is measured.

    Attributes:
        name: as it is printed.
        precision: "fp32", "bf16" or "fp16".
        yardstick: whether it works in the original's order, so that the others are compared with it.
        work: does the work once and returns seconds and depth.
        seconds: of all turns.
        depths: of the last turn.
    """

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
    """Each once, then each once more, ..: what the machine does in the meantime hits all alike.

    Every second round goes backwards, so that nobody always follows the same one.

    Args:
        contenders: in the order of the first round.
        frames: the clip (N, H, W, 3) uint8.
        repeats: turns of each.
    """
    for turn in range(repeats):
        for contender in contenders[:: 1 if turn % 2 == 0 else -1]:
            contender.take_turn(frames)


def reference_of(contenders: Sequence[Contender], precision: str | None = None) -> Contender | None:
    """What the others are compared with: the first yardstick (another tree stands before ours) of that precision.

    Args:
        contenders: all that take turns.
        precision: that of the reference. Without one: float32 if there is any, and of what is no yardstick the first if
            there is none.
    """
    if precision is not None:
        return next((c for c in contenders if c.yardstick and c.precision == precision), None)
    exact = [c for c in contenders if c.precision == "fp32"]
    return next((c for c in exact if c.yardstick), (exact or list(contenders))[0])


@dataclass
class Difference:
    """How far depth lies from a reference, over any number of maps."""

    largest: float = 0.0
    low: float = np.inf
    high: float = -np.inf
    squares: float = 0.0
    reference_squares: float = 0.0

    def add(self, depth: Depths, reference: Depths) -> None:
        """Take more maps of one shape.

        Raises:
            ValueError: if the shapes differ.
        """
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
