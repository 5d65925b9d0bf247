"""Where bundled files are."""

from __future__ import annotations

from pathlib import Path


def bundled(relative: str) -> Path:
    """A file that comes with the package: in an installed one, or in the repository."""
    own = Path(__file__).parent / "assets" / relative
    return own if own.exists() else Path(__file__).resolve().parents[1] / "assets" / relative
