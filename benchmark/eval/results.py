"""Results of an evaluation: what was measured on what, as a table, a JSON file and a Markdown file."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from benchmark.eval.evaluation import SceneResult, mean_metrics
from video_depth_anything.files import whole_file

# Protocol and alignment that results are not named after.
DEFAULTS = ("paper", "scale_shift")
PUBLISHED = Path(__file__).resolve().parents[1] / "published.json"

# Heading and digits of each metric, in the order of the table.
COLUMNS: dict[str, tuple[str, int]] = {
    "abs_relative_difference": ("AbsRel", 3),
    "delta1_acc": ("delta1", 3),
    "delta2_acc": ("delta2", 3),
    "delta3_acc": ("delta3", 3),
    "rmse_linear": ("RMSE", 3),
    "squared_relative_difference": ("SqRel", 3),
    "log10": ("log10", 4),
    "rmse_log": ("RMSElog", 3),
    "i_rmse": ("iRMSE", 4),
    "silog_rmse": ("SILog", 2),
    "boundary_f1": ("bound.F1", 3),
    "flicker": ("flicker", 2),
    "tae": ("TAE", 3),
    "pairs": ("pairs", 0),
    "skipped_pairs": ("skipped", 0),
}

# What `results.txt` has of them, which is read by programs written for the original.
TEXT_METRICS = ("abs_relative_difference", "rmse_linear", "delta1_acc")

Table = list[list[str]]


@dataclass(frozen=True)
class Result:
    """An evaluation of one set, called `evaluation`: the set's name, with `_tae` behind it if that was measured.

    `prediction` is what infer.py noted of the predictions, None without a note; scenes without any are left out.
    """

    evaluation: str
    dataset: str
    settings: dict[str, Any]
    prediction: dict[str, Any] | None
    versions: dict[str, str]
    scenes: Sequence[SceneResult]
    scenes_left_out: Sequence[str] = ()

    def metrics(self) -> dict[str, float]:
        """Means over scenes."""
        return mean_metrics(self.scenes)

    def counts(self) -> dict[str, int]:
        """How many scenes and frames were measured, and how many predictions were missing."""
        return {
            "scenes": len(self.scenes),
            "frames": sum(scene.num_frames for scene in self.scenes),
            "missing_predictions": sum(scene.num_missing for scene in self.scenes),
            "scenes_left_out": len(self.scenes_left_out),
        }

    def as_json(self) -> dict[str, Any]:
        """Everything, as JSON holds it; what could not be measured is null."""
        return {
            "evaluation": self.evaluation,
            "date": datetime.now(timezone.utc).isoformat(timespec="seconds"),
            "settings": self.settings,
            "prediction": self.prediction,
            "versions": self.versions,
            **self.counts(),
            "scenes_left_out": list(self.scenes_left_out),
            "metrics": _without_nan(self.metrics()),
            "per_scene": {
                scene.name: {
                    "frames": scene.num_frames,
                    "missing_predictions": scene.num_missing,
                    "scale": scene.fit.scale,
                    "shift": scene.fit.shift,
                    **_without_nan(scene.metrics),
                }
                for scene in self.scenes
            },
        }


def _without_nan(metrics: Mapping[str, float]) -> dict[str, float | None]:
    return {name: value if math.isfinite(value) else None for name, value in metrics.items()}


def published(evaluation: str, alignment: str) -> list[dict[str, Any]]:
    """Published results: rows of benchmark/published.json."""
    content = json.loads(PUBLISHED.read_text())
    rows = [r for r in content["results"] if r["evaluation"] == evaluation and r["alignment"] == alignment]
    return [row | {"from": content["sources"][row["source"]]} for row in rows]


def result_table(result: Result, per_scene: bool = False) -> Table:
    """Head and rows: the mean, and what others published."""
    columns = [name for name in COLUMNS if name in result.metrics()]
    rows = [["", *(COLUMNS[name][0] for name in columns)]]
    if per_scene:
        rows += [_row(scene.name, columns, scene.metrics) for scene in result.scenes]
    rows.append(_row("this", columns, result.metrics()))
    for entry in published(result.evaluation, result.settings["alignment"]):
        rows.append(_row(f"{entry['method']} [{entry['source']}]", columns, entry))
    return rows


def _row(name: str, columns: Sequence[str], values: Mapping[str, Any]) -> list[str]:
    return [name, *(_number(values.get(column), COLUMNS[column][1]) for column in columns)]


def _number(value: float | None, digits: int) -> str:
    return "-" if value is None or not math.isfinite(value) else f"{value:.{digits}f}"


def screen(table: Table) -> str:
    """A table in columns of equal width."""
    widths = [max(map(len, column)) for column in zip(*table)]
    lines = ["  ".join([row[0].ljust(widths[0]), *map(str.rjust, row[1:], widths[1:])]).rstrip() for row in table]
    return "\n".join(lines)


def markdown(table: Table) -> str:
    """A table in Markdown."""
    head, *rows = ["| " + " | ".join(row) + " |" for row in table]
    return "\n".join([head, "|---" * len(table[0]) + "|", *rows])


def describe(result: Result) -> str:
    """One line on what was measured: set, counts, protocol, alignment, and what is missing."""
    counts = result.counts()
    text = f"{result.evaluation}: {counts['scenes']} scenes, {counts['frames']} frames"
    text += f", protocol {result.settings['protocol']}, alignment {result.settings['alignment']}"
    if counts["missing_predictions"] or counts["scenes_left_out"]:
        text += f"; MISSING {counts['missing_predictions']} predictions, {counts['scenes_left_out']} whole scenes"
    return text


def write_result(result: Result, folder: Path) -> tuple[Path, Path, Path]:
    """Write results_<evaluation>.json and .md with all there is to know, and add lines to results.txt. Their paths.

    Results by another alignment or the corrected protocol have its name in theirs.
    """
    changes = [name for name in (result.settings["protocol"], result.settings["alignment"]) if name not in DEFAULTS]
    stem = "_".join(["results", result.evaluation, *changes])
    folder.mkdir(parents=True, exist_ok=True)
    paths = folder / f"{stem}.json", folder / f"{stem}.md", folder / "results.txt"
    with whole_file(paths[0]) as partial:
        partial.write_text(json.dumps(result.as_json(), indent=1, allow_nan=False) + "\n")
    with whole_file(paths[1]) as partial:
        partial.write_text(_document(result))
    with paths[2].open("a") as file:
        file.write(_lines(result, " ".join([result.dataset, *changes])))
    return paths


def _lines(result: Result, name: str) -> str:
    """Metrics in the form of the original's results.txt, where every evaluation adds to what is there."""
    metrics, dashes = result.metrics(), "-" * 50
    values = [f"{key}: {metrics[key]:.6f}" for key in TEXT_METRICS if key in metrics]
    values += [f"{name}: {metrics['tae']}"] if "tae" in metrics else []
    return "\n".join([f"<{dashes} {name} start {dashes}>", *values, f"<{dashes} {name} finish {dashes}>", ""])


def _document(result: Result) -> str:
    facts = {**result.settings, **(result.prediction or {"predictions": "of unknown origin"}), **result.versions}
    sources = {e["source"]: e["from"] for e in published(result.evaluation, result.settings["alignment"])}
    lines = [f"# {describe(result)}", "", markdown(result_table(result, per_scene=True)), ""]
    lines += [f"[{key}]: {text}" for key, text in sources.items()]
    lines += ["", *(f"- {key}: {value}" for key, value in facts.items()), ""]
    return "\n".join(lines)
