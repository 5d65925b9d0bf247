"""A file system of a megabyte that fills up in mid-run, and files that may not grow."""

from __future__ import annotations

import os
import shutil
import subprocess
import threading
from collections.abc import Mapping
from pathlib import Path

import av
import OpenEXR
from PIL import Image
from runs import SMALL, Run

from .trial import Row, depth_count, ended, leftovers, make_clip

SAVES = (("npz",), ("exr",), ("png16",), ("mkv16",), ("src", "vis"), ("sbs",), ("vis", "npz", "exr"))
SIZE, FRAMES = (192, 256), 60
# Bytes that a file may have in the second half of the trial: a limit as of `ulimit -f`.
LIMIT = 30_000


def is_readable(path: Path) -> bool:
    """Whether an output can be read, all of it."""
    try:
        if path.suffix == ".npz":
            return depth_count(path) > 0
        if path.suffix == ".exr":
            pixels = OpenEXR.File(str(path), separate_channels=True).channels()["Z"].pixels
            return bool(pixels.shape == SIZE)
        if path.suffix == ".png":
            with Image.open(path) as image:
                image.load()
        elif path.suffix in (".mp4", ".mkv"):
            with av.open(str(path)) as container:
                return sum(1 for _ in container.decode(video=0)) > 0
    except Exception:  # whatever the libraries make of it
        return False
    return True


def trial(folder: Path, _: int) -> Row:
    """Write each kind of output until there is no space, beside a result that is whole."""
    row = Row("a small disk")
    raw = make_clip(folder / "long.y4m", FRAMES, SIZE, ("-pix_fmt", "yuv420p"))
    # How long a pipe is nobody knows, so that nothing is refused beforehand.
    os.mkfifo(folder / "long")
    first = folder / "first"
    ended(Run("run", make_clip(folder / "first.mp4", 3), "-o", first, "--save", "npz", *SMALL, folder=folder), row)
    disk, other = folder / "disk", folder / "other"
    disk.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=1m", "none", str(disk)]
    if subprocess.run(mount, check=False, capture_output=True).returncode:
        tried = "not a file system of 1 MB, which needs the right to mount"
    else:
        try:
            shutil.copytree(first, disk, dirs_exist_ok=True)
            tried = f"{_fill(row, raw, disk, {})} runs onto 1 MB"
        finally:
            subprocess.run(["umount", str(disk)], check=True)
    shutil.copytree(first, other)
    row.tried = f"{tried}, {_fill(row, raw, other, {'RLIMIT_FSIZE': LIMIT})} with files of at most {LIMIT:,} bytes"
    return row


def _fill(row: Row, raw: Path, disk: Path, limits: Mapping[str, int]) -> int:
    """Run each kind of output until it fails; returns how many runs failed."""
    whole = {path.name: path.read_bytes() for path in disk.iterdir()}
    failed = 0
    for save in SAVES:
        feeder = threading.Thread(target=_feed, args=(raw, raw.with_suffix("")), daemon=True)
        feeder.start()
        flags = ("--save", *save, "--png16_scale", "frame", "--vis_range", "0", "9")
        running = Run("stream", raw.with_suffix(""), "-o", disk, *flags, *SMALL, folder=raw.parent, limits=limits)
        code = ended(running, row)
        feeder.join(10)
        row.hung += feeder.is_alive()
        failed += code != 0
        # It may end well where everything fits; otherwise it has to name the folder.
        row.lost += code != 0 and (code != 2 or str(disk) not in running.text)
        row.lost += code == 0 and not limits
        row.leaked += len(leftovers(disk))
        row.lost += sum((disk / name).read_bytes() != content for name, content in whole.items())
        for path in sorted(disk.iterdir()):
            if path.name in whole:
                continue
            outputs = [path] if path.is_file() else [file for file in path.iterdir() if file.suffix in (".exr", ".png")]
            row.lost += sum(not is_readable(file) for file in outputs)
            if code != 0 and path.is_file() and not path.name.startswith("."):
                row.leaked += 1
            shutil.rmtree(path) if path.is_dir() else path.unlink()
    return failed


def _feed(raw: Path, pipe: Path) -> None:
    try:
        with pipe.open("wb") as end:
            end.write(raw.read_bytes())
    except BrokenPipeError:
        pass
