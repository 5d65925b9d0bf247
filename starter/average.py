"""Average the weights of runs that began at the same checkpoint, or join the parts of two.

    python -m starter.average --output runs/mean.pth runs/a/model.pth=0.7 runs/b/model.pth=0.3
    python -m starter.average --output runs/joined.pth --encoder_of runs/a/model.pth runs/b/model.pth

The average of such runs often does better on data that none of them saw than each of them (Wortsman et al., Robust
fine-tuning of zero-shot models, arXiv:2109.01903, and Model soups, arXiv:2203.05482).
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

import torch

from training.flags import not_negative
from training.network import ENCODER
from training.start import save_checkpoint
from video_depth_anything.checkpoint import read_state_dict
from video_depth_anything.cli.console import run_script
from video_depth_anything.errors import UsageError


def main(argv: Sequence[str] | None = None) -> int:
    args = _parser().parse_args(argv)
    total = sum(share for _, share in args.parts)
    if not total:
        raise UsageError("the shares of the checkpoints must not all be 0")
    paths = [path for path, _ in args.parts] + ([args.encoder_of] if args.encoder_of else [])
    states = [read_state_dict(path) for path in paths]
    shapes = [{name: x.shape for name, x in state.items()} for state in states]
    for path, found in zip(paths, shapes):
        if found != shapes[0]:
            raise UsageError(f"{path}: not the network of the first checkpoint; average those of one encoder size")
    shares = [(state, share / total) for state, (_, share) in zip(states, args.parts)]
    mean = {name: sum((x[name].float() * share for x, share in shares), torch.zeros(())) for name in shapes[0]}
    if args.encoder_of:
        mean |= {name: x for name, x in states[-1].items() if name.startswith(ENCODER)}
    save_checkpoint(mean, args.output, args.half)
    print(f"wrote {args.output}")
    return 0


def _parser() -> argparse.ArgumentParser:
    description = "Average the weights of checkpoints, or join the parts of two."
    parser = argparse.ArgumentParser(prog="python -m starter.average", description=description)
    parser.add_argument("parts", type=_part, nargs="+", metavar="FILE[=SHARE]", help="checkpoints and their shares (1)")
    parser.add_argument("--output", type=Path, required=True, metavar="FILE", help="file to write")
    parser.add_argument("--encoder_of", type=Path, metavar="FILE", help="take the encoder from this checkpoint")
    parser.add_argument("--half", action="store_true", help="save in float16")
    return parser


def _part(text: str) -> tuple[Path, float]:
    path, _, share = text.rpartition("=")
    return (Path(path), not_negative(share)) if path else (Path(text), 1.0)


if __name__ == "__main__":
    sys.exit(run_script(main))
