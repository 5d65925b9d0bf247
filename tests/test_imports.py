"""Imports point one way: networks <- pipelines <- utils <- scripts. Importing has no visible effect and is quick."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
# Networks know torch and each other, but no files, no pipelines.
NETWORKS = {"config", "decoding", "dinov2", "dpt", "dpt_temporal", "motion_module", "network", "temporal_memory"}
SCRIPTS = ("run", "run_streaming", "app")
HEAVY = {"torch", "cv2", "numpy", "open3d", "decord", "matplotlib", "gradio"}


def imported(path: Path) -> set[str]:
    """Modules a file imports, relative ones with their dot."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            names.add("." * node.level + (node.module or ""))
    return names


def test_the_library_imports_nothing_of_the_scripts() -> None:
    for path in (ROOT / "video_depth_anything").glob("*.py"):
        tops = {name.split(".")[0] for name in imported(path) if not name.startswith(".")}
        assert not tops & {"utils", "training", "benchmark", "run", "run_streaming", "app"}, path.name


def test_networks_import_only_networks() -> None:
    for name in NETWORKS:
        own = {n[1:] for n in imported(ROOT / "video_depth_anything" / f"{name}.py") if n.startswith(".")}
        assert own <= NETWORKS, name


def test_input_and_output_know_no_network() -> None:
    allowed = {"video_depth_anything.config", "video_depth_anything.alignment"}
    for path in (ROOT / "utils").glob("*.py"):
        own = {name for name in imported(path) if name.startswith("video_depth_anything")}
        # Only the mapping from errors to messages looks at the rest, and only at its exceptions.
        errors = {"video_depth_anything.checkpoint", "video_depth_anything.device"} if path.name == "cli.py" else set()
        assert own <= allowed | errors, path.name


def test_help_needs_nothing_heavy() -> None:
    for script in SCRIPTS:
        code = f"import sys, {script}; sys.exit(', '.join(sorted({HEAVY!r} & set(sys.modules))) or 0)"
        result = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False)
        assert (result.returncode, result.stdout, result.stderr) == (0, "", "")


def test_scripts_are_short() -> None:
    for script in SCRIPTS:
        assert len((ROOT / f"{script}.py").read_text().splitlines()) <= 80
