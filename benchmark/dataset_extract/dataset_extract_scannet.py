#!/usr/bin/env python3
"""Extract ScanNet for the benchmark, from what ScanNet's own reader exports."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from benchmark.flags import extraction_parser
from video_depth_anything.cli.console import run_script


def main() -> int:
    parser = extraction_parser(__doc__, "scene*_*/ with color/, depth/, pose/ and intrinsic/")
    what = "corrected: crop images larger than the depth by the same share; paper: by the same number of pixels"
    parser.add_argument("--protocol", choices=("paper", "corrected"), default="paper", help=what)
    args = parser.parse_args()
    from benchmark.dataset_extract.extraction import extract
    from benchmark.raw_datasets.scannet import scannet_scenes

    scenes = scannet_scenes(args.root, args.scenes)
    extract("scannet", scenes, args.out, args.link, proportional_crop=args.protocol == "corrected")
    return 0


if __name__ == "__main__":
    sys.exit(run_script(main))
