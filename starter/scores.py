"""Sharpness and depth quality of checkpoints on unseen rendered frames and on RGB-D recordings, frame by frame.

    python -m starter.scores --checkpoints a.pth b.pth --frames 40 --recordings DIR [DIR ...] --input_sizes 252 518

Rendered frames: boundary F1 and delta1, each after one scale and shift a frame. Recordings: delta1 after one fit a
recording, boundary F1 after one fit a frame. Motion modules are not run.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from benchmark.eval.boundaries import boundary_f1
from benchmark.eval.metrics import SequenceFit, align_depth, valid_mask
from benchmark.rgbd import open_rgbd_folder
from starter.scenes.render import SceneOptions, render_clip
from training.flags import whole
from video_depth_anything.cli.console import run_script
from video_depth_anything.cli.parser import positive_int
from video_depth_anything.config import PRECISIONS

# Far above the seeds of training, and apart from those of its validation.
FIRST_SEED = 1_500_000_000
KINDS = ("room", "kitchen", "office", "tabletop", "corridor", "street")
FARTHEST_SCENE, FARTHEST_RECORDING = 80.0, 10.0

Maps = npt.NDArray[np.float32]


class Frame(NamedTuple):
    """An image (H, W, 3) uint8 RGB, and its depth (H, W) in any unit; 0: unknown."""

    image: npt.NDArray[np.uint8]
    depth: Maps


class Score(NamedTuple):
    boundary_f1: float
    delta1: float


def rendered_frames(count: int, options: SceneOptions, cache: Path | None) -> list[Frame]:
    """Unseen rendered frames; kept in a file, since rendering takes longer than scoring."""
    if cache is not None and cache.exists():
        kept = np.load(cache)
        if len(kept["images"]) >= count and kept["images"].shape[1] == options.height:
            return [Frame(i, d) for i, d in zip(kept["images"][:count], kept["depths"][:count])]
    frames = []
    for seed in range(FIRST_SEED, FIRST_SEED + count):
        clip = render_clip(seed, options)
        with np.errstate(divide="ignore"):
            depth = np.where(clip.disparity[0] > 0, 1 / clip.disparity[0], 0).astype(np.float32)
        frames.append(Frame(clip.images[0], depth))
    if cache is not None:
        cache.parent.mkdir(parents=True, exist_ok=True)
        np.savez(cache, images=np.stack([f.image for f in frames]), depths=np.stack([f.depth for f in frames]))
    return frames


def recorded_frames(path: Path, count: int) -> list[Frame]:
    """`count` frames, evenly spaced."""
    folder = open_rgbd_folder(path)
    indices = np.unique(np.linspace(0, len(folder) - 1, min(count, len(folder))).round().astype(int)).tolist()
    return [Frame(folder.image(index), folder.depth(index)) for index in indices]


def score(disparities: Sequence[npt.NDArray[Any]], frames: Sequence[Frame], farthest: float, one_fit: bool) -> Score:
    """Mean boundary F1 after one fit a frame, and delta1 after one fit a frame or (`one_fit`) one for all."""
    fits, valids = [], []
    together = SequenceFit()
    for disparity, frame in zip(disparities, frames):
        valid = valid_mask(frame.depth, farthest)
        own = SequenceFit()
        own.add(disparity, frame.depth, valid)
        together.add(disparity, frame.depth, valid)
        fits.append(own.solve())
        valids.append(valid)
    edges, right = [], []
    for disparity, frame, valid, fit in zip(disparities, frames, valids, fits):
        depth = align_depth(disparity, fit, farthest)
        edge = boundary_f1(depth, frame.depth, valid)
        if edge is not None:
            edges.append(edge)
        if one_fit:
            depth = align_depth(disparity, together.solve(), farthest)
        ratio = depth[valid] / frame.depth[valid]
        right.append(float((np.maximum(ratio, 1 / ratio) < 1.25).mean()))
    return Score(float(np.mean(edges)), float(np.mean(right)))


def single_frames(checkpoint: Path, frames: Sequence[Frame], size: int, precision: str) -> Iterator[Maps]:
    """Disparity of each frame on its own, motion modules switched off."""
    import torch

    from starter.quality import without_motion
    from video_depth_anything import choose_execution, load_model
    from video_depth_anything.offline import resize_depth
    from video_depth_anything.transform import network_size, preprocess

    execution = choose_execution("cpu", precision)
    model = without_motion(load_model("vits", False, checkpoint, execution.device))
    for frame in frames:
        height, width = frame.image.shape[:2]
        pixels = torch.from_numpy(preprocess(frame.image, network_size(height, width, size)))[None, None]
        with torch.inference_mode(), execution.autocast():
            yield resize_depth(model(pixels), (height, width))[0, 0].numpy()


def score_checkpoint(
    checkpoint: Path, rendered: Sequence[Frame], recordings: Sequence[Sequence[Frame]], size: int, precision: str
) -> Iterator[Score]:
    """The score of rendered frames (if any), then of each recording."""
    if rendered:
        yield score(list(single_frames(checkpoint, rendered, size, precision)), rendered, FARTHEST_SCENE, False)
    for frames in recordings:
        yield score(list(single_frames(checkpoint, frames, size, precision)), frames, FARTHEST_RECORDING, True)


def main(argv: Sequence[str] | None = None) -> int:
    args = _parser().parse_args(argv)
    import torch

    if args.threads:
        torch.set_num_threads(args.threads)
    height, width = args.render_height, args.render_height * 4 // 3
    options = SceneOptions(kinds=KINDS, furniture=args.furniture, height=height, width=width)
    rendered = rendered_frames(args.frames, options, args.keep) if args.frames else []
    recordings = [recorded_frames(path, args.recorded) for path in args.recordings]
    names = (["rendered"] if rendered else []) + [path.name for path in args.recordings]
    print("checkpoint size |", " | ".join(f"{name[:12]} F1 delta1" for name in names))
    for checkpoint in args.checkpoints:
        for size in args.input_sizes:
            scores = score_checkpoint(checkpoint, rendered, recordings, size, args.precision)
            cells = [f"{s.boundary_f1:.4f} {s.delta1:.3f}" for s in scores]
            print(checkpoint, size, "|", " | ".join(cells), flush=True)
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m starter.scores", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--checkpoints", type=Path, nargs="+", required=True, metavar="FILE")
    parser.add_argument("--frames", type=whole, default=40, help="unseen rendered frames; 0: none (%(default)s)")
    parser.add_argument("--render_height", type=positive_int, default=252, help="of these frames (%(default)s)")
    parser.add_argument("--keep", type=Path, metavar="FILE", help="an .npz to keep the rendered frames in")
    parser.add_argument("--furniture", type=Path, metavar="DIR", help="furniture models to place in rooms")
    parser.add_argument("--recordings", type=Path, nargs="*", default=[], metavar="DIR", help="RGB-D folders")
    parser.add_argument("--recorded", type=positive_int, default=25, help="frames of each, spread (%(default)s)")
    parser.add_argument("--input_sizes", type=positive_int, nargs="+", default=[252], help="network inputs' heights")
    parser.add_argument("--precision", choices=PRECISIONS, default="auto")
    parser.add_argument("--threads", type=positive_int, help="CPU threads of torch")
    return parser


if __name__ == "__main__":
    sys.exit(run_script(main))
