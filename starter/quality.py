"""Depth quality on RGB-D recordings: the benchmark's metrics for a network and for baselines that see no image."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from torch import nn

from benchmark.baselines import constant_disparity, plane_disparity
from benchmark.eval.metrics import align_depth, evaluate_sequence, valid_mask
from benchmark.eval.tae import temporal_alignment_error
from benchmark.rgbd import RgbdFolder
from training.sources import read_frames
from video_depth_anything.device import Execution
from video_depth_anything.errors import InputError
from video_depth_anything.network import Network
from video_depth_anything.offline import infer_depth
from video_depth_anything.video_depth import VideoDepthAnything

Maps = npt.NDArray[np.float32]


class Quality(NamedTuple):
    """One method on one recording, after one scale and shift in disparity; `tae` in percent, None without poses."""

    recording: str
    frames: int
    method: str
    delta1: float
    abs_rel: float
    tae: float | None


def without_motion(model: VideoDepthAnything) -> VideoDepthAnything:
    """A copy whose motion modules add nothing, so that every frame is on its own."""
    silent = copy.deepcopy(model)
    for name, parameter in silent.named_parameters():
        if ".proj_out." in name:
            nn.init.zeros_(parameter)
    return silent


def measure(
    folder: RgbdFolder,
    count: int,
    networks: Mapping[str, Network],
    input_size: int,
    execution: Execution,
    max_depth: float,
    advance: Callable[[], None],
) -> list[Quality]:
    """The two baselines and each network, by name, on the first `count` frames of a recording.

    `advance` is called after each frame that a network has done.
    """
    clip = read_frames(folder, range(count))
    depth = clip.depth
    if not valid_mask(depth, max_depth).any():
        raise InputError(f"{folder.path}: no depth between 0 and {max_depth} m")
    predictions: dict[str, Maps] = {
        "constant": constant_disparity(depth),
        "plane": plane_disparity(depth, max_depth),
    }
    for name, network in networks.items():
        maps = []
        for disparity in infer_depth(network, iter(clip.images), input_size, execution):
            maps.append(disparity)
            advance()
        predictions[name] = np.stack(maps)
    return [_quality(folder, depth, method, maps, max_depth) for method, maps in predictions.items()]


def _quality(folder: RgbdFolder, depth: Maps, method: str, disparity: Maps, max_depth: float) -> Quality:
    metrics, fit = evaluate_sequence(list(disparity), list(depth), max_depth)
    tae = None
    if folder.poses is not None and len(depth) > 1:
        aligned = (align_depth(frame, fit, max_depth) for frame in disparity)
        found = temporal_alignment_error(aligned, list(folder.poses[: len(depth)]), folder.intrinsics).error
        tae = found if np.isfinite(found) else None
    return Quality(folder.path.name, len(depth), method, metrics["delta1_acc"], metrics["abs_relative_difference"], tae)


def as_json(results: Sequence[Sequence[Quality]]) -> str:
    """All numbers, one object a method and recording."""
    return json.dumps([row._asdict() for rows in results for row in rows], indent=1) + "\n"


def as_markdown(results: Sequence[Sequence[Quality]]) -> str:
    """A table, with each method's mean over the recordings at its end."""
    lines = ["| recording | frames | method | delta1 | AbsRel | TAE |", "|---|---|---|---|---|---|"]
    for row in (row for rows in results for row in rows):
        lines.append(_line(row.recording, str(row.frames), row.method, row.delta1, row.abs_rel, row.tae))
    if len(results) > 1:
        for same in zip(*results):
            taes = [row.tae for row in same if row.tae is not None]
            delta1, abs_rel = (float(np.mean([getattr(row, name) for row in same])) for name in ("delta1", "abs_rel"))
            lines.append(_line("mean", "", same[0].method, delta1, abs_rel, float(np.mean(taes)) if taes else None))
    return "\n".join(lines) + "\n"


def _line(recording: str, frames: str, method: str, delta1: float, abs_rel: float, tae: float | None) -> str:
    shown = "" if tae is None else f"{tae:.2f}"
    return f"| {recording} | {frames} | {method} | {delta1:.3f} | {abs_rel:.3f} | {shown} |"
