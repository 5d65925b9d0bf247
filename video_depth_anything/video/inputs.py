"""Interprets --input_video: video files, folders and patterns of images, network addresses, lists of these."""

from __future__ import annotations

import logging
import os
import re
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from urllib.parse import unquote, urlsplit
from urllib.request import url2pathname

from ..errors import InputError
from .containers import USUAL_LIMITS, Limits, is_address
from .names import output_name, printable
from .sequences import (
    IMAGE_ENDINGS,
    around_numbers,
    images_among,
    is_image,
    is_pattern,
    matching,
    natural_key,
    numbered,
)
from .source import Selection, VideoSource, open_camera, open_images, open_video

__all__ = ["IMAGE_ENDINGS", "Input", "expand_inputs", "listed", "natural_key"]

logger = logging.getLogger(__name__)

# Separators that programs put before image numbers.
SAY_NOTHING = {"", "frame", "frames", "image", "images", "img", "out", "output", "render", "capture", "screenshot"}


@dataclass(frozen=True)
class Input:
    """One input: a video at `location`, `images` in order, or a camera whose number is the location."""

    name: str  # what its outputs are called
    location: str
    images: tuple[Path, ...] = ()
    camera: bool = False
    fault: str = ""  # why it cannot be opened, if already known
    stem: str = ""  # its name, before a number told it from other inputs

    @property
    def shown(self) -> str:
        """The location for messages and records, without secrets."""
        return printable(self.location)

    @property
    def path(self) -> Path | None:
        """Its path on disk, where it can be read again; None for a camera or a network address."""
        return None if self.camera or is_address(self.location) else Path(self.location)

    def open(self, selection: Selection, limits: Limits = USUAL_LIMITS) -> VideoSource:
        """Open it; InputError if it is missing, refused by `limits`, or cannot be read."""
        if self.fault:
            raise InputError(self.fault)
        if self.camera:
            return open_camera(self.location, selection, self.name)
        if not self.images:
            return open_video(self.location, selection, self.name, limits)
        return open_images(self.images, selection, self.location, self.name, limits)


def expand_inputs(arguments: Iterable[str], cameras: bool = False) -> list[Input]:
    """Find the inputs that command line arguments refer to, and give each a unique name.

    An argument is a video file, a folder of images, a pattern (images that match are one input, videos one each), an
    image, a network address, or `-` for a list of these on standard input, one per line; with `cameras` also a camera's
    number. Adjacent numbered images are one input, as when a shell expands a pattern. InputError if the only argument
    is an empty folder or a pattern without matches; of several arguments, each such one fails when it is opened.
    """
    inputs: list[Input] = []
    groups = _grouped(map(_as_path, listed(arguments)))
    for group in groups:
        device = re.fullmatch(r"/dev/video(\d+)" if sys.platform == "linux" else "$^", group[0])
        is_camera = len(group) == 1 and (device is not None or (cameras and group[0].isdecimal()))
        number = device[1] if device is not None else group[0]
        try:
            expanded = [Input(f"camera{number}", number, camera=True)] if is_camera else _expand(group)
        except InputError as error:
            if len(groups) == 1:
                raise
            expanded = [Input(Path(group[0]).stem, group[0], fault=str(error))]
        for found in expanded:
            taken = {other.name for other in inputs}
            stem = output_name(found.name)
            if len(stem.encode()) < len(os.fsencode(found.name)):
                logger.info("the outputs of %s are named %s, which is shorter", printable(found.location), stem)
            name, number = stem, 2
            while name in taken:
                name, number = f"{stem}_{number}", number + 1
            inputs.append(replace(found, name=name, stem=stem))
    if not inputs:
        raise InputError("no inputs: the list on standard input is empty")
    return inputs


def _as_path(argument: str) -> str:
    """Turn a file: address, or a path with a `~` that no shell has expanded, into a path."""
    if argument.lower().startswith("file://"):
        return url2pathname(urlsplit(argument).path)
    if argument.startswith("~") and not Path(argument).exists():
        return os.path.expanduser(argument)  # noqa: PTH111 - keeps the name if there is no such home
    return argument


def listed(arguments: Iterable[str]) -> Iterator[str]:
    """The arguments with `-` replaced by the lines of standard input."""
    for argument in arguments:
        if argument == "-":
            yield from (line.strip() for line in _standard_input().splitlines() if line.strip())
        else:
            yield argument


def _standard_input() -> str:
    """All of standard input, without a byte-order mark; bytes that are not UTF-8 are kept in names."""
    data = sys.stdin.buffer.read() if hasattr(sys.stdin, "buffer") else os.fsencode(sys.stdin.read())
    if data.startswith((b"\xff\xfe", b"\xfe\xff")):  # as PowerShell writes lists
        text = data.decode("utf-16", "replace")
    elif b"\0" in data:  # UTF-16 without the mark
        text = data.decode("utf-16-be" if data.startswith(b"\0") else "utf-16-le", "replace")
    else:
        text = os.fsdecode(data.removeprefix(b"\xef\xbb\xbf"))
    if "\0" in text:  # not allowed in names
        raise InputError("standard input is not a list of names; to read a video from it, pass /dev/stdin instead of -")
    return text


def _grouped(arguments: Iterable[str]) -> list[list[str]]:
    """Group adjacent arguments that are numbered images of one sequence."""
    groups: list[list[str]] = []
    last: tuple[str, str] | None = None
    for argument in arguments:
        parts = numbered(Path(argument)) if not is_address(argument) and is_image(Path(argument)) else None
        kind = (parts.before, parts.after) if parts is not None and Path(argument).is_file() else None
        if kind is not None and kind == last:
            groups[-1].append(argument)
        else:
            groups.append([argument])
        last = kind
    return groups


def _expand(group: list[str]) -> list[Input]:
    argument = group[0]
    if is_address(argument):
        try:
            parts = urlsplit(argument)
        except ValueError:  # opening it will fail too
            return [Input("stream", argument)]
        return [Input(Path(unquote(parts.path)).stem or parts.hostname or "stream", argument)]
    path = Path(argument)
    if len(group) > 1:
        images = images_among(map(Path, group))
        logger.info("%d numbered images starting with %s are one input", len(images), printable(images[0]))
        return [_images_input(f"{images[0]} ... {images[-1].name}", images)]
    if path.is_dir():
        images = images_among(path.iterdir())
        if not images:
            raise InputError(
                f"the folder {printable(argument)} contains no images; pass a video file, or a pattern such as '*.mp4'"
            )
        return [Input(path.resolve().name, argument, images)]
    if path.exists() or not is_pattern(argument):
        return [Input(path.stem, argument, (path,) if is_image(path) and path.exists() else ())]
    found = matching(argument)
    images = images_among(found)
    videos = sorted((p for p in found if p.is_file() and p not in images), key=natural_key)
    if not images and not videos:
        raise InputError(f"no file matches {printable(argument)}")
    return ([_images_input(argument, images)] if images else []) + [Input(video.stem, str(video)) for video in videos]


def _images_input(location: str, images: tuple[Path, ...]) -> Input:
    """Name a sequence after what precedes its numbers, or after the folder if that is empty."""
    around = around_numbers(images)
    stem = "" if around is None else around[0].rpartition(os.sep)[2].strip("._- ")
    folder = images[0].resolve().parent.name or "images"
    return Input(folder if stem.lower() in SAY_NOTHING else stem, location, images)
