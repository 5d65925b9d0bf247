#!/usr/bin/env python3
"""Makes the README's moving picture by `vda run` on the bundled example: source and depth, as animated WebP."""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

FPS = 15
WIDTH = 640


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("output", type=Path, nargs="?", default=ROOT / "assets" / "teaser.webp", help="file to write")
    parser.add_argument("--quality", type=int, default=92, help="of the WebP, 0 to 100")
    args, flags = parser.parse_known_args()

    import imageio.v3 as imageio
    from PIL import Image

    from video_depth_anything.cli.main import main as vda

    with tempfile.TemporaryDirectory() as folder:
        example = ROOT / "assets" / "example_videos" / "box.mp4"
        words = ["run", str(example), "-o", folder, "--save", "vis", "--vis", "compare", "--target_fps", str(FPS)]
        code = vda([*words, "--input_size", "280", *flags])
        if code:
            return code
        frames = list(imageio.imiter(Path(folder) / "box_vis.mp4", plugin="FFMPEG"))
    pictures = [Image.fromarray(frame) for frame in frames]
    size = (WIDTH, round(WIDTH * pictures[0].height / pictures[0].width))
    first, *others = [picture.resize(size, Image.Resampling.LANCZOS) for picture in pictures]
    first.save(
        args.output,
        save_all=True,
        append_images=others,
        duration=round(1000 / FPS),
        loop=0,
        quality=args.quality,
        method=4,
    )
    print(f"{args.output}: {len(pictures)} frames, {args.output.stat().st_size / 1e6:.2f} MB")
    return 0


if __name__ == "__main__":
    sys.exit(main())
