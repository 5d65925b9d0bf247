#!/usr/bin/env python3
"""Extract MPI Sintel for the benchmark."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from benchmark.flags import extraction_parser
from video_depth_anything.cli.console import run_script


def main() -> int:
    parser = extraction_parser(__doc__, "training/ with the complete set and its depth archive")
    what = "pass of the images; published numbers use clean"
    parser.add_argument("--pass", dest="render_pass", choices=("clean", "final"), default="clean", help=what)
    args = parser.parse_args()
    from benchmark.dataset_extract.extraction import extract
    from benchmark.raw_datasets.sintel import sintel_scenes

    extract("sintel", sintel_scenes(args.root, args.render_pass, args.scenes), args.out, args.link)
    return 0


if __name__ == "__main__":
    sys.exit(run_script(main))
