"""What eval.py and eval_tae.py do alike: find index, predictions and their note, measure scenes, write the result."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import Any

from benchmark.datasets import EvaluationSet
from benchmark.eval.evaluation import SceneResult
from benchmark.eval.results import Result, describe, result_table, screen, write_result
from benchmark.eval.sequence import Kind, PredictionSource, Sequence
from benchmark.index import scenes_of, with_frames
from benchmark.infer.predictions import predictions_place, provenance_path, read_provenance, versions
from video_depth_anything.cli.console import progress
from video_depth_anything.errors import InputError


def prediction_note(infer_path: Path, entry: EvaluationSet, index: Path) -> dict[str, Any] | None:
    """Settings that infer.py noted beside its predictions."""
    provenance = read_provenance(provenance_path(infer_path, entry.dataset, index))
    return provenance.settings | {"versions at inference": provenance.versions} if provenance is not None else None


def prediction_kind(wanted: str, note: dict[str, Any] | None) -> Kind:
    """Whether predictions are disparity or depth; "auto" is what infer.py noted, disparity without a note."""
    if wanted == "auto":
        return "depth" if note is not None and note.get("metric") else "disparity"
    return "depth" if wanted == "depth" else "disparity"


def run_evaluation(
    name: str,
    entry: EvaluationSet,
    args: argparse.Namespace,
    measure: Callable[..., SceneResult],
    hard_crop: bool = False,
) -> Result:
    """Measure one set, print its table and write its result files.

    `measure` takes a scene's `Sequence`, and `advance` to be called twice for each of its frames.
    """
    index = args.benchmark_path / entry.dataset / entry.index
    scenes, frames = entry.counted
    counted = with_frames(scenes_of(index, entry.dataset)[scenes], frames)
    if not args.infer_path.is_dir():
        raise InputError(f"{args.infer_path} not found; --infer_path is the folder that infer.py wrote to")
    note = prediction_note(args.infer_path, entry, index)
    kind = prediction_kind(args.prediction, note)
    place = predictions_place(args.infer_path, entry.dataset, index)
    source = PredictionSource(args.infer_path, kind, hard_crop, args.protocol, args.allow_missing, place)
    # Complaints about missing predictions come before any work is done.
    sequences = [Sequence(scene, index.parent, entry.dataset, entry.crop, source) for scene in counted]
    empty = [sequence.name for sequence in sequences if not len(sequence)]
    sequences = [sequence for sequence in sequences if len(sequence)]
    if not sequences:
        raise InputError(f"{args.infer_path / place}: no predictions for {index}")
    with progress(2 * sum(map(len, sequences)), name) as advance:
        results = [measure(sequence, advance=advance) for sequence in sequences]
    settings = {"protocol": args.protocol, "alignment": args.alignment, "prediction": kind, "index": entry.index}
    result = Result(name, entry.dataset, settings, note, versions(), results, empty)
    print(describe(result))
    print(screen(result_table(result, args.per_scene)))
    for path in write_result(result, args.out or args.infer_path):
        print(path)
    return result
