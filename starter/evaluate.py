#!/usr/bin/env python3
"""Quality of a checkpoint on RGB-D recordings and on unseen rendered frames, beside two baselines that see no image.

    python -m starter.evaluate --checkpoint runs/clip/model.pth --folders DIR [DIR ...] --scenes 40 --input_size 252

One scale and shift for each recording in disparity, and for each rendered frame; boundary F1 after one for each frame;
TAE where poses are known. The rows are: constant (the mean disparity), plane (the best disparity = a + b x + c y),
image (single frames, motion modules switched off), offline (windows of 32 frames, as run.py does).
"""

from __future__ import annotations

import argparse
import copy
import json
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from benchmark.baselines import constant_disparity, plane_disparity
from benchmark.eval.boundaries import boundary_f1
from benchmark.eval.metrics import align_depth, evaluate_sequence, valid_mask
from benchmark.eval.tae import temporal_alignment_error
from benchmark.rgbd import open_rgbd_folder
from starter.scenes.render import SceneOptions, render_clip
from training.clips import Clip
from training.flags import whole
from training.sources import read_frames
from video_depth_anything import choose_execution, load_model
from video_depth_anything.cli.console import progress, run_script
from video_depth_anything.cli.parser import Parser, positive_float, positive_int
from video_depth_anything.config import BACKENDS, DEVICES, ENCODERS, PRECISIONS
from video_depth_anything.errors import InputError, UsageError
from video_depth_anything.offline import infer_depth, resize_depth
from video_depth_anything.pipelines.options import ModelOptions
from video_depth_anything.pipelines.setup import load_network
from video_depth_anything.transform import network_size, preprocess
from video_depth_anything.video_depth import VideoDepthAnything

MODES = ("image", "offline")
# Of the rendered frames; far above the seeds of training, and apart from those of its validation.
FIRST_SEED = 1_500_000_000
SCENE_KINDS = ("room", "kitchen", "office", "tabletop", "corridor", "street")
SCENE_MAX_DEPTH = 80.0

Maps = npt.NDArray[np.float32]
Predict = Callable[[Iterable[npt.NDArray[np.uint8]]], Iterable[Maps]]


class Quality(NamedTuple):
    """One method on one recording; `f1` None without true boundaries, `tae` in percent, None without poses."""

    recording: str
    frames: int
    method: str
    delta1: float
    abs_rel: float
    f1: float | None
    tae: float | None


def without_motion(model: VideoDepthAnything) -> VideoDepthAnything:
    """A copy whose motion modules add nothing, so that every frame is on its own."""
    silent = copy.deepcopy(model)
    for name, parameter in silent.named_parameters():
        if ".proj_out." in name:
            nn.init.zeros_(parameter)
    return silent


def predictors(args: argparse.Namespace, images: list[str]) -> dict[str, Predict]:
    """What the modes make of frames; int8 is calibrated on `images`."""
    if args.backend != "torch":
        if args.modes != ["offline"]:
            raise UsageError(f"--backend {args.backend}: takes --modes offline alone")
        options = ModelOptions(
            args.encoder, False, args.checkpoint, args.input_size, args.device, args.backend, args.precision
        )
        loaded = load_network(options, images)
        return {"offline": lambda frames: infer_depth(loaded.network, iter(frames), args.input_size, loaded.execution)}
    execution = choose_execution(args.device, args.precision)
    model = load_model(args.encoder, False, args.checkpoint, execution.device)
    silent = without_motion(model)

    def single_frames(frames: Iterable[npt.NDArray[np.uint8]]) -> Iterator[Maps]:
        for frame in frames:
            height, width = frame.shape[:2]
            pixels = torch.from_numpy(preprocess(frame, network_size(height, width, args.input_size)))[None, None]
            with torch.inference_mode(), execution.autocast():
                yield resize_depth(silent(pixels.to(execution.device)), (height, width))[0, 0].float().cpu().numpy()

    every: dict[str, Predict] = {
        "image": single_frames,
        "offline": lambda frames: infer_depth(model, iter(frames), args.input_size, execution),
    }
    return {mode: every[mode] for mode in args.modes}


def measure(name: str, clip: Clip, networks: Mapping[str, Predict], max_depth: float) -> list[Quality]:
    """The two baselines and each network on a clip."""
    if not valid_mask(clip.depth, max_depth).any():
        raise InputError(f"{name}: no depth between 0 and {max_depth} m")
    predictions = {"constant": constant_disparity(clip.depth), "plane": plane_disparity(clip.depth, max_depth)}
    with progress(len(clip.images) * len(networks), name) as advance:
        for method, predict in networks.items():
            maps = []
            for disparity in predict(clip.images):
                maps.append(disparity)
                advance()
            predictions[method] = np.stack(maps)
    return [_quality(name, clip, method, maps, max_depth) for method, maps in predictions.items()]


