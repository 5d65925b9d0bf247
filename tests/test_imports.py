"""Imports point one way (the contracts in pyproject.toml); importing has no visible effect and is quick."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
SCRIPTS = ("run", "run_streaming", "app")
HEAVY = {"torch", "cv2", "numpy", "av", "open3d", "decord", "matplotlib", "gradio"}


def test_imports_point_one_way() -> None:
    linter = Path(sys.executable).with_name("lint-imports")
    result = subprocess.run([linter, "--no-cache"], cwd=ROOT, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stdout


@pytest.mark.parametrize("script", SCRIPTS)
def test_help_needs_nothing_heavy(script: str) -> None:
    code = f"import sys, {script}; sys.exit(', '.join(sorted({HEAVY!r} & set(sys.modules))) or 0)"
    result = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False)
    assert (result.returncode, result.stdout, result.stderr) == (0, "", "")
