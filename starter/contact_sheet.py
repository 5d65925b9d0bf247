"""A contact sheet of procedural scenes: colour beside disparity, one column pair per scene.

python -m starter.contact_sheet --out sheet.png --count 48
"""

from __future__ import annotations

import argparse
import math
import sys
from collections.abc import Sequence
from pathlib import Path

from video_depth_anything.cli.console import run_script
from video_depth_anything.cli.parser import positive_int
from video_depth_anything.errors import UsageError


def parser() -> argparse.ArgumentParser:
    """The command line."""
    out = argparse.ArgumentParser(description="Draw procedural scenes on one sheet: colour and, beside it, disparity.")
    out.add_argument("--out", type=Path, required=True, help="the picture to write, .png or .jpg")
    out.add_argument("--count", type=positive_int, default=24, help="how many scenes (24)")
    out.add_argument("--seed", type=int, default=0, help="the first scene's number (0)")
    out.add_argument("--kinds", nargs="+", help="only these kinds of scenes (all)")
    out.add_argument("--furniture", type=Path, help="folder that starter/fetch_furniture.py filled")
    out.add_argument("--width", type=positive_int, default=168, help="width of one picture in pixels (168)")
    out.add_argument("--clean", action="store_true", help="without the camera's faults")
    return out


def main(argv: Sequence[str] | None = None) -> int:
    """Render the sheet."""
    args = parser().parse_args(argv)
    import cv2
    import numpy as np

    from starter.scenes.render import KINDS, SceneOptions, render_clip
    from video_depth_anything.files import whole_file

    unknown = set(args.kinds or ()) - set(KINDS)
    if unknown:
        raise UsageError(f"--kinds {' '.join(sorted(unknown))}: unknown; choose from {', '.join(KINDS)}")
    if args.out.suffix not in (".png", ".jpg"):
        raise UsageError(f"--out {args.out}: must end in .png or .jpg")

    height = args.width * 3 // 4
    options = SceneOptions(kinds=tuple(args.kinds or KINDS), clean=args.clean, furniture=args.furniture)
    cells = []
    for seed in range(args.seed, args.seed + args.count):
        clip = render_clip(seed, options)
        near = clip.disparity[0] / max(float(np.percentile(clip.disparity[0], 99)), 1e-6)
        drawn = cv2.applyColorMap((np.clip(near, 0, 1) * 255).astype(np.uint8), cv2.COLORMAP_INFERNO)
        pair = [
            cv2.resize(p, (args.width, height), interpolation=cv2.INTER_AREA)
            for p in (clip.images[0][..., ::-1], drawn)
        ]
        cells.append(np.hstack(pair))
    columns = max(1, round(math.sqrt(len(cells) / 1.5)))
    cells += [np.zeros_like(cells[0])] * (-len(cells) % columns)
    sheet = np.vstack([np.hstack(cells[i : i + columns]) for i in range(0, len(cells), columns)])
    with whole_file(args.out) as part:
        part.write_bytes(cv2.imencode(args.out.suffix, sheet)[1].tobytes())
    print(args.out)
    return 0


if __name__ == "__main__":
    sys.exit(run_script(main))
