"""That pip finds wheels of all that is needed, for each Python. Asks the package index: `pytest -m network`."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]


@pytest.mark.network
@pytest.mark.timeout(600)
@pytest.mark.parametrize("version", ["3.11", "3.12", "3.13", "3.14"])
def test_the_package_resolves(version: str, tmp_path: Path) -> None:
    report = tmp_path / "report.json"
    command = [sys.executable, "-m", "pip", "install", "--quiet", "--dry-run", "--report", str(report)]
    command += ["--python-version", version, "--only-binary=:all:", "--target", str(tmp_path / "none"), str(ROOT)]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr
    names = {found["metadata"]["name"].lower() for found in json.loads(report.read_text())["install"]}
    assert {"torch", "av", "opencv-python-headless"} <= names
    assert not names & {"open3d", "opencv-python", "gradio", "openvino"}
