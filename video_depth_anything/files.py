"""Output files get their final name only when complete; broken streams are detached."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Any


def partial_path(path: Path) -> Path:
    """Name beside `path` for the file while it is incomplete; it keeps the ending, which programs check."""
    return path.with_name(f".partial_{path.name}")


def commit(path: Path) -> None:
    """Give the file at `partial_path(path)` its final name."""
    partial_path(path).replace(path)


def discard(path: Path) -> None:
    """Remove the file at `partial_path(path)`, if any."""
    partial_path(path).unlink(missing_ok=True)


@contextmanager
def whole_file(path: Path) -> Iterator[Path]:
    """Yield the name to write to; renamed to `path` at the end, removed if the block raises."""
    try:
        yield partial_path(path)
        commit(path)
    except BaseException:
        discard(path)
        raise


def let_go(stream: IO[Any]) -> None:
    """Discard a stream's buffered output, which would cause an error when Python exits."""
    with suppress(OSError, ValueError):
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, stream.fileno())
        os.close(nowhere)
