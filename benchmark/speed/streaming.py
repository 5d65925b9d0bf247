#!/usr/bin/env python3
"""Milliseconds per frame of streaming inference over a stream's life: variants side by side, as Markdown tables.

    python benchmark/speed/streaming.py --input_size 280 --frames 120 --variants torch:fp32 openvino:bf16
    python benchmark/speed/streaming.py --input_size 518 --variants torch:fp32 --against ../Video-Depth-Anything

Each frame goes to all variants in turn before the next one comes. `--against` is a checkout of the original, or of an
earlier commit. Weights are random unless a checkpoint is named.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path

if not __package__:  # run as a file: the repository is not on the path, but this folder is
    sys.path[0] = str(Path(__file__).resolve().parents[2])

import numpy as np

from benchmark.speed import flags
from benchmark.speed.clip import take_frames
from benchmark.speed.report import print_header, print_heading, print_row
from benchmark.speed.variants import Contender, Difference, contenders, reference_of, speedups
from video_depth_anything.cli.console import run_script

PHASES = ("frames", "variant", "median ms", "95 % ms")
SUMMARY = ("variant", "median ms", "times fp32", "times fp32=False", "error, range", "error, norm", "state, MiB")
# Frames (from 0) where a new phase of a stream's life begins: the first one, the memory's start, the memory is full.
EDGES = (0, 1, 10, 41)


def phases(count: int) -> list[range]:
    """Frames in blocks: those of `EDGES`, and the rest in two halves."""
    edges = sorted({min(edge, count) for edge in (*EDGES, (EDGES[-1] + count + 1) // 2, count)})
    return [range(start, stop) for start, stop in pairwise(edges)]


def print_phases(found: Sequence[Contender], count: int) -> None:
    print_header(PHASES)
    for block in phases(count):
        for contender in found:
            whole = 1e3 * np.array(contender.seconds[block.start : block.stop])
            times = (np.median(whole), np.percentile(whole, 95))
            print_row([f"{block.start + 1}-{block.stop}", contender.name, *(f"{time:.1f}" for time in times)])


def main() -> int:
    parser = flags.parser_for(__doc__, input_size=280, variants=("auto:auto",), size="960x540", frames=120)
    args = parser.parse_args()
    frames = take_frames(args.input_video, args.size, args.frames)
    with contenders(args, streaming=True) as (found, streams):
        height, width = frames.shape[1:3]
        print_heading(
            f"Streaming: {args.encoder}, input size {args.input_size}, {len(frames)} frames of {width}x{height}"
        )
        differences = {contender.name: Difference() for contender in found}
        reference = reference_of(found)
        for index, frame in enumerate(frames):
            for contender in found[:: 1 if index % 2 == 0 else -1]:
                contender.take_turn(frame)
            for contender in found:
                assert contender.depths is not None and reference.depths is not None
                differences[contender.name].add(contender.depths, reference.depths)
    print_phases(found, len(frames))
    print()
    # Until the memory is full a frame may cost less; a shorter run shows what it has.
    steady = phases(len(frames))[-1].start if len(frames) <= EDGES[-1] else EDGES[-1]
    print_header(SUMMARY)
    for contender in found:
        cells = [contender.name, f"{1e3 * np.median(contender.seconds[steady:]):.1f}"]
        difference = differences[contender.name]
        cells += [*speedups(contender, found, steady), f"{difference.of_range:.1e}", f"{difference.of_norm:.1e}"]
        stream = streams.get(contender.name)
        print_row([*cells, f"{stream.state_bytes / 2**20:.0f}" if stream is not None else ""])
    print(f"\nMedians from frame {steady + 1} on. Errors, over all frames, against {reference.name}: the largest as a")
    print("share of its range, and in the Euclidean norm.")
    if args.against is not None:
        print("Times: how many times as fast as the other tree in fp32, and as it with fp32=False.")
    return 0


if __name__ == "__main__":
    sys.exit(run_script(main))
