"""How far a run is, and what it took."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager


@contextmanager
def progress(total: int | None, name: str) -> Iterator[Callable[[], None]]:
    """A bar with frames done, frames per second and the time left; yields the function to call after each frame."""
    from tqdm import tqdm

    with tqdm(total=total, desc=name, unit="frame", file=sys.stderr, dynamic_ncols=True, smoothing=0.05) as bar:

        def advance() -> None:
            # A file's frame count is a claim; a bar beyond 100 % helps nobody.
            if bar.total is not None and bar.n >= bar.total:
                bar.total = None
            bar.update()

        yield advance


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
