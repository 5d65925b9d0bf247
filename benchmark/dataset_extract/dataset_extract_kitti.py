#!/usr/bin/env python3
"""Extract KITTI's validation drives for the benchmark."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from benchmark.flags import extraction_parser
from video_depth_anything.cli.console import run_script


def main() -> int:
    parser = extraction_parser(__doc__, "the raw drives, as <date>/<drive>/image_02/data/")
    where = "folder of the validation drives' annotated depth; found below --root by default"
    parser.add_argument("--depth_root", type=Path, help=where)
    args = parser.parse_args()
    from benchmark.dataset_extract.extraction import extract
    from benchmark.raw_datasets.kitti import find_depth_root, kitti_scenes

    depth_root = args.depth_root or find_depth_root(args.root)
    extract("kitti", kitti_scenes(args.root, depth_root, args.scenes), args.out, args.link)
    return 0


if __name__ == "__main__":
    sys.exit(run_script(main))
