"""The commands and programs that README and docs show run, or are named here with the reason why not."""

from __future__ import annotations

import json
import logging
import os
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

import imageio_ffmpeg
import numpy as np
import OpenEXR
import pytest
import tomllib
from conftest import MakeVideo
from documented import PAGES, ROOT, SHELL, blocks, commands, flags_of, help_of
from PIL import Image

from video_depth_anything.checkpoint import STARTER
from video_depth_anything.cli.main import COMMANDS
from video_depth_anything.cli.main import main as vda

# Added to what is run, so that it takes a second: smaller and shorter, and nothing is converted for OpenVINO.
SMALL = ("--input_size", "28", "--max_len", "3", "--device", "cpu", "--backend", "torch", "--fp32")
# Commands that are not run here, and why. Their flags are checked all the same.
NOT_RUN = {
    r"pip install ": "changes the environment; tests/test_package.py installs the package",
    r"apt-get ": "changes the machine",
    r"python3 run\.py --input_video assets": "as vda run, which is run here; tests/test_run.py runs the script",
    r"make ": "takes minutes; make demo, test and lint are what CI runs",
    r"vda weights \w": "downloads hundreds of megabytes; tests/test_weights.py fetches from a server of its own",
    r"bash get_weights.sh ": "downloads; tests/test_get_weights.py fetches from a server of its own",
    r"vda stream (0|rtsp:)": "needs a camera; tests/test_run_streaming.py streams files",
    r"vda export ?": "takes half a minute; tests/test_export.py exports both forms",
    r"(trtexec|xcrun) |python -c .*CoreML": "need an NVIDIA GPU, or a Mac",
    r"vda app": "serves until it is ended; tests/test_app.py opens it in a browser",
    r"python tests/page_picture": "needs a browser; tests/test_page_looks.py opens the page in one",
    r"torchrun ": "tests/test_torchrun.py and test_train_script.py start several processes",
    r"#!/bin/bash\n#SBATCH": "needs a cluster with Slurm",
    r"bash benchmark/speed/gpu.sh ": "needs a GPU; tests/test_gpu_benchmark.py runs its parts on a CPU",
    r"pytest |VIDEO_DEPTH_CUDA_TESTS_ON=cpu ": "tests that need a GPU; the suite runs them where there is one",
    r"python3? benchmark/speed/": "takes minutes on a quiet machine; tests/test_speed_benchmarks.py runs each, small",
    r"python3? benchmark/": "needs datasets; tests/test_benchmark_*.py run each on miniatures of them",
    r"bash benchmark/eval/": "needs datasets; tests/test_benchmark_compare.py runs them",
    r"python -m (training|starter)": "takes hours; tests/test_train_script.py and test_starter_*.py run each, small",
    r"python run\.py --checkpoint runs/": "needs what the training before it makes",
    r"tensorboard ": "a server of another project",
}
# Programs in Python that are not run here, by a line of them, and why.
PYTHON_NOT_RUN = {
    'core.read_model("window.xml")': "needs an export; tests/test_export.py runs it on one",
    'onnxruntime.InferenceSession("step.onnx")': "needs an export; tests/test_export.py runs it on one",
    'from_pretrained("metric_vits")': "downloads; tests/test_from_pretrained.py fetches from a server of its own",
}
ALL = {
    page: [command for block in blocks(page) if block.language in SHELL for command in commands(block)]
    for page in PAGES
}
RUN_PAGES = [page for page in PAGES if page == "README.md" or page.startswith("docs/")]


def reason(command: str) -> str | None:
    """Why a command is not run; None if it is."""
    return next((why for pattern, why in NOT_RUN.items() if re.match(pattern, command)), None)


