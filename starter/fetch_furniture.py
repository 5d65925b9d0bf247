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
from collections.abc import Sequence
from pathlib import Path

from video_depth_anything.cli.console import run_script
from video_depth_anything.errors import InputError

PACKAGE = "sweethome3d-furniture"


def parser() -> argparse.ArgumentParser:
    """The command line."""
    out = argparse.ArgumentParser(description="Fetch and prepare furniture models for the procedural scenes.")
    out.add_argument("--out", type=Path, required=True, help="folder to fill")
    out.add_argument("--package", type=Path, help=f"a {PACKAGE} .deb file to use (default: apt-get download)")
    out.add_argument("--packs", nargs="+", help="only these packs, such as BlendSwap-CC-0 (all)")
    out.add_argument("--triangles", type=int, default=5000, help="merge vertices of models with more triangles (5000)")
    return out


def unpack(package: Path, folder: Path) -> None:
    """Unpack a Debian package into a folder.

    Raises:
        InputError: dpkg is missing, or it is no package.
    """

    try:
        subprocess.run(["dpkg", "-x", str(package), str(folder)], check=True, capture_output=True, text=True)
    except (OSError, subprocess.CalledProcessError) as error:
        raise InputError(f"{package}: dpkg cannot unpack it; is it the {PACKAGE} package?") from error


def fetch(folder: Path) -> Path:
    """Download the package into a folder with apt-get; no root is needed.

    Raises:
        InputError: apt-get is missing or fails.
    """

    try:
        subprocess.run(["apt-get", "download", PACKAGE], cwd=folder, check=True, capture_output=True, text=True)
    except (OSError, subprocess.CalledProcessError) as error:
        detail = getattr(error, "stderr", None) or str(error)
        raise InputError(
            f"apt-get download {PACKAGE}: {detail.strip().splitlines()[-1]}; "
            "where there is no apt-get, pass the .deb file with --package"
        ) from error
    return next(folder.glob(f"{PACKAGE}_*.deb"))


def main(argv: Sequence[str] | None = None) -> int:
    """Fetch, unpack, convert."""
    args = parser().parse_args(argv)
    from tqdm import tqdm

    from starter.scenes.furniture_files import convert, unpack_catalogue, write_index

    args.out.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as scratch:
        unpacked = Path(scratch)
        package = args.package.resolve() if args.package else fetch(unpacked)
        unpack(package, unpacked / "root")
        archives = sorted((unpacked / "root").rglob("*.sh3f"))
        done = []
        found = [
            entry for archive in archives for entry in unpack_catalogue(archive, unpacked / archive.stem, args.packs)
        ]
        for entry in tqdm(found, unit="model", disable=None):
            try:
                done.append(convert(entry, args.out, args.triangles))
            except InputError as error:
                tqdm.write(f"left out: {error}")
    write_index(done, args.out)
    print(f"{args.out}: {len(done)} of {len(found)} models")
    return 0


if __name__ == "__main__":
    sys.exit(run_script(main))
