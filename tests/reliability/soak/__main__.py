"""Run the trial, part by part, and print what it found: `make soak`."""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from . import kills, long_stream, mutations, page, small_disk
from .trial import Row, table

PARTS: dict[str, Callable[[Path, int], Row]] = {
    "kills": kills.trial,
    "mutations": mutations.trial,
    "disk": small_disk.trial,
    "stream": long_stream.trial,
    "page": page.trial,
}


def main() -> int:
    """Run the parts asked for; 1 if one found anything."""
    parser = argparse.ArgumentParser(prog="soak", description=__doc__)
    parser.add_argument("parts", nargs="*", metavar="PART", help=f"{', '.join(PARTS)}; left out: all of them")
    parser.add_argument("--seed", type=int, default=18, help="of accidents and moments")
    args = parser.parse_args()
    unknown = [part for part in args.parts if part not in PARTS]
    if unknown:
        parser.error(f"there is no part {unknown[0]!r}; choose from {', '.join(PARTS)}")
    rows = []
    for part in args.parts or PARTS:
        with tempfile.TemporaryDirectory(prefix="soak-") as folder:
            begun = time.monotonic()
            work = Path(folder, "work")
            work.mkdir()
            row = PARTS[part](work, args.seed)
            row.seconds = time.monotonic() - begun
            rows.append(row)
            load = os.getloadavg()[0] if hasattr(os, "getloadavg") else 0.0
            print(f"{row.part}: {row.tried}, {row.seconds:.0f} s, load {load:.1f}", file=sys.stderr, flush=True)
    print(table(rows))
    return int(not all(row.clean for row in rows))


if __name__ == "__main__":
    sys.exit(main())
