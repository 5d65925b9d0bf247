"""The command line's words: flags, help, mistakes, and how much is said."""

from __future__ import annotations

import logging
import os
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from conftest import MakeVideo
from test_run import ROOT, SMALL, shown

from video_depth_anything import __version__
from video_depth_anything.checkpoint import STARTER
from video_depth_anything.cli.arguments import inputs_of, options_in, run_parser
from video_depth_anything.cli.main import main
from video_depth_anything.pipelines.options import ModelOptions, RunOptions, StreamingOptions
from video_depth_anything.pipelines.setup import load_network


def vda(*words: str | Path, cwd: Path = ROOT) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "video_depth_anything", *map(str, words)]
    environment = {"PYTHONPATH": str(ROOT), "PATH": "/usr/bin:/bin", "OMP_NUM_THREADS": "2"}
    return subprocess.run(command, cwd=cwd, env=environment, capture_output=True, text=True, check=False, timeout=300)


def parsed(*words: str) -> RunOptions:
    parser = run_parser("vda run", None)
    return options_in(RunOptions, parser.parse_args(words))


def test_version_and_help() -> None:
    assert vda("--version").stdout == f"vda {__version__}\n"
    text = vda("--help").stdout
    for command in ("run", "stream", "app", "weights", "export"):
        assert f"  {command} " in text
    assert vda().stdout == text


@pytest.mark.parametrize("flag", ["--max_res", "--max-res"])
def test_dashes_and_underscores_are_alike(flag: str) -> None:
    assert parsed(flag, "77").selection.max_res == 77
    assert parsed(f"{flag}=78").selection.max_res == 78


def test_inputs_may_come_with_and_without_a_flag() -> None:
    parser = run_parser("vda run", None)
    args = parser.parse_args(["a.mp4", "-i", "b.mp4", "c.mp4", "-o", "x"])
    assert inputs_of(args) == ["a.mp4", "b.mp4", "c.mp4"]
    assert options_in(RunOptions, args).outputs.folder == Path("x")
    (bundled,) = inputs_of(parser.parse_args([]))
    assert Path(bundled).name == "box.mp4"
    assert Path(bundled).is_file()


def test_what_is_saved() -> None:
    assert parsed().outputs.save == ("src", "vis")
    assert parsed("--metric").outputs.save == ("src", "vis", "ply")
    assert parsed("--save_npz").outputs.save == ("src", "vis", "npz")
    assert parsed("--save_exr", "--metric").outputs.save == ("src", "vis", "ply", "exr")
    assert parsed("--save", "npz", "npz").outputs.save == ("npz",)
    assert parsed("--save", "none").outputs.save == ()


def test_side_by_side_is_an_old_name_of_compare() -> None:
    assert parsed("--vis", "side-by-side").outputs.layout == parsed("--vis", "compare").outputs.layout == "compare"


def test_settings_that_change_nothing_written_do_not_count() -> None:
    base = parsed("clip.mp4").settings()
    assert parsed("clip.mp4", "-o", "elsewhere", "--resume", "--overwrite").settings() == base
    for words in (("--fov", "60"), ("--max_res", "64"), ("--input_size", "98"), ("--colormap", "turbo")):
        assert parsed("clip.mp4", *words).settings() != base


