"""Average the weights of runs that began at the same checkpoint, or join the parts of two.

    python -m starter.average --output runs/mean.pth runs/a/model.pth=0.7 runs/b/model.pth=0.3
    python -m starter.average --output runs/joined.pth --encoder_of runs/a/model.pth runs/b/model.pth

The average of such runs often does better on data that none of them saw than each of them (Wortsman et al., Robust
fine-tuning of zero-shot models, arXiv:2109.01903, and Model soups, arXiv:2203.05482).
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
from torch import Tensor

from training.flags import not_negative
from training.network import ENCODER
from training.start import save_checkpoint
from video_depth_anything.checkpoint import read_state_dict
from video_depth_anything.cli.console import run_script
from video_depth_anything.errors import UsageError

Weights = dict[str, Tensor]


def average(parts: Sequence[tuple[Mapping[str, Tensor], float]]) -> Weights:
    """Weighted mean of state dicts with the same names and shapes, in float32.

    Args:
        parts: state dicts and their shares, >= 0 with a sum > 0, which need not be 1.
    """
    total = sum(share for _, share in parts)
    return {
        name: sum((state[name].float() * (share / total) for state, share in parts), torch.zeros(()))
        for name in parts[0][0]
    }


def main(argv: Sequence[str] | None = None) -> int:
    args = _parser().parse_args(argv)
    if not sum(share for _, share in args.parts):
        raise UsageError("the shares of the checkpoints must not all be 0")
    paths = [path for path, _ in args.parts] + ([args.encoder_of] if args.encoder_of else [])
    states = _read_alike(paths)
    result = average([(state, share) for state, (_, share) in zip(states, args.parts)])
    if args.encoder_of:
        result |= {name: x for name, x in states[-1].items() if name.startswith(ENCODER)}
    save_checkpoint(result, args.output, args.half)
    print(f"wrote {args.output}")
    return 0


def _read_alike(paths: Sequence[Path]) -> list[Weights]:
    """The weights in files, which must have the names and shapes of the first one's."""
    states = [read_state_dict(path) for path in paths]
    shapes = [{name: x.shape for name, x in state.items()} for state in states]
    for path, found in zip(paths, shapes):
        if found != shapes[0]:
            raise UsageError(
                f"{path}: holds another network than the first checkpoint; average those of one encoder size"
            )
    return states


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
