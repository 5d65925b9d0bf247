#!/usr/bin/env python3
"""Extract the Bonn RGB-D Dynamic dataset for the benchmark."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from benchmark.flags import extraction_parser
from video_depth_anything.cli.console import run_script


def main() -> int:
    args = extraction_parser(__doc__, "the folders rgbd_bonn_*").parse_args()
    from benchmark.dataset_extract.extraction import extract
    from benchmark.raw_datasets.bonn import SCENES, bonn_scenes

    extract("bonn", bonn_scenes(args.root, args.scenes or SCENES), args.out, args.link)
    return 0


if __name__ == "__main__":
    sys.exit(run_script(main))
