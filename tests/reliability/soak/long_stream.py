"""Ten thousand frames through one stream."""

from __future__ import annotations

import os
import threading
import time
from pathlib import Path

import numpy as np
from runs import SMALL, Run

from .trial import Row, depth_count, ended

FRAMES = 10_000
HEIGHT, WIDTH = 48, 64
# What allocators and the codec's threads may still take after the first tenth, in bytes.
GROWTH = 30 << 20


def feed(pipe: Path) -> None:
    """Write the frames of a raw video: noise that moves."""
    noise = np.random.default_rng(0).integers(0, 256, HEIGHT * WIDTH * 3 // 2 + 997, dtype=np.uint8)
    with pipe.open("wb") as end:
        end.write(f"YUV4MPEG2 W{WIDTH} H{HEIGHT} F24:1 C420\n".encode())
        for index in range(FRAMES):
            end.write(b"FRAME\n" + noise[index % 997 :][: HEIGHT * WIDTH * 3 // 2].tobytes())


def resident(process: int) -> int:
    """Bytes that a process has in memory; 0 when it has ended."""
    try:
        return int(Path(f"/proc/{process}/statm").read_text().split()[1]) * os.sysconf("SC_PAGESIZE")
    except (OSError, IndexError):
        return 0


def trial(folder: Path, _: int) -> Row:
    """Stream them into three outputs, and watch the memory."""
    row = Row("a long stream", f"{FRAMES:,} frames")
    pipe, out = folder / "long", folder / "outputs"
    os.mkfifo(pipe)
    feeder = threading.Thread(target=feed, args=(pipe,), daemon=True)
    feeder.start()
    words = ("stream", pipe, "--save", "npz", "vis", "--vis_range", "0", "9", "--target_fps", "-1", *SMALL)
    running = Run(*words, folder=folder)
    seen: list[int] = []
    begun = time.monotonic()
    while running.alive and time.monotonic() - begun < 1200:
        seen.append(resident(running.pid))
        time.sleep(0.5)
    code = ended(running, row, 1)
    seen = [size for size in seen if size]
    early, late = max(seen[len(seen) // 20 : len(seen) // 10]), max(seen[len(seen) // 2 :])
    row.leaked += late > early + GROWTH
    row.lost += code != 0 or depth_count(out / "long_depths.npz") != FRAMES
    row.tried += f", {early / 2**20:.0f} MiB after a tenth, {late / 2**20:.0f} MiB at the end"
    return row
