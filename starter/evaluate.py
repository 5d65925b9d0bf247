#!/usr/bin/env python3
"""Quality of a checkpoint on RGB-D recordings, beside two baselines that see no image.

    python -m starter.evaluate --checkpoint runs/clip/model.pth --folders DIR [DIR ...] --input_size 252

One scale and shift a recording in disparity; delta1 and AbsRel, and TAE where poses are known. The rows are:
constant (the mean disparity), plane (the best disparity = a + b x + c y), offline (windows of 32 frames, as run.py
does), image (the same with the motion modules switched off: each frame on its own).
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from video_depth_anything.cli.console import progress, run_script
from video_depth_anything.cli.parser import positive_float, positive_int
from video_depth_anything.config import BACKENDS, DEVICES, ENCODERS, PRECISIONS
from video_depth_anything.errors import UsageError

if TYPE_CHECKING:
    from video_depth_anything.network import Network

MODES = ("image", "offline")


def parser() -> argparse.ArgumentParser:
    description, _, _ = (__doc__ or "").partition("\n")
    result = argparse.ArgumentParser(prog="python -m starter.evaluate", description=description)
    result.add_argument("--checkpoint", type=Path, required=True)
    result.add_argument("--folders", type=Path, nargs="+", required=True, metavar="DIR", help="RGB-D recordings")
    result.add_argument("--encoder", choices=ENCODERS, default="vits")
    result.add_argument("--input_size", type=positive_int, default=252, help="shorter side of the network's input")
    result.add_argument("--frames", type=positive_int, help="first frames of each recording (default: all)")
    result.add_argument("--modes", nargs="+", choices=MODES, default=list(MODES))
    what = "metres; farther is left out (%(default)s)"
    result.add_argument("--max_depth", type=positive_float, default=10.0, help=what)
    result.add_argument("--json", type=Path, metavar="FILE", help="write the numbers there too")
    result.add_argument("--markdown", type=Path, metavar="FILE", help="write the table there too")
    result.add_argument("--device", choices=DEVICES, default="auto")
    result.add_argument("--precision", choices=PRECISIONS, default="auto")
    result.add_argument("--backend", choices=BACKENDS, default="torch", help="what computes the offline mode")
    result.add_argument("--threads", type=positive_int, help="CPU threads of torch")
    return result


def main(argv: Sequence[str] | None = None) -> int:
    args = parser().parse_args(argv)
    import torch

    from benchmark.rgbd import open_rgbd_folder
    from starter.quality import as_json, as_markdown, measure, without_motion
    from video_depth_anything import choose_execution, load_model
    from video_depth_anything.pipelines.options import ModelOptions
    from video_depth_anything.pipelines.setup import load_network

    if args.threads:
        torch.set_num_threads(args.threads)
    folders = [open_rgbd_folder(path) for path in args.folders]
    if args.backend == "torch":
        execution = choose_execution(args.device, args.precision)
        model = load_model(args.encoder, False, args.checkpoint, execution.device)
        makers = {"image": lambda: without_motion(model), "offline": lambda: model}
        chosen: dict[str, Network] = {mode: makers[mode]() for mode in args.modes}
    elif args.modes != ["offline"]:
        raise UsageError(f"--backend {args.backend}: takes --modes offline alone")
    else:
        options = ModelOptions(args.encoder, False, args.checkpoint, args.input_size, args.device, args.backend,
                               args.precision)  # fmt: skip
        images = [str(folder.images[len(folder) * part // 4]) for part in range(4) for folder in folders]
        loaded = load_network(options, images)
        execution, chosen = loaded.execution, {"offline": loaded.network}
    results = []
    for folder in folders:
        count = min(args.frames or len(folder), len(folder))
        with progress(count * len(chosen), folder.path.name) as advance:
            results.append(measure(folder, count, chosen, args.input_size, execution, args.max_depth, advance))
    for path, text in ((args.json, as_json(results)), (args.markdown, as_markdown(results))):
        if path is not None:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
    print(as_markdown(results), end="")
    return 0


if __name__ == "__main__":
    sys.exit(run_script(main))
