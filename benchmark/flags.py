"""Command line arguments that the benchmark's scripts share. Imports nothing heavy, so that `--help` is instant."""

from __future__ import annotations

import argparse
from pathlib import Path

from video_depth_anything.cli.parser import Parser

# As in eval/metrics.py and eval/tae.py, which need numpy; a test holds them together.
ALIGNMENTS = ("scale_shift", "scale", "median", "none")
PROTOCOLS = ("paper", "corrected")


def extraction_parser(description: str | None, root: str) -> argparse.ArgumentParser:
    """Parser of a dataset_extract script; `root` says what --root should hold."""
    parser = Parser(description=description)
    parser.add_argument("--root", type=Path, required=True, help=f"folder that holds {root}")
    where = "folder to write to; a folder named after the dataset is created in it"
    parser.add_argument("--out", type=Path, required=True, help=where)
    how = parser.add_mutually_exclusive_group()
    how.add_argument("--copy", dest="link", action="store_false", help="copy files that need no change (default)")
    how.add_argument("--link", dest="link", action="store_true", help="create symbolic links to them instead")
    parser.set_defaults(link=False)
    parser.add_argument("--scenes", nargs="+", metavar="SCENE", help="scenes to use (default: those of the protocol)")
    return parser


def evaluation_parser(description: str | None) -> argparse.ArgumentParser:
    """Parser with what eval.py and eval_tae.py share."""
    parser = Parser(description=description)
    parser.add_argument("--infer_path", type=Path, required=True, help="folder with the predictions")
    where = "folder that dataset_extract_*.py wrote to, with a folder of each dataset in it"
    parser.add_argument("--benchmark_path", type=Path, required=True, help=where)
    parser.add_argument(
        "--infer_type", choices=("npy",), default="npy", help="file format of the predictions; only npy"
    )
    add_measure_arguments(parser)
    parser.add_argument("--per_scene", action="store_true", help="also print a line per scene")
    parser.add_argument("--out", type=Path, help="folder for the result files; by default --infer_path")
    return parser


def add_measure_arguments(parser: argparse.ArgumentParser) -> None:
    """How predictions are measured."""
    how = "how predictions are aligned with the ground truth, once per scene; none is for metric models"
    parser.add_argument("--alignment", choices=ALIGNMENTS, default="scale_shift", help=how)
    what = "paper: as the published numbers were made; corrected: see docs/lab/benchmark.md"
    parser.add_argument("--protocol", choices=PROTOCOLS, default="paper", help=what)
    kind = "what the predictions are; auto: as infer.py recorded, otherwise disparity"
    parser.add_argument("--prediction", choices=("auto", "disparity", "depth"), default="auto", help=kind)
    missing = "skip frames without a prediction, and count them in the result"
    parser.add_argument("--allow_missing", action="store_true", help=missing)
