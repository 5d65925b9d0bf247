"""What the parts of the trial share: their results, the end of a run, and what a folder must not hold."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import imageio_ffmpeg
import numpy as np
from runs import Run

ROOT = Path(__file__).resolve().parents[3]
# Longer than any of these runs takes on a machine that is busy with other things.
PATIENCE = 400.0


@dataclass
class Row:
    """What a part found; all numbers but `tried` should be zero.

    lost: results that are missing, cut or changed. leaked: files, memory or other people's data where they should not
    be. tracebacks: faults of the program, shown or fatal. hung: what did not end in time.
    """

    part: str
    tried: str = ""
    lost: int = 0
    leaked: int = 0
    tracebacks: int = 0
    hung: int = 0
    seconds: float = 0.0

    @property
    def clean(self) -> bool:
        return not (self.lost or self.leaked or self.tracebacks or self.hung)

    def judge(self, said: str) -> None:
        """Count the tracebacks in what a process said."""
        found = len(re.findall(r"^Traceback ", said, re.MULTILINE))
        if found:
            print(said, file=sys.stderr)
        self.tracebacks += found


def table(rows: Sequence[Row]) -> str:
    """The results as Markdown."""
    head = "| part | tried | lost | leaked | traceback | hung | seconds |\n|---|---|---|---|---|---|---|"
    lines = [
        f"| {r.part} | {r.tried} | {r.lost} | {r.leaked} | {r.tracebacks} | {r.hung} | {r.seconds:.0f} |" for r in rows
    ]
    return "\n".join([head, *lines])


def ended(running: Run, row: Row, seconds: float = PATIENCE) -> int | None:
    """Wait; note a run that hangs, and what it said. Returns the exit code, None of what had to be killed."""
    code = running.code(seconds)
    row.hung += code is None
    row.judge(running.text)
    return code


def leftovers(folder: Path) -> list[str]:
    """What only a run that goes on may have in its folder of outputs."""
    return [path.name for path in folder.iterdir() if re.search(r"partial|run-lock|_windows|finished_", path.name)]


def make_clip(path: Path, frames: int, size: tuple[int, int] = (48, 64), codec: Sequence[str] = ()) -> Path:
    """Moving noise and colours, as FFmpeg draws them, of a size (H, W)."""
    picture = f"testsrc2=s={size[1]}x{size[0]}:r=24,noise=alls=40:allf=t:all_seed=1"
    command = [imageio_ffmpeg.get_ffmpeg_exe(), "-v", "error", "-y", "-f", "lavfi", "-i", picture]
    subprocess.run([*command, "-frames:v", str(frames), *codec, str(path)], check=True)
    return path


def depth_count(path: Path) -> int:
    """How many frames an .npz of depth holds, all of them finite; 0 if it cannot be read."""
    try:
        with np.load(path) as archive:
            depths = archive["depths"]
            return len(depths) if np.isfinite(depths).all() else 0
    except (OSError, ValueError, KeyError, EOFError):
        return 0