def _quality(name: str, clip: Clip, method: str, disparity: Maps, max_depth: float) -> Quality:
    metrics, fit = evaluate_sequence(list(disparity), list(clip.depth), max_depth)
    edges = []
    for frame, depth in zip(disparity, clip.depth):
        valid = valid_mask(depth, max_depth)
        if valid.any():
            own = evaluate_sequence([frame], [depth], max_depth)[1]
            edges.append(boundary_f1(align_depth(frame, own, max_depth), depth, valid))
    tae = None
    if clip.poses is not None and len(clip.depth) > 1:
        aligned = (align_depth(frame, fit, max_depth) for frame in disparity)
        found = temporal_alignment_error(aligned, list(clip.poses), clip.intrinsics).error
        tae = found if np.isfinite(found) else None
    delta1, abs_rel = metrics["delta1_acc"], metrics["abs_relative_difference"]
    return Quality(name, len(clip.depth), method, delta1, abs_rel, _mean(edges), tae)


def _mean(values: Iterable[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return float(np.mean(known)) if known else None


def averaged(rows: Sequence[Quality], name: str, frames: int) -> list[Quality]:
    """Each method's mean over its rows."""
    groups: dict[str, list[Quality]] = {}
    for row in rows:
        groups.setdefault(row.method, []).append(row)
    means = {method: [_mean(column) for column in list(zip(*own))[3:]] for method, own in groups.items()}
    return [Quality(name, frames, method, *values) for method, values in means.items()]  # type: ignore[arg-type]


def as_markdown(rows: Sequence[Quality]) -> str:
    """A table, with each method's mean over the recordings at its end."""
    lines = ["| recording | frames | method | delta1 | AbsRel | F1 | TAE |", "|---|---|---|---|---|---|---|"]
    means = averaged(rows, "mean", 0) if len({row.recording for row in rows}) > 1 else []
    for row in [*rows, *means]:
        f1, tae = ("" if x is None else f"{x:.{n}f}" for x, n in ((row.f1, 3), (row.tae, 2)))
        count = row.frames or ""
        lines.append(
            f"| {row.recording} | {count} | {row.method} | {row.delta1:.3f} | {row.abs_rel:.3f} | {f1} | {tae} |"
        )
    return "\n".join(lines) + "\n"


def main(argv: Sequence[str] | None = None) -> int:
    args = _parser().parse_args(argv)
    if not args.folders and not args.scenes:
        raise UsageError("nothing to measure on; pass --folders or --scenes")
    if args.threads:
        torch.set_num_threads(args.threads)
    folders = [open_rgbd_folder(path) for path in args.folders]
    networks = predictors(args, [str(folder.images[len(folder) * k // 4]) for k in range(4) for folder in folders])
    rows: list[Quality] = []
    for folder in folders:
        count = min(args.frames or len(folder), len(folder))
        rows += measure(folder.path.name, read_frames(folder, range(count)), networks, args.max_depth)
    if args.scenes:
        options = SceneOptions(kinds=SCENE_KINDS, furniture=args.furniture)
        clips = (render_clip(FIRST_SEED + k, options) for k in range(args.scenes))
        singly = {mode: predict for mode, predict in networks.items() if mode == "image"}
        found = [row for clip in clips for row in measure("scenes", clip, singly, SCENE_MAX_DEPTH)]
        rows += averaged(found, "scenes", args.scenes)
    if args.json is not None:
        args.json.parent.mkdir(parents=True, exist_ok=True)
        args.json.write_text(json.dumps([row._asdict() for row in rows], indent=1) + "\n")
    print(as_markdown(rows), end="")
    return 0


def _parser() -> Parser:
    result = Parser(prog="python -m starter.evaluate", description=(__doc__ or "").partition("\n")[0])
    result.add_argument("--checkpoint", type=Path, required=True)
    result.add_argument("--folders", type=Path, nargs="*", default=[], metavar="DIR", help="RGB-D recordings")
    result.add_argument("--scenes", type=whole, default=0, help="unseen rendered frames, in mode image")
    result.add_argument("--furniture", type=Path, metavar="DIR", help="furniture models to place in these")
    result.add_argument("--encoder", choices=ENCODERS, default="vits")
    result.add_argument("--input_size", type=positive_int, default=252, help="shorter side of the network's input")
    result.add_argument("--frames", type=positive_int, help="first frames of each recording (default: all)")
    result.add_argument("--modes", nargs="+", choices=MODES, default=list(MODES))
    what = "of recordings, in metres; farther is left out"
    result.add_argument("--max_depth", type=positive_float, default=10.0, help=what)
    result.add_argument("--json", type=Path, metavar="FILE", help="write the numbers there too")
    result.add_argument("--device", choices=DEVICES, default="auto")
    result.add_argument("--precision", choices=PRECISIONS, default="auto")
    result.add_argument("--backend", choices=BACKENDS, default="torch", help="what computes the offline mode")
    result.add_argument("--threads", type=positive_int, help="CPU threads of torch")
    return result


if __name__ == "__main__":
    sys.exit(run_script(main))