@pytest.fixture
def place(tmp_path: Path, make_video: MakeVideo, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder with what the pages name, in which commands and programs run."""
    monkeypatch.chdir(tmp_path)
    for name in ("clip.mp4", "other.mp4"):
        make_video(name, count=3, height=360, width=640, fps=Fraction(24))
    (tmp_path / "plates").mkdir()
    for number in (1001, 1002):
        half = np.full((90, 160, 3), 0.2 * (number - 1000), np.float16)
        OpenEXR.File({}, {"RGB": half}).write(str(tmp_path / "plates" / f"plate.{number}.exr"))
    # The bundled model under the name of a public one.
    (tmp_path / "checkpoints").mkdir()
    (tmp_path / "checkpoints" / "video_depth_anything_vits.pth").symlink_to(STARTER)
    logger = logging.getLogger()
    handlers, level = logger.handlers, logger.level
    yield tmp_path
    logger.handlers = handlers
    logger.setLevel(level)


def run_in_shell(command: str, place: Path) -> None:
    """A command that redirects or pipes, with `vda` and `ffmpeg` where the shell finds them."""
    programs = place / "bin"
    programs.mkdir(exist_ok=True)
    small = shlex.join(SMALL)
    for name, line in {
        "vda": f'exec {shlex.quote(sys.executable)} -m video_depth_anything "$@" {small}',
        "ffmpeg": f'exec {shlex.quote(imageio_ffmpeg.get_ffmpeg_exe())} "$@"',
    }.items():
        (programs / name).write_text(f"#!/bin/sh\n{line}\n")
        (programs / name).chmod(0o755)
    environment = {**os.environ, "PATH": f"{programs}:{os.environ['PATH']}", "PYTHONPATH": str(ROOT)}
    shell = ["bash", "-o", "pipefail", "-c", command]
    result = subprocess.run(shell, cwd=place, env=environment, capture_output=True, text=True, check=False, timeout=120)
    assert result.returncode == 0, (command, result.stderr)


def run_command(command: str, place: Path) -> None:
    words = shlex.split(command)
    assert words[0] == "vda", f"neither run nor named in NOT_RUN: {command}"
    if re.search(r" [|>] ", command):
        run_in_shell(command, place)
    else:
        small = SMALL if words[1] not in ("weights", "export") else ()
        assert vda([*words[1:], *small]) == 0, command


@pytest.mark.parametrize("page", RUN_PAGES)
def test_what_a_page_shows_runs(page: str, place: Path) -> None:
    for block in blocks(page):
        if block.language in SHELL:
            for command in commands(block):
                if reason(command) is None:
                    run_command(command, place)
        elif block.language == "python" and not any(line in block.text for line in PYTHON_NOT_RUN):
            names: dict[str, Any] = {"__name__": "__main__"}
            exec(compile(block.text, page, "exec"), names)
            if page == "README.md":
                assert names["depths"].shape == (5, 180, 320)
                assert names["depth"].shape == (180, 320)
    written = {path.relative_to(place).as_posix() for path in place.rglob("*")}
    if page == "README.md":
        assert {"outputs/clip_src.mp4", "outputs/clip_vis.mp4"} <= written
        assert {"outputs/plate_depths_exr/plate.1001.exr", "outputs/plate_depths_exr/plate.1002.exr"} <= written
    if page == "docs/guide/streaming.md":
        assert (place / "depth.raw").stat().st_size == 3 * 360 * 640 * 2
        assert len(list(_frames(place / "colours.mp4"))) == 3


def _frames(path: Path) -> Iterator[object]:
    import imageio.v3 as imageio

    return imageio.imiter(path, plugin="FFMPEG")


def test_what_is_not_run_is_still_there() -> None:
    for pattern in NOT_RUN:
        assert any(re.match(pattern, command) for listed in ALL.values() for command in listed), pattern
    for line in PYTHON_NOT_RUN:
        assert any(line in block.text for page in PAGES for block in blocks(page)), line


@pytest.mark.parametrize("page", PAGES)
def test_flags_and_files_of_commands_exist(page: str) -> None:
    for command in ALL[page]:
        if command.startswith("#!"):
            command = re.sub(r"\\\n", " ", command).splitlines()[-1]
        for part in re.split(r" [|>;] ", command):
            _check_part(shlex.split(part))


def _check_part(words: list[str]) -> None:
    if "--flags" in words:  # what follows is for `vda run`
        words, further = words[: words.index("--flags")], words[words.index("--flags") + 1 :]
        _check_part(["vda", "run", *further])
    given = flags_of(" ".join(words))
    scripts = [word for word in words if word.endswith((".py", ".sh"))]
    if words[0] == "vda":
        name = words[1] if words[1] in COMMANDS else "run"
        assert given <= flags_of(help_of(sys.executable, "-m", "video_depth_anything", name)), words
    elif words[0] == "pip":
        _check_installed(words[2:])
    elif words[0] == "make":
        assert re.search(rf"^{words[1]}:", (ROOT / "Makefile").read_text(), flags=re.MULTILINE), words
    elif scripts:
        assert (ROOT / scripts[0]).is_file(), scripts[0]
        if scripts[0].endswith(".py") and "pytest" not in words:
            given = flags_of(" ".join(words[words.index(scripts[0]) :]))
            assert given <= flags_of(help_of(sys.executable, scripts[0])), words
    elif "-m" in words and "pytest" not in words:
        module = words.index("-m") + 1
        given = flags_of(" ".join(words[module:]))
        assert given <= flags_of(help_of(sys.executable, "-m", words[module])), words


def _check_installed(words: list[str]) -> None:
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    for word in words:
        named = re.fullmatch(r"\.\[(.*)\]", word)
        if named:
            assert set(named.group(1).split(",")) <= set(extras), word
        elif word.endswith(".txt"):
            assert (ROOT / word).is_file(), word


@pytest.mark.slow
def test_the_notebook_runs_from_a_clone(monkeypatch: pytest.MonkeyPatch) -> None:
    notebook = json.loads((ROOT / "docs" / "guide" / "video_depth.ipynb").read_text())
    assert notebook["nbformat"] == 4
    monkeypatch.chdir(ROOT / "docs" / "guide")
    names: dict[str, Any] = {"__name__": "__main__"}
    cells = ["".join(cell["source"]) for cell in notebook["cells"] if cell["cell_type"] == "code"]
    shortened = 0
    for source in cells:
        # The same cells over less.
        source, count = re.subn(r"^FRAMES, DETAIL = .*$", "FRAMES, DETAIL = 4, 28", source, flags=re.MULTILINE)
        shortened += count
        exec(compile(source, "docs/guide/video_depth.ipynb", "exec"), names)
    assert shortened == 1
    assert names["video"].depths.shape == (4, 240, 320)
    assert names["stream"].frames_seen == 4


@pytest.mark.slow
def test_the_command_that_makes_the_moving_picture(tmp_path: Path) -> None:
    small = ("--input_size", "28", "--max_len", "3", "--backend", "torch")
    command = [sys.executable, "docs/make_teaser.py", str(tmp_path / "teaser.webp"), *small]
    result = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, timeout=120)
    assert result.returncode == 0, result.stderr
    with Image.open(tmp_path / "teaser.webp") as picture:
        assert (picture.size, getattr(picture, "n_frames", 1)) == ((640, 240), 3)
