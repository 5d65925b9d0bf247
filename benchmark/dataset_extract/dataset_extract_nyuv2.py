#!/usr/bin/env python3
"""Extract NYU Depth v2 for the benchmark, from scenes exported with its toolbox."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from benchmark.flags import extraction_parser
from video_depth_anything.cli.console import run_script


def main() -> int:
    args = extraction_parser(__doc__, "<scene>/rgb/N.jpg and <scene>/depth/N.png").parse_args()
    from benchmark.dataset_extract.extraction import extract
    from benchmark.raw_datasets.nyuv2 import SCENES, nyuv2_scenes

    extract("nyuv2", nyuv2_scenes(args.root, args.scenes or SCENES), args.out, args.link)
    return 0


if __name__ == "__main__":
    sys.exit(run_script(main))
