"""kill -9 at random moments, and `--resume` after it."""

from __future__ import annotations

import random
import signal
import sys
import time
from pathlib import Path

import av
from runs import SMALL, Run

from .trial import PATIENCE, Row, ended, leftovers, make_clip

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
        # Half of them while outputs get their names: some sixty steps with locks, records and outputs.
        steps = chance.randrange(60) if killed % 2 else None
        running = Run(*words, *(() if anew else ("--resume",)), folder=folder, steps=steps)
        begun = time.monotonic()
        moment = begun + (PATIENCE if steps is not None else chance.uniform(0.1, 1.0) * usual)
        while running.alive and time.monotonic() < moment:
            time.sleep(0.005)
        took = time.monotonic() - begun
        if running.alive:
            running.send(signal.SIGKILL)
        # A run that has less to do is shorter.
        usual = min(usual, took) if ended(running, row) == 0 else usual
        if running.code(0) == -signal.SIGKILL:
            killed += 1
            renaming += steps is not None
            resumed += not anew
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
