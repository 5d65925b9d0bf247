"""Fetch real furniture for the procedural scenes: Debian's package sweethome3d-furniture, 820 models with real sizes.

    python -m starter.fetch_furniture --out furniture

It needs apt-get and dpkg, but no root. Nothing of the models is in this repository; CREDITS in the folder names the
author and the licence of each model (CC0 or CC-BY 3.0).
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Sequence
from pathlib import Path

from starter.scenes.furniture import read_catalogue
from video_depth_anything.cli.console import run_script
from video_depth_anything.cli.parser import Parser
from video_depth_anything.errors import InputError

PACKAGE = "sweethome3d-furniture"
# The licence of each pack, from the Debian package's copyright file; the others have CC-BY 3.0.
LICENCES = {"BlendSwap-CC-0": "CC0 1.0"}


def unpack(package: Path | None, folder: Path) -> None:
    """Download the package unless it is given, and unpack it and the archives in it, a folder for each pack."""
    with tempfile.TemporaryDirectory() as scratch:
        try:
            if package is None:
                subprocess.run(
                    ["apt-get", "download", PACKAGE], cwd=scratch, check=True, capture_output=True, text=True
                )
                package = next(Path(scratch).glob(f"{PACKAGE}_*.deb"))
            subprocess.run(["dpkg", "-x", str(package), scratch], check=True, capture_output=True, text=True)
        except (OSError, subprocess.CalledProcessError) as error:
            reason = (getattr(error, "stderr", None) or str(error)).strip().splitlines()[-1]
            raise InputError(
                f"{package or PACKAGE}: cannot be fetched and unpacked ({reason}); this needs apt-get and dpkg, "
                f"or only dpkg with the .deb file of {PACKAGE} as --package"
            ) from error
        for archive in Path(scratch).rglob("*.sh3f"):
            with zipfile.ZipFile(archive) as packed:
                packed.extractall(folder / archive.stem)


def main(argv: Sequence[str] | None = None) -> int:
    args = _parser().parse_args(argv)
    args.out.mkdir(parents=True, exist_ok=True)
    unpack(args.package, args.out)
    lines = ["3D models from Debian's package sweethome3d-furniture.", ""]
    for pack in sorted(path.name for path in args.out.iterdir() if path.is_dir()):
        licence = LICENCES.get(pack, "CC-BY 3.0")
        for entry in read_catalogue(args.out / pack):
            lines.append(f"{pack}{entry['model']}: {entry['name']} by {entry.get('creator', 'unknown')}, {licence}")
    (args.out / "CREDITS").write_text("\n".join(lines) + "\n")
    print(f"{args.out}: {len(lines) - 2} models")
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = Parser(
        prog="python -m starter.fetch_furniture", description="Fetch furniture models for the procedural scenes."
    )
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="folder to fill")
    parser.add_argument("--package", type=Path, help=f"a {PACKAGE} .deb file to use (default: apt-get download)")
    return parser


if __name__ == "__main__":
    sys.exit(run_script(main))
