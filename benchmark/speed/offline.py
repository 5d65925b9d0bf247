#!/usr/bin/env python3
"""Milliseconds per frame of offline inference: variants side by side in one run, as a Markdown table.

    python benchmark/speed/offline.py --input_size 280 --variants torch:fp32 torch:bf16 plain:fp32 plain:bf16
    python benchmark/speed/offline.py --input_size 518 --against ../Video-Depth-Anything --repeats 3

The variants take turns; the times are medians over their turns. `plain` is this project's own repetition of the
original's order of work, `--against` a checkout of the original itself. Weights are random unless a checkpoint is
named.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

if not __package__:  # run as a file: the repository is not on the path, but this folder is
    sys.path[0] = str(Path(__file__).resolve().parents[2])

from benchmark.speed import flags
from video_depth_anything.cli.console import run_script

if TYPE_CHECKING:
    from collections.abc import Sequence

    from benchmark.speed.measure import Contender

TITLES = ("variant", "ms per frame", "least", "most", "times fp32", "times same", "error, range", "error, norm")


def print_results(contenders: Sequence[Contender], frames: int) -> None:
    from benchmark.speed.measure import Difference, reference_of
    from benchmark.speed.report import print_header, print_row

    reference = reference_of(contenders)
    assert reference is not None and reference.depths is not None
    print_header(TITLES)
    for contender in contenders:
        assert contender.depths is not None
        milliseconds = [1e3 * seconds / frames for seconds in contender.seconds]
        cells = [contender.name, f"{1e3 * contender.median / frames:.1f}"]
        cells += [f"{min(milliseconds):.1f}", f"{max(milliseconds):.1f}"]
        for precision in ("fp32", contender.precision):
            yardstick = reference_of(contenders, precision)
            cells.append(f"{yardstick.median / contender.median:.2f}" if yardstick else "")
        difference = Difference()
        difference.add(contender.depths, reference.depths)
        print_row([*cells, f"{difference.of_range:.1e}", f"{difference.of_norm:.1e}"])
    print(f"\nErrors against {reference.name}: the largest as a share of its range, and in the Euclidean norm.")
    if any(contender.yardstick for contender in contenders):
        print("Times: how many times as fast as the original's order of work, in fp32 and in the same precision.")


def main() -> int:
    args = flags.offline_parser(__doc__).parse_args()
    from benchmark.speed.against import OFFLINE_FILE, check_tree

    check_tree(args.against, OFFLINE_FILE)
    from benchmark.speed.clip import take_frames
    from benchmark.speed.contenders import offline_contenders, warm_up
    from benchmark.speed.measure import take_turns
    from benchmark.speed.report import print_heading

    frames = take_frames(args.input_video, args.size, args.frames)
    height, width = frames.shape[1:3]
    print_heading(
        f"Offline: {args.encoder}, input size {args.input_size}, {len(frames)} frames of {width}x{height}, "
        f"medians of {args.repeats}"
    )
    with offline_contenders(args) as contenders:
        warm_up(contenders, frames)
        take_turns(contenders, frames, args.repeats)
    print_results(contenders, len(frames))
    return 0


if __name__ == "__main__":
    sys.exit(run_script(main))
