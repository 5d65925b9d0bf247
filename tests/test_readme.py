"""The README stays true: its Python runs, its flags are those of the scripts, its files are there."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
README = (ROOT / "README.md").read_text()


def test_python_example_runs(checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "checkpoints").mkdir()
    (tmp_path / "checkpoints" / "video_depth_anything_vits.pth").symlink_to(checkpoint)
    monkeypatch.chdir(tmp_path)
    (code,) = re.findall(r"```python\n(.*?)```", README, flags=re.DOTALL)
    names: dict[str, object] = {}
    exec(code, names)
    assert getattr(names["depths"], "shape", None) == (5, 180, 320)


def test_every_flag_is_described() -> None:
    text = ""
    for script in ("run.py", "run_streaming.py", "app.py"):
        command = [sys.executable, script, "--help"]
        text += subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    flags = set(re.findall(r"--[a-z][a-z0-9_-]+", text)) - {"--help"}
    described = set(re.findall(r"`(--[a-z][a-z0-9_-]+)", README))
    assert flags <= described
    for name in re.findall(r"python3 (\S+\.py)", README):
        assert (ROOT / name).is_file()


def test_linked_files_exist() -> None:
    for target in re.findall(r"\]\((?!http)([^)]+)\)", README):
        assert (ROOT / target).exists(), target


def test_bundled_files_are_small() -> None:
    tracked = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=False).stdout.split()
    for name in tracked:
        limit = 60e6 if name.startswith("assets/checkpoints/") else 5e6
        assert (ROOT / name).stat().st_size <= limit, name
