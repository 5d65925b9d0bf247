#!/usr/bin/env python3
"""Take RGB-D folders of one's own into the benchmark: rgb/, depth/, intrinsics.txt, poses.txt."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from benchmark.flags import extraction_parser
from video_depth_anything.cli.console import run_script
from video_depth_anything.cli.parser import positive_int


def main() -> int:
    parser = extraction_parser(__doc__, "recordings with rgb/ and depth/, or one of them")
    parser.add_argument("--num_frames", type=positive_int, help="maximum number of frames per recording (default: 500)")
    args = parser.parse_args()
    from benchmark.dataset_extract.extraction import extract
    from benchmark.raw_datasets.rgbd import rgbd_scenes

    extract("rgbd", rgbd_scenes(args.root, args.scenes, args.num_frames), args.out, args.link)
    return 0


if __name__ == "__main__":
    sys.exit(run_script(main))
