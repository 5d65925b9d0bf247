"""kill -9 at random moments, and `--resume` after it."""

from __future__ import annotations

import random
import time
from pathlib import Path

import numpy as np

from .trial import SMALL, Row, Vda, depth_count, leftovers, make_clip

COUNT = 20
FRAMES = {"a": 30, "b": 60, "c": 45}
FORMATS = ("src", "vis", "sbs", "npz", "exr", "png16", "mkv16")


def results(out: Path) -> dict[str, bytes]:
    """All files that a user sees, by their paths."""
    paths = [path for path in out.rglob("*") if path.is_file()]
    names = {path.relative_to(out): path for path in paths}
    return {str(name): path.read_bytes() for name, path in names.items() if not name.parts[0].startswith(".")}


def is_whole(out: Path, name: str) -> bool:
    """Whether every output of a name that is there has all its frames."""
    npz, exr = out / f"{name}_depths.npz", out / f"{name}_depths_exr"
    counts = [depth_count(npz)] if npz.exists() else []
    counts += [len(list(exr.iterdir()))] if exr.exists() else []
    return all(count == FRAMES[name] for count in counts)


def trial(folder: Path, seed: int) -> Row:
    """Both commands; a seed that is odd kills streams."""
    return _killed("stream" if seed % 2 else "run", folder, seed)


def _killed(command: str, folder: Path, seed: int) -> Row:
    """Kill runs over three videos; then let one go on to its end, and compare with a run that nobody disturbed."""
    row = Row("kill -9, then `--resume`", f"{COUNT} kills of vda {command}")
    chance = random.Random(seed)
    clips = [make_clip(folder / f"{name}.mp4", frames) for name, frames in FRAMES.items()]
    words: tuple[str | Path, ...] = (command, *clips, "--save", *FORMATS, *SMALL)
    begun = time.monotonic()
    Vda(*words, "-o", folder / "calm", folder=folder).ended(row)
    usual = time.monotonic() - begun
    calm, out = results(folder / "calm"), folder / "outputs"
    killed = 0
    while killed < COUNT:
        # Now and then from the beginning, over results that are whole.
        resume = () if killed % 4 == 3 else ("--resume",)
        before = results(out) if out.exists() else {}
        running = Vda(*words, *resume, folder=folder)
        begun = time.monotonic()
        moment = begun + chance.uniform(0.2, 1.0) * usual
        while running.process.poll() is None and time.monotonic() < moment:
            time.sleep(0.01)
        if running.process.poll() is None:
            killed += 1
        else:
            # A run that has less to do is shorter.
            usual = min(usual, time.monotonic() - begun)
        running.process.kill()
        running.process.wait()
        row.judge(running.said())
        if out.exists():
            after = results(out)
            row.lost += len(set(before) - set(after))
            row.lost += sum(not is_whole(out, name) for name in FRAMES)
        if not resume or len(before) == len(calm):
            # There would be nothing left to do.
            (out / f"{chance.choice(list(FRAMES))}_depths.npz").unlink(missing_ok=True)
    code = Vda(*words, "--resume", folder=folder).ended(row)
    found = results(out)
    row.lost += code != 0 or set(found) != set(calm)
    for name in FRAMES:
        with np.load(folder / "calm" / f"{name}_depths.npz") as ours, np.load(out / f"{name}_depths.npz") as theirs:
            row.lost += not np.array_equal(ours["depths"], theirs["depths"])
    row.leaked += len(leftovers(out))
    return row
