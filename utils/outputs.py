"""Which outputs a run has, where they go, and the line that says so at the end."""

from __future__ import annotations

import argparse
from pathlib import Path

from .cli import peak_memory
from .dc_utils import VideoSource
from .depth_writers import ExrFrames, OutputWriter, PointClouds, SourceVideo, SpooledOutputs
from .files import OutputError
from .point_cloud import Intrinsics
from .runner import RunSummary


def make_writers(args: argparse.Namespace, source: VideoSource) -> list[OutputWriter]:
    """The writers that a script's arguments ask for.

    Raises:
        OutputError: if the output folder cannot be made or written to.
    """
    folder: Path = args.output_dir
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(
            f"output folder {folder} cannot be made: {error.strerror}; choose another --output_dir"
        ) from error
    name = source.path.stem
    writers: list[OutputWriter] = []
    try:
        writers.append(SourceVideo(folder / f"{name}_src.mp4", source.size, source.fps))
        npz = folder / f"{name}_depths.npz" if args.save_npz else None
        colormap = None if args.grayscale else "inferno"
        writers.append(SpooledOutputs(folder / f"{name}_vis.mp4", npz, source.size, source.fps, colormap))
        if args.save_exr:
            writers.append(ExrFrames(folder / f"{name}_depths_exr"))
        if args.metric:
            intrinsics = Intrinsics.centered(args.focal_length_x, args.focal_length_y, source.source_size, source.size)
            writers.append(PointClouds(folder / f"{name}_point", intrinsics))
    except BaseException:
        for writer in writers:
            writer.abort()
        raise
    return writers


def report(summary: RunSummary, writers: list[OutputWriter]) -> None:
    """Print what was written, the frame rate reached and the peak memory, on one line."""
    import torch

    memory = f"{peak_memory():.2f} GiB"
    if torch.cuda.is_available() and torch.cuda.max_memory_allocated():
        memory += f" (GPU {torch.cuda.max_memory_allocated() / 2**30:.2f} GiB)"
    files = ", ".join(written for writer in writers for written in writer.written())
    state = "interrupted: " if summary.interrupted else ""
    print(
        f"{state}wrote {files}: {summary.frames} frames in {summary.seconds:.1f} s, "
        f"{summary.rate:.2f} frames/s, peak memory {memory}"
    )
