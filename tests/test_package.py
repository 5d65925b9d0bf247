"""The installed package, outside the repository: its command, its checkpoint, its types, and the README's snippet."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import sysconfig
import venv
from pathlib import Path

import pytest
from conftest import MakeVideo
from test_run import ROOT, SMALL, shown

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of programs of a fresh environment that has the built wheel, and borrows what the package needs."""
    folder = tmp_path_factory.mktemp("installed")
    source = folder / "source"
    tracked = subprocess.run(
        ["git", "ls-files", "-co", "--exclude-standard"], cwd=ROOT, capture_output=True, check=True
    )
    wanted = ("video_depth_anything/", "assets/", "pyproject.toml", "README.md", "LICENSE")
    for name in tracked.stdout.decode().splitlines():
        if name.startswith(wanted) and (ROOT / name).is_file():
            (source / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, source / name)
    build = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation"]
    subprocess.run([*build, "--wheel-dir", str(folder), str(source)], check=True)
    (wheel,) = folder.glob("*.whl")
    shutil.rmtree(source)
    environment = folder / "env"
    venv.create(environment, with_pip=False)
    (packages,) = (environment / "lib").glob("python*/site-packages")
    install = [sys.executable, "-m", "pip", "--python", str(environment / "bin" / "python"), "install", "--quiet"]
    subprocess.run([*install, "--no-deps", str(wheel)], check=True)
    (packages / "borrowed.pth").write_text(sysconfig.get_paths()["purelib"] + "\n")
    return environment / "bin"


def run(*words: str | Path, cwd: Path) -> subprocess.CompletedProcess[str]:
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    return subprocess.run(
        list(map(str, words)), cwd=cwd, env=environment, capture_output=True, text=True, check=False, timeout=300
    )


def test_the_command_gives_depth(installed: Path, make_video: MakeVideo, tmp_path: Path) -> None:
    clip = make_video("clip.mp4", count=3)
    result = run(installed / "vda", "run", clip, *SMALL, cwd=tmp_path)
    assert result.returncode == 0, result.stderr
    assert "starter" in result.stdout
    assert shown(tmp_path / "outputs") == {"clip_src.mp4", "clip_vis.mp4"}
    where = run(installed / "python", "-c", "import video_depth_anything as v; print(v.__file__)", cwd=tmp_path)
    assert str(installed.parent) in where.stdout


def test_the_bundled_example_is_there(installed: Path, tmp_path: Path) -> None:
    result = run(installed / "python", "-m", "video_depth_anything", "run", "--max_len", "2", *SMALL, cwd=tmp_path)
    assert result.returncode == 0, result.stderr
    assert shown(tmp_path / "outputs") == {"box_src.mp4", "box_vis.mp4"}


def test_the_snippet_of_the_readme_runs(installed: Path, tmp_path: Path) -> None:
    (code,) = re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text(), flags=re.DOTALL)
    result = run(installed / "python", "-c", code, cwd=tmp_path)
    assert result.returncode == 0, result.stderr


def test_types_are_seen(installed: Path, tmp_path: Path) -> None:
    (tmp_path / "program.py").write_text("import video_depth_anything as v\nreveal_type(v.load_model)\n")
    checker: list[str | Path] = [
        sys.executable,
        "-m",
        "mypy",
        "--python-executable",
        installed / "python",
        "program.py",
    ]
    result = run(*checker, cwd=tmp_path)
    assert "VideoDepthAnything" in result.stdout, result.stdout


def test_every_package_of_the_repository_is_installed(installed: Path) -> None:
    (packages,) = (installed.parent / "lib").glob("python*/site-packages/video_depth_anything")
    own = {path.relative_to(ROOT / "video_depth_anything") for path in (ROOT / "video_depth_anything").rglob("*.py")}
    assert own == {path.relative_to(packages) for path in packages.rglob("*.py")}
