#!/usr/bin/env python3
"""Milliseconds per frame of streaming inference over a stream's life: variants side by side, as Markdown tables.

    python benchmark/speed/streaming.py --input_size 280 --frames 120 --plain
    python benchmark/speed/streaming.py --input_size 518 --variants torch:fp32 --against ../Video-Depth-Anything

Each frame goes to all variants in turn before the next one comes. `plain` is this project's own repetition of the
original's order of work, `--against` a checkout of the original itself. Weights are random unless a checkpoint is
named.
"""

from __future__ import annotations

import argparse
import sys
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING

if not __package__:  # run as a file: the repository is not on the path, but this folder is
    sys.path[0] = str(Path(__file__).resolve().parents[2])

from benchmark.speed import flags
from video_depth_anything.cli.console import run_script
from video_depth_anything.pipelines.summary import peak_memory

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from benchmark.speed.clip import Frame
    from benchmark.speed.contenders import TimedStream
    from benchmark.speed.measure import Contender, Difference

PHASES = ("frames", "variant", "median ms", "95 % ms", "encode", "motion and rest")
SUMMARY = ("variant", "median ms", "times fp32", "times same", "error, range", "error, norm", "state, MiB")
# Frames (from 0) where a new phase of a stream's life begins: the first one, the memory's start, the memory is full.
EDGES = (0, 1, 10, 41)


def parse_arguments() -> argparse.Namespace:
    parser = flags.parser_for(__doc__)
    flags.add_model_arguments(parser, input_size=280)
    flags.add_variant_arguments(parser, default=("auto:auto",))
    flags.add_clip_arguments(parser, frames=120)
    what = "also measure the original's order of work, in the precision of each variant"
    parser.add_argument("--plain", action="store_true", help=what)
    args = parser.parse_args()
    if args.plain:
        args.variants = [flags.Variant(flags.PLAIN, v.precision) for v in args.variants] + args.variants
    return args


def phases(count: int) -> list[range]:
    """Frames in blocks: those of `EDGES`, and the rest in two halves."""
    edges = sorted({min(edge, count) for edge in (*EDGES, (EDGES[-1] + count + 1) // 2, count)})
    return [range(start, stop) for start, stop in pairwise(edges)]


def stream_clip(contenders: Sequence[Contender], frames: Frame) -> dict[str, Difference]:
    """Take turns frame by frame; returns how far each variant's depth lies from the reference's."""
    from benchmark.speed.measure import Difference, reference_of

    differences = {contender.name: Difference() for contender in contenders}
    reference = reference_of(contenders)
    assert reference is not None
    for index, frame in enumerate(frames):
        for contender in contenders[:: 1 if index % 2 == 0 else -1]:
            contender.take_turn(frame)
        for contender in contenders:
            assert contender.depths is not None and reference.depths is not None
            differences[contender.name].add(contender.depths, reference.depths)
    return differences


def print_phases(contenders: Sequence[Contender], streams: Mapping[str, TimedStream], count: int) -> None:
    import numpy as np

    from benchmark.speed.report import print_header, print_row

    print_header(PHASES)
    for block in phases(count):
        for contender in contenders:
            whole = 1e3 * np.array(contender.seconds[block.start : block.stop])
            cells = [f"{block.start + 1}-{block.stop}", contender.name]
            cells += [f"{np.median(whole):.1f}", f"{np.percentile(whole, 95):.1f}"]
            stream = streams.get(contender.name)
            parts = (stream.encoding, stream.stepping) if stream is not None else ()
            timed = [1e3 * np.median(part[block.start : block.stop]) for part in parts if part]
            cells += [f"{milliseconds:.1f}" for milliseconds in timed] or ["", ""]
            print_row(cells)


def print_summary(
    contenders: Sequence[Contender],
    streams: Mapping[str, TimedStream],
    differences: Mapping[str, Difference],
    steady: slice,
) -> None:
    import numpy as np

    from benchmark.speed.measure import reference_of
    from benchmark.speed.report import print_header, print_row

    median = {contender.name: 1e3 * float(np.median(contender.seconds[steady])) for contender in contenders}
    print_header(SUMMARY)
    for contender in contenders:
        cells = [contender.name, f"{median[contender.name]:.1f}"]
        for precision in ("fp32", contender.precision):
            yardstick = reference_of(contenders, precision)
            cells.append(f"{median[yardstick.name] / median[contender.name]:.2f}" if yardstick else "")
        difference = differences[contender.name]
        cells += [f"{difference.of_range:.1e}", f"{difference.of_norm:.1e}"]
        stream = streams.get(contender.name)
        print_row([*cells, f"{stream.state_bytes / 2**20:.0f}" if stream is not None else ""])
    reference = reference_of(contenders)
    assert reference is not None
    print(f"\nMedians from frame {steady.start + 1} on. Errors, over all frames, against {reference.name}:", end=" ")
    print("the largest as a share of its range, and in the Euclidean norm.")
    if any(contender.yardstick for contender in contenders):
        print("Times: how many times as fast as the original's order of work, in fp32 and in the same precision.")


def main() -> int:
    args = parse_arguments()
    from benchmark.speed.against import STREAM_FILE, check_tree

    check_tree(args.against, STREAM_FILE)
    from benchmark.speed.clip import take_frames
    from benchmark.speed.contenders import streaming_contenders
    from benchmark.speed.report import print_heading

    frames = take_frames(args.input_video, args.size, args.frames)
    height, width = frames.shape[1:3]
    print_heading(f"Streaming: {args.encoder}, input size {args.input_size}, {len(frames)} frames of {width}x{height}")
    with streaming_contenders(args) as (contenders, streams):
        differences = stream_clip(contenders, frames)
    print_phases(contenders, streams, len(frames))
    print()
    # Until the memory is full a frame may cost less; a shorter run shows what it has.
    steady = phases(len(frames))[-1].start if len(frames) <= EDGES[-1] else EDGES[-1]
    print_summary(contenders, streams, differences, slice(steady, None))
    print(f"Peak memory of this process, all of its variants together: {peak_memory()}.")
    return 0


if __name__ == "__main__":
    sys.exit(run_script(main))