def test_mistakes_take_two_lines() -> None:
    result = vda("run", "--input_size", "many")
    assert result.returncode == 2
    first, second = result.stderr.splitlines()
    assert first == "error: argument --input_size: 'many' is not a whole number above zero"
    assert second == "see `vda run --help`"


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (["version"], 0, f"vda {__version__}"),
        (["help"], 0, "usage: vda"),
        (["help", "stream"], 0, "usage: vda stream INPUT"),
        (["rum", "clip.mp4"], 2, "error: 'rum' is not a command or a file; did you mean `vda run`?"),
        (["hello"], 2, "error: 'hello' is not a command or a file"),
        (["run", "--colourmap", "turbo"], 2, "did you mean --colormap?"),
        (["run", "--save", "npz", "clip.mp4"], 2, "inputs come first: vda run clip.mp4 --save ..."),
        (["run", "--vis_range", "video", "clip.mov"], 2, "inputs come first: vda run clip.mov --vis_range ..."),
        (["missing.mp4"], 2, "error: input video missing.mp4 not found"),
        (["run", "clip.mp4", "--max_len", "9" * 20], 2, f"argument --max_len: {'9' * 20} is more than"),
        (["run", "clip.mp4", "--start", "1e300"], 2, "argument --start: '1e300' is not a time"),
        (["run", "clip.mp4", "--vis_range", "0", "inf"], 2, "argument --vis_range: '0 inf' is not"),
        (["stream", "a.mp4", "b.mp4", "--stdout", "rgb24"], 2, "--stdout carries the video of one input, not of 2"),
        (["stream", "a.mp4", "--stdout_times", "times"], 2, "--stdout_times needs --stdout"),
    ],
)
def test_words_and_mistakes(
    words: list[str],
    code: int,
    said: str,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    try:
        ended: object = main(words)
    except SystemExit as error:
        ended = error.code or 0
    captured = capsys.readouterr()
    assert ended == code
    assert said in captured.out + captured.err


def test_help_begins_with_examples_and_fits_two_screens(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    lines = run_parser("vda run", "What it does.").format_help().splitlines()
    assert [line.split()[:2] for line in lines[2:5]] == [["vda", "run"]] * 3
    assert len(lines) <= 100 and max(map(len, lines)) <= 80


def test_the_command_and_its_streaming_flags_are_settings() -> None:
    """A finished `vda run` is no finished `vda stream`."""
    parser = run_parser("vda stream", None, streaming=True)

    def settings(*words: str) -> dict[str, str]:
        args = parser.parse_args(["clip.mp4", *words])
        return options_in(RunOptions, args).settings(options_in(StreamingOptions, args))

    offline = parsed("clip.mp4").settings()
    assert {offline["command"], settings()["command"]} == {"run", "stream"}
    assert settings("--realtime") != settings() == settings("--resume")


def test_the_demo_model_computes_at_the_size_it_is_best_at(caplog: pytest.LogCaptureFixture) -> None:
    chosen = ModelOptions(checkpoint=STARTER, device="cpu", backend="torch")
    with caplog.at_level("INFO"):
        assert load_network(chosen).input_size == 280
    assert "using --input_size 280, which suits the demo model best" in caplog.text
    assert load_network(replace(chosen, input_size=518)).input_size == 518


def test_a_missing_example_names_the_bundled_one(tmp_path: Path) -> None:
    result = vda("run", "--input_video", "./assets/example_videos/davis_rollercoaster.mp4", cwd=tmp_path)
    assert result.returncode == 2
    (line,) = result.stderr.splitlines()
    assert "davis_rollercoaster.mp4 not found" in line
    assert "box.mp4" in line


def test_how_much_is_said(make_video: MakeVideo, tmp_path: Path) -> None:
    clip = make_video("one.mp4", count=1)
    quiet = vda("run", clip, "-q", *SMALL, cwd=tmp_path)
    assert quiet.returncode == 0
    assert all(line.startswith("warning: ") for line in quiet.stderr.splitlines()), quiet.stderr
    assert quiet.stdout == ""
    usual = vda("run", clip, *SMALL, cwd=tmp_path)
    assert ": 1 frame in " in usual.stdout
    assert "checkpoint starter_vits.pth" in usual.stdout
    # No bar in a log file.
    assert "\r" not in usual.stderr
    assert "one: 1/1 frames" in usual.stderr
    wrong = vda("run", clip, "-v", "--colormap", "nope", *SMALL, cwd=tmp_path)
    assert wrong.returncode == 2
    assert "Traceback" in wrong.stderr
    assert wrong.stderr.splitlines()[-1].startswith("error: --colormap: ")
    assert shown(tmp_path / "outputs") == {"one_src.mp4", "one_vis.mp4"}


def test_a_reader_that_has_gone_away_ends_nothing(make_video: MakeVideo, tmp_path: Path) -> None:
    clip = make_video("gone.mp4", count=2)
    words = " ".join(f"'{word}'" for word in (sys.executable, "-m", "video_depth_anything", "run", clip, *SMALL))
    for ending in (">&- 2>&-", "2>&1 | true"):
        script = f"cd '{tmp_path}' && PYTHONPATH='{ROOT}' {words} {ending}"
        subprocess.run(["bash", "-c", script], check=False, timeout=300)
        assert shown(tmp_path / "outputs") == {"gone_src.mp4", "gone_vis.mp4"}
        for path in (tmp_path / "outputs").iterdir():
            path.unlink()


def test_resume_compares_the_command_and_its_flags(
    make_video: MakeVideo, checkpoint: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    clip, weights = make_video("clip.mp4", count=1), Path(shutil.copy(checkpoint, tmp_path / "own.pth"))
    words = [clip, "-o", tmp_path / "out", "--checkpoint", weights, "--save", "npz", "--resume", *SMALL]
    last = ("stream", "--realtime")
    logger = logging.getLogger()
    handlers, level = logger.handlers, logger.level
    try:
        for finished, *command in ((False, "run"), (False, "stream"), (False, *last), (True, *last)):
            assert main([*command, *map(str, words)]) == 0
            assert ("already finished, skipped" in capsys.readouterr().err) == finished, command
        # Other weights under the same name, as after more training.
        torch.save({key: value.half() for key, value in torch.load(weights).items()}, weights)
        assert main([*last, *map(str, words)]) == 0
        assert "already finished" not in capsys.readouterr().err
    finally:
        logger.handlers = handlers
        logger.setLevel(level)


@pytest.mark.parametrize(
    ("words", "given", "expected"),
    [
        (["stream"], {}, "3000"),
        (["stream"], {"OMP_WAIT_POLICY": "ACTIVE"}, None),
        (["run", "--backend", "openvino"], {}, "3000"),
        (["run", "--backend", "torch"], {}, None),
    ],
)
def test_threads_that_wait_for_small_work_do_not_spin_for_long(
    words: list[str], given: dict[str, str], expected: str | None
) -> None:
    """Set before PyTorch's OpenMP reads it; what the user has set stays."""
    if "openvino" in words:
        pytest.importorskip("openvino")
    code = (
        "import os, sys; from video_depth_anything.cli.main import main; assert 'torch' not in sys.modules; "
        f"main([*{words}, 'absent.mp4']); print(os.environ.get('GOMP_SPINCOUNT'))"
    )
    environment = {key: value for key, value in os.environ.items() if "OMP" not in key} | given
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False, timeout=120)
    assert done.stdout.splitlines()[-1:] == [str(expected)], done.stderr
