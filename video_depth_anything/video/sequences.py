"""Finds image sequences: which files are images, their order, their numbers, and the gaps between them."""

from __future__ import annotations

import glob
import re
from collections.abc import Iterable, Sequence
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

IMAGE_ENDINGS = {".png", ".jpg", ".jpeg", ".jpe", ".jfif", ".bmp", ".tif", ".tiff", ".webp", ".ppm", ".pgm", ".pnm"}
IMAGE_ENDINGS |= {".exr", ".dpx", ".cin", ".tga", ".jp2", ".j2k", ".avif", ".heic", ".heif", ".hdr", ".pfm"}
# Longer numbers, not counting leading zeros, are dates and times.
MAX_DIGITS = 7
# The number's place in a pattern such as plate.%04d.exr; studios also write plate.####.exr and plate.@@@@.exr.
COUNTER = re.compile(r"%(0?\d*)d")
STUDIO_COUNTER = re.compile(r"#+|@+")


class Numbered(NamedTuple):
    """A numbered file: its path before the number, the number, and the rest of its name."""

    before: str
    number: int
    after: str


def natural_key(path: Path) -> list[tuple[int, str]]:
    """Sorting key that puts frame2 before frame10."""
    return [(int(part), "") if part.isdecimal() else (-1, part.lower()) for part in re.split(r"(\d+)", path.name)]


def numbered(path: Path) -> Numbered | None:
    """A file's frame number, the last number in its stem; None if it has none."""
    match = re.fullmatch(r"(.*?)([0-9]+)([^0-9]*)", path.stem, re.DOTALL)
    if match is None or len(match.group(2).lstrip("0")) > MAX_DIGITS:
        return None
    before, number, after = match.groups()
    return Numbered(str(path.parent / before) if before else f"{path.parent}/", int(number), after + path.suffix)


def around_numbers(paths: Sequence[Path]) -> tuple[str, str] | None:
    """The text before and after the images' numbers if all share it; else None."""
    found = {None if part is None else (part.before, part.after) for part in map(numbered, paths)}
    return found.pop() if len(found) == 1 else None


def frame_numbers(paths: Sequence[Path]) -> list[int] | None:
    """The numbers of images that form one sequence; None if they have no numbers or form several sequences."""
    numbers = [part.number for part in map(numbered, paths) if part is not None]
    return numbers if around_numbers(paths) and all(a < b for a, b in pairwise(numbers)) else None


def is_image(path: Path) -> bool:
    """Whether a file has an image's name and is not hidden."""
    return path.suffix.lower() in IMAGE_ENDINGS and not path.name.startswith(".")


def images_among(paths: Iterable[Path]) -> tuple[Path, ...]:
    """The images among these paths, in natural order."""
    return tuple(sorted((path for path in paths if is_image(path) and path.is_file()), key=natural_key))


def matching(pattern: str) -> list[Path]:
    """The files that match a pattern: `*`, `?` and `[...]` as in a shell, or one number such as `%04d`.

    If a folder of exactly that name exists, its brackets are not a pattern.
    """
    pattern = _with_counter(pattern)
    counted = re.fullmatch(r"(.*)%(0?\d*)d([^/]*)", pattern, re.DOTALL)
    if counted is not None and not COUNTER.search(counted.group(1).rpartition("/")[2]):
        return _counted(Path(counted.group(1) + "x").parent, pattern)
    path = Path(pattern)
    known = path.parent
    while not known.is_dir() and known != known.parent:
        known = known.parent
    rest = path.relative_to(known)
    start = glob.escape(str(known))
    return [Path(name) for name in glob.glob(str(Path(start) / rest), recursive=True)]  # noqa: PTH207 - absolute too


def _counted(folder: Path, pattern: str) -> list[Path]:
    before, width, after = COUNTER.split(Path(pattern).name, maxsplit=1)
    digits = int(width.lstrip("0") or 0)
    wanted = re.compile(f"{re.escape(before)}([0-9]{{{max(digits, 1)},}}){re.escape(after)}")
    names = [path for path in folder.iterdir() if wanted.fullmatch(path.name)] if folder.is_dir() else []
    return sorted(names, key=natural_key)


def is_pattern(argument: str) -> bool:
    """Whether the text is a pattern of files."""
    return glob.has_magic(argument) or COUNTER.search(_with_counter(argument)) is not None


def _with_counter(pattern: str) -> str:
    """Convert a studio's pattern to one with `%04d`."""
    folder, slash, name = pattern.rpartition("/")
    if not is_image(Path(name)) or COUNTER.search(name) is not None:
        return pattern
    return folder + slash + STUDIO_COUNTER.sub(lambda found: f"%0{len(found[0])}d", name, count=1)
