"""A file system of three megabytes that fills up in mid-run."""

from __future__ import annotations

import os
import subprocess
import threading
from pathlib import Path

import OpenEXR
from PIL import Image

from .trial import SMALL, Row, Vda, depth_count, leftovers, make_clip

SAVES = (("npz",), ("exr",), ("png16",), ("mkv16",), ("src", "vis"), ("sbs",), ("vis", "npz", "exr"))
SIZE, FRAMES = (192, 256), 240


def is_readable(path: Path) -> bool:
    """Whether a frame's file can be read, all of it."""
    try:
        if path.suffix == ".exr":
            pixels = OpenEXR.File(str(path), separate_channels=True).channels()["Z"].pixels
            return bool(pixels.shape == SIZE)
        with Image.open(path) as image:
            image.load()
    except Exception:  # whatever the libraries make of it
        return False
    return True


def trial(folder: Path, _: int) -> Row:
    """Write each kind of output until there is no space, beside a result that is whole."""
    row = Row("a disk of 3 MB fills up", f"{len(SAVES)} kinds of outputs")
    disk = folder / "disk"
    disk.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=3m", "none", str(disk)]
    if subprocess.run(mount, check=False, capture_output=True).returncode:
        row.tried = "not tried: it needs the right to mount"
        return row
    try:
        _fill(row, folder, disk)
    finally:
        subprocess.run(["umount", str(disk)], check=True)
    return row


def _fill(row: Row, folder: Path, disk: Path) -> None:
    raw = make_clip(folder / "long.y4m", FRAMES, SIZE, ("-pix_fmt", "yuv420p"))
    Vda("run", make_clip(folder / "first.mp4", 3), "-o", disk, "--save", "npz", *SMALL, folder=folder).ended(row)
    first = (disk / "first_depths.npz").read_bytes()
    # How long a pipe is nobody knows, so that nothing is refused beforehand.
    pipe = folder / "long"
    os.mkfifo(pipe)
    for save in SAVES:
        feeder = threading.Thread(target=_feed, args=(raw, pipe), daemon=True)
        feeder.start()
        flags = ("--save", *save, "--png16_scale", "frame", "--vis_range", "0", "9")
        running = Vda("stream", pipe, "-o", disk, *flags, *SMALL, folder=folder)
        code = running.ended(row)
        feeder.join(10)
        row.hung += feeder.is_alive()
        # It has to fail, and to name the folder.
        row.lost += code != 2 or str(disk) not in running.said()
        row.lost += (disk / "first_depths.npz").read_bytes() != first
        row.leaked += len(leftovers(disk))
        for path in sorted(disk.iterdir()):
            if path.is_dir():
                images = [file for file in path.iterdir() if file.suffix in (".exr", ".png")]
                row.lost += sum(not is_readable(file) for file in images)
                for file in path.iterdir():
                    file.unlink()
                path.rmdir()
            elif path.suffix == ".npz":
                row.lost += not depth_count(path)
            elif not path.name.startswith("."):
                row.leaked += 1


def _feed(raw: Path, pipe: Path) -> None:
    try:
        with pipe.open("wb") as end:
            end.write(raw.read_bytes())
    except BrokenPipeError:
        pass
