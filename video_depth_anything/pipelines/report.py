"""What the pipelines ask of whoever shows a run to the user, and of whatever takes its frames."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Protocol

from ..video.frame import Frame


class Report(Protocol):
    """The command line's console, or the page."""

    def position(self, number: int, inputs: int) -> None:
        """Say which input comes next.

        Args:
            number: from 1 on.
            inputs: how many there are.
        """

    def progress(self, total: int | None, name: str) -> AbstractContextManager[Callable[[], None]]:
        """Show how far a video is.

        Args:
            total: number of frames, as far as the input is believed; None if it does not say.
            name: of the video.

        Returns:
            A context whose value is the function to call after each frame.
        """

    def say(self, line: str) -> None:
        """Show a run's closing line."""


class Outputs(Protocol):
    """Where a run's frames go; `outputs.run_outputs.RunOutputs` is one."""

    def write(self, frame: Frame) -> None:
        """Take the next frame.

        Raises:
            Finished: if an output asks for the end, when all of them have the frame.
        """

    def close(self, interrupted: bool = False) -> None:
        """Finish; where the run was interrupted, with what there is."""

    def abort(self) -> None:
        """Remove what is not whole."""
