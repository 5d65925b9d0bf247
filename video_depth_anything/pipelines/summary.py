"""What a run did, and the line that says it."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass

from ..errors import BrokenOffError


@dataclass(frozen=True)
class RunSummary:
    """Frames written, seconds taken, and whether the user ended the run early.

    took: seconds from a frame to its outputs, of the latest frames of a stream. broken: says how the input broke off.
    ages: seconds from when a live source gave a frame to its outputs.
    """

    frames: int
    seconds: float
    interrupted: bool
    took: tuple[float, ...] = ()
    broken: BrokenOffError | None = None
    ages: tuple[float, ...] = ()

    def line(self, written: Sequence[str], checkpoint: str) -> str:
        """The closing line, with the names of the outputs and of the weights."""
        if self.interrupted and not self.frames:
            return "interrupted before any depth was finished; nothing was written"
        state = "interrupted: " if self.interrupted else "" if self.broken is None else "broken off: "
        rate = self.frames / max(self.seconds, 1e-9)
        count = f"{self.frames} frame{'' if self.frames == 1 else 's'}"
        return (
            f"{state}wrote {', '.join(written) or 'no files'}: {count} in {self.seconds:.1f} s, "
            f"{rate:.2f} frames/s, peak memory {peak_memory()}, checkpoint {checkpoint}"
        )


def peak_memory() -> str:
    """Most memory this process has held resident so far, and on the GPU if one was used."""
    try:
        import resource
    except ImportError:
        text = "unknown on this system"
    else:
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        text = f"{peak / (2**30 if sys.platform == 'darwin' else 2**20):.2f} GiB"
    torch = sys.modules.get("torch")
    if torch is not None and torch.cuda.is_available() and torch.cuda.max_memory_allocated():
        text += f" (GPU {torch.cuda.max_memory_allocated() / 2**30:.2f} GiB)"
    return text
