"""The command that downloads the public checkpoints. Imports nothing heavy."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from .. import weights
from ..errors import OutputError, UserError
from ..weights import ByteProgress, Weights
from .console import run_script
from .parser import Parser

# The checkpoints that the original's script downloads.
DEFAULT_NAMES = ("vits", "vitl")


def main(argv: Sequence[str] | None = None, prog: str = "vda weights") -> int:
    """Run `vda weights`: download the named public checkpoints that are missing.

    Returns:
        0 if all are available, 1 if a download failed or the user declined, 2 if a file could not be written, or a
        different file of that name was kept.
    """
    args = _parse(argv, prog)
    return run_script(lambda: _run(args))


def _run(args: argparse.Namespace) -> int:
    if args.list:
        print("\n".join(_line(entry) for entry in weights.CATALOGUE))
        return 0
    chosen = [entry for entry in weights.CATALOGUE if entry.name in args.names or "all" in args.names]
    wanted = [entry for entry in chosen if not (args.folder / entry.file).is_file()]
    if wanted and not args.yes and not _agreed(wanted, args.folder):
        return 1
    failed, code = [], 1
    for entry in chosen:
        try:
            with _bar(entry) as on_progress:
                weights.fetch(entry, args.folder, on_progress)
        except UserError as error:
            print(f"error: {error}", file=sys.stderr)
            failed.append(entry.name)
            code = 2 if isinstance(error, OutputError) else code
        else:
            print(_use(entry, args.folder))
    if failed:
        print(f"{len(failed)} of {len(chosen)} failed: {' '.join(failed)}", file=sys.stderr)
    return code if failed else 0


def _parse(argv: Sequence[str] | None, prog: str) -> argparse.Namespace:
    known = [entry.name for entry in weights.CATALOGUE]
    parser = Parser(
        prog=prog,
        description="Download public checkpoints. Interrupted downloads are resumed, and every file is verified.",
        epilog="Environment variables: HF_ENDPOINT sets a mirror of the hub, http_proxy and https_proxy a proxy.",
    )
    text = f"{', '.join(known)} or all; default: {' '.join(DEFAULT_NAMES)}"
    parser.add_argument("names", nargs="*", metavar="NAME", help=text)
    parser.add_argument("--folder", type=Path, default=Path("checkpoints"), help="where to put them")
    parser.add_argument("--yes", "-y", action="store_true", help="accept sizes and licences without asking")
    parser.add_argument("--list", action="store_true", help="list the checkpoints and download nothing")
    args = parser.parse_args(argv)
    args.names = args.names or DEFAULT_NAMES
    unknown = [name for name in args.names if name not in (*known, "all")]
    if unknown:
        parser.error(f"unknown name {unknown[0]!r}; choose from {', '.join(known)}, all")
    return args


def _line(entry: Weights) -> str:
    return f"{entry.name:<12} {weights.megabytes(entry.size):>8}  {entry.licence:<39} {entry.file}"


def _agreed(wanted: list[Weights], folder: Path) -> bool:
    """Show sizes and licences, and ask for consent once if the terminal is interactive."""
    total = weights.megabytes(sum(entry.size for entry in wanted))
    print("\n".join([f"To download to {folder} ({total}):", *(f"  {_line(entry)}" for entry in wanted)]))
    if not sys.stdin.isatty():
        return True
    try:
        return input("Download these files and accept their licences? [y/N] ").strip().lower() in ("y", "yes")
    except EOFError:
        return False


def _use(entry: Weights, folder: Path) -> str:
    """A command line that uses this checkpoint."""
    path = folder / entry.file
    flags = f"--encoder {entry.encoder}{' --metric' if entry.metric else ''}"
    # Only the folder `checkpoints` is searched.
    named = "" if folder.name == "checkpoints" else f" --checkpoint {path}"
    return f"{path}: used by `vda run {flags}{named}`"


@contextmanager
def _bar(entry: Weights) -> Iterator[ByteProgress]:
    from tqdm import tqdm

    # `disable=None`: no bar if standard error is not a terminal.
    with tqdm(total=entry.size, desc=entry.name, unit="B", unit_scale=True, disable=None, leave=False) as bar:
        yield lambda done: bar.update(done - bar.n)


if __name__ == "__main__":
    sys.exit(main())
