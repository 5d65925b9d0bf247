"""Depth quality on RGB-D recordings: the benchmark's metrics for a network and for baselines that see no image."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import cast

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from benchmark.baselines import constant_disparity, plane_disparity
from benchmark.eval.metrics import align_depth, evaluate_sequence, valid_mask
from benchmark.eval.tae import temporal_alignment_error
from benchmark.rgbd import RgbdFolder
from training.sources import read_frames
from video_depth_anything.device import Execution
from video_depth_anything.errors import InputError
from video_depth_anything.network import Network
from video_depth_anything.offline import infer_depth, resize_depth
from video_depth_anything.transform import network_size, preprocess
from video_depth_anything.video_depth import VideoDepthAnything

Maps = npt.NDArray[np.float32]


@dataclass(frozen=True)
class Quality:
    """One method on one recording, after one scale and shift in disparity.

    Attributes:
        recording: its folder's name.
        frames: how many.
        method: name of the method.
        delta1: share of pixels within a factor of 1.25 of the true depth.
        abs_rel: mean relative error.
        tae: temporal alignment error in percent, None without poses or with one frame only.
    """

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


def image_depth(
    model: VideoDepthAnything, images: Iterable[npt.NDArray[np.uint8]], input_size: int, execution: Execution
) -> Iterator[Maps]:
    """Disparity (H, W) of each image (H, W, 3) uint8 RGB on its own."""
    for image in images:
        height, width = image.shape[:2]
        frame = torch.from_numpy(preprocess(image, network_size(height, width, input_size)))[None, None]
        with torch.inference_mode(), execution.autocast():
            depth = model(frame.to(execution.device))
        yield resize_depth(depth, (height, width))[0, 0].cpu().numpy()


def measure(
    folder: RgbdFolder,
    count: int,
    networks: Mapping[str, Network],
    input_size: int,
    execution: Execution,
    max_depth: float,
    advance: Callable[[], None],
) -> list[Quality]:
    """The two baselines and each network on the first `count` frames of a recording.

    Args:
        networks: by mode; "image" runs frame by frame, in PyTorch, any other in windows.
        advance: called after each frame that a network has done.

    Raises:
        InputError: if files cannot be read, or no pixel has a usable depth.
    """
    clip = read_frames(folder, range(count))
    depth = clip.depth
    if not valid_mask(depth, max_depth).any():
        raise InputError(f"{folder.path}: no depth between 0 and {max_depth} m")
    predictions: dict[str, Maps] = {
        "constant": constant_disparity(depth),
        "plane": plane_disparity(depth, max_depth),
    }
    for mode, network in networks.items():
        maps = []
        images = iter(clip.images)
        if mode == "image":
            disparities = image_depth(cast(VideoDepthAnything, network), images, input_size, execution)
        else:
            disparities = infer_depth(network, images, input_size, execution)
        for disparity in disparities:
            maps.append(disparity)
            advance()
        predictions[mode] = np.stack(maps)
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
    return json.dumps([asdict(row) for rows in results for row in rows], indent=1) + "\n"


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
