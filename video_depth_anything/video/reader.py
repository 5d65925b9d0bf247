"""What every reader is: a decoder at work on one input, iterated once."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from fractions import Fraction

from .frame import Frame
from .stream_clock import Joint


class Reader(ABC):
    """A decoder at work on one input; iterated once.

    Attributes:
        name: for messages.
        fps: mean frame rate.
        expected_frames: the best guess, for progress; None if there is none.
        live: whether frames come when they come.
        made_up_clock: whether frames come without times of their own.
        copyable: whether the packets of a file, in MP4, show just what was decoded of it so far.
        joints: where recordings were joined, as far as it was read.
    """

    name = ""
    fps = Fraction(1)
    expected_frames: int | None = None
    live = False
    made_up_clock = False
    copyable = False
    joints: Sequence[Joint] = ()

    @abstractmethod
    def __iter__(self) -> Iterator[Frame]: ...

    @abstractmethod
    def close(self) -> None:
        """Let go of the input, read or not."""
