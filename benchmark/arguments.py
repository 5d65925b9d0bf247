"""Command line arguments that the benchmark's scripts share. Imports nothing heavy, so that `--help` is instant."""

from __future__ import annotations

import argparse
from pathlib import Path


def extraction_parser(description: str | None, root: str) -> argparse.ArgumentParser:
    """Parser of a dataset_extract script; `root` says what --root should hold."""
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.ArgumentDefaultsHelpFormatter)
    parser.add_argument("--root", type=Path, required=True, help=f"folder that holds {root}")
    where = "folder to write to; a folder of the dataset's name is made in it"
    parser.add_argument("--out", type=Path, required=True, help=where)
    how = parser.add_mutually_exclusive_group()
    how.add_argument("--copy", dest="link", action="store_false", help="copy files that need no change, the default")
    how.add_argument("--link", dest="link", action="store_true", help="make symbolic links to them instead")
    parser.set_defaults(link=False)
    parser.add_argument("--scenes", nargs="+", metavar="SCENE", help="scenes to take; left out: those of the protocol")
    return parser
