"""Damaged files: every input has its outputs or its line, whatever is in it."""

from __future__ import annotations

import random
from pathlib import Path

from runs import SMALL, Run

from .trial import Row, depth_count, ended, leftovers, make_clip

EACH = 25
CONTAINERS: dict[str, tuple[str, ...]] = {
    "mp4": (),
    "mov": ("-c:v", "prores_ks"),
    "mkv": ("-c:v", "ffv1"),
    "webm": ("-c:v", "libvpx", "-deadline", "realtime"),
    "avi": ("-c:v", "mjpeg"),
    "ts": ("-c:v", "mpeg2video"),
    "flv": ("-c:v", "flv"),
    "gif": (),
}


def mutated(content: bytes, chance: random.Random) -> bytes:
    """A file with one to five accidents."""
    data = bytearray(content)
    for _ in range(chance.randint(1, 5)):
        # Headers lie at either end, and accidents there are the interesting ones.
        end = chance.choice([min(len(data), 400), len(data)])
        at = chance.randrange(end) if chance.random() < 0.7 else len(data) - 1 - chance.randrange(end)
        length = chance.choice([1, 2, 4, 16, 200])
        accident = chance.choice(["flip", "random", "zero", "ones", "cut", "insert", "remove", "repeat"])
        if accident == "flip":
            data[at] ^= 1 << chance.randrange(8)
        elif accident == "cut":
            del data[max(at, 1) :]
        elif accident == "remove":
            del data[at : at + length]
        elif accident == "insert":
            data[at:at] = chance.randbytes(length)
        elif accident == "repeat":
            data[at:at] = data[at : at + length]
        else:
            size = len(data[at : at + length])
            fill = {"random": chance.randbytes(size), "zero": bytes(size), "ones": b"\xff" * size}
            data[at : at + length] = fill[accident]
        if len(data) < 2:
            break
    return bytes(data)


def trial(folder: Path, seed: int) -> Row:
    """Run the command on the mutations of one container after another."""
    row = Row("damaged files", f"{EACH} of each of {len(CONTAINERS)} containers")
    chance = random.Random(seed)
    for container, codec in CONTAINERS.items():
        content = make_clip(folder / f"whole.{container}", 8, codec=codec).read_bytes()
        names = [f"{container}{number:02d}" for number in range(EACH)]
        for name in names:
            (folder / f"{name}.{container}").write_bytes(mutated(content, chance))
        waiting, out = names, folder / f"outputs_{container}"
        while waiting:
            inputs = [f"{name}.{container}" for name in waiting]
            flags = ("--save", "npz", "vis", "--timeout", "5", "--max_len", "100", "-o", out)
            running = Run("run", *inputs, *flags, *SMALL, folder=folder)
            code = ended(running, row)
            if code is None or code < 0:
                # A decoder's fault: whoever was in work is to blame, and the others have their turn.
                row.tracebacks += code is not None
                done = sum((out / f"{name}_depths.npz").exists() or name in running.text for name in waiting)
                print(f"{waiting[done - 1] if done else waiting[0]} ended the run: {code}", flush=True)
                waiting = waiting[max(done, 1) :]
                continue
            for name in waiting:
                path = out / f"{name}_depths.npz"
                row.lost += not (depth_count(path) if path.exists() else f"{name}.{container}" in running.text)
            waiting = []
        row.leaked += len(leftovers(out)) if out.exists() else 0
    return row
