"""kill -9 at random moments, and `--resume` after it."""

from __future__ import annotations

import random
import signal
import sys
import time
from pathlib import Path

import av
from runs import SMALL, Run

from .trial import Row, ended, leftovers, make_clip

COUNT = 20
FRAMES = {"a": 8, "b": 40, "c": 16}
FORMATS = ("src", "vis", "sbs", "npz", "exr", "png16", "mkv16")


def files(out: Path) -> dict[str, Path]:
    """All files that a user sees, by their paths."""
    names = {path.relative_to(out): path for path in out.rglob("*") if path.is_file()} if out.exists() else {}
    return {str(name): path for name, path in names.items() if not name.parts[0].startswith(".")}


def content(path: Path) -> bytes:
    """What is in a file; of a Matroska file its frames, as its header holds a random number."""
    if path.suffix != ".mkv":
        return path.read_bytes()
    try:
        with av.open(str(path)) as container:
            return b"".join(frame.to_ndarray().tobytes() for frame in container.decode(video=0))
    except (av.FFmpegError, IndexError):
        return b""


def trial(folder: Path, seed: int) -> Row:
    """Both commands."""
    row = Row("kill -9, then `--resume`")
    row.tried = ", ".join(_killed(row, command, folder / command, seed) for command in ("run", "stream"))
    return row


def _killed(row: Row, command: str, folder: Path, seed: int) -> str:
    """Kill runs over three videos; then let one go on to its end, and compare with a run that nobody disturbed."""
    folder.mkdir()
    chance = random.Random(seed)
    clips = [make_clip(folder / f"{name}.mp4", frames) for name, frames in FRAMES.items()]
    words: tuple[str | Path, ...] = (command, *clips, "--save", *FORMATS, *SMALL)
    begun = time.monotonic()
    ended(Run(*words, "-o", folder / "calm", folder=folder), row)
    usual = time.monotonic() - begun
    calm = {name: content(path) for name, path in files(folder / "calm").items()}
    out, killed, resumed, renaming = folder / "outputs", 0, 0, 0
    while killed < COUNT:
        # Now and then from the beginning, over results that are there; else something is left to do.
        anew = killed % 4 == 3
        if not anew and len(files(out)) == len(calm):
            files(out)[f"{chance.choice(list(FRAMES))}_depths.npz"].unlink()
        before = set(files(out))
        running = Run(*words, *(() if anew else ("--resume",)), folder=folder)
        begun = time.monotonic()
        if killed % 2:
            # While outputs get their names.
            was = _state(out)
            while running.alive and _state(out) == was:
                time.sleep(0.0005)
            time.sleep(chance.uniform(0, 0.004))
        else:
            moment = begun + chance.uniform(0.1, 1.0) * usual
            while running.alive and time.monotonic() < moment:
                time.sleep(0.005)
        if running.alive:
            running.send(signal.SIGKILL)
            killed += 1
            renaming += killed % 2 == 0
            resumed += not anew
        else:
            # A run that has less to do is shorter.
            usual = min(usual, time.monotonic() - begun)
        ended(running, row)
        found = files(out)
        lost = [name for name in before if name not in found]
        lost += [name for name, path in found.items() if content(path) != calm.get(name)]
        if lost:
            print(f"{command}, kill {killed}:", *lost, file=sys.stderr)
        row.lost += len(lost)
    code = ended(Run(*words, "--resume", folder=folder), row)
    row.lost += code != 0 or {name: content(path) for name, path in files(out).items()} != calm
    row.leaked += len(leftovers(out))
    return f"{killed} kills of vda {command} ({renaming} while outputs got their names), {resumed} of resumed runs"


def _state(out: Path) -> list[tuple[str, int]]:
    """What changes as soon as an output gets its name."""
    paths = [] if not out.exists() else [path for path in out.iterdir() if not path.name.startswith(".")]
    return sorted((path.name, path.stat().st_mtime_ns) for path in paths)
