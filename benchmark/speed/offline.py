#!/usr/bin/env python3
"""Milliseconds per frame of offline inference: variants side by side in one run, as a Markdown table.

    python benchmark/speed/offline.py --input_size 280 --variants torch:fp32 torch:bf16 openvino:bf16
    python benchmark/speed/offline.py --input_size 518 --against ../Video-Depth-Anything --repeats 3

The variants take turns; the times are medians over their turns. `--against` is a checkout of the original, or of an
earlier commit. Weights are random unless a checkpoint is named.
"""

from __future__ import annotations

import sys
from pathlib import Path

if not __package__:  # run as a file: the repository is not on the path, but this folder is
    sys.path[0] = str(Path(__file__).resolve().parents[2])

from benchmark.speed import flags
from benchmark.speed.clip import take_frames
from benchmark.speed.report import print_header, print_heading, print_row
from benchmark.speed.variants import Difference, contenders, reference_of, speedups, take_turns
from video_depth_anything.cli.console import run_script

TITLES = ("variant", "ms per frame", "least", "most", "times fp32", "times fp32=False", "error, range", "error, norm")


def main() -> int:
    variants = ("torch:fp32", "torch:bf16")
    parser = flags.parser_for(__doc__, input_size=280, variants=variants, size="960x540", frames=44, repeats=3)
    args = parser.parse_args()
    frames = take_frames(args.input_video, args.size, args.frames)
    with contenders(args) as (found, _):
        height, width = frames.shape[1:3]
        subject = f"Offline: {args.encoder}, input size {args.input_size}, {len(frames)} frames of {width}x{height}"
        print_heading(f"{subject}, medians of {args.repeats}")
        for contender in found:
            contender.work(frames[:2])  # compiles, allocates and reads weights
        take_turns(found, frames, args.repeats)
    reference = reference_of(found)
    print_header(TITLES)
    for contender in found:
        assert contender.depths is not None and reference.depths is not None
        difference = Difference()
        difference.add(contender.depths, reference.depths)
        times = (contender.median, min(contender.seconds), max(contender.seconds))
        cells = [contender.name, *(f"{1e3 * seconds / len(frames):.1f}" for seconds in times)]
        cells += speedups(contender, found)
        print_row([*cells, f"{difference.of_range:.1e}", f"{difference.of_norm:.1e}"])
    print(f"\nErrors against {reference.name}: the largest as a share of its range, and in the Euclidean norm.")
    if args.against is not None:
        print("Times: how many times as fast as the other tree in fp32, and as it with fp32=False.")
    return 0


if __name__ == "__main__":
    sys.exit(run_script(main))
