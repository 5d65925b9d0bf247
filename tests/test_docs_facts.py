"""What README and docs say: every flag and its default, links, names of files, the README's length and picture."""

from __future__ import annotations

import inspect
import re
import subprocess
import sys
from pathlib import Path

import pytest
from documented import PAGES, ROOT, anchors, flags_of, help_of, links, text_of
from PIL import Image

import video_depth_anything
from video_depth_anything.cli.arguments import page_parser, run_parser
from video_depth_anything.cli.main import COMMANDS
from video_depth_anything.cli.reference import reference


@pytest.mark.parametrize("name", sorted(COMMANDS))
def test_every_flag_is_described_and_no_other(name: str) -> None:
    text = "".join(text_of(page) for page in ("docs/reference/command-line.md", "docs/lab/export.md"))
    shown = help_of(sys.executable, "-m", "video_depth_anything", name)
    described = {flag.replace("-", "_") for flag in re.findall(r"`(--[a-z][a-z0-9_-]+)", text)}
    assert flags_of(shown) <= described, sorted(flags_of(shown) - described)


def test_no_flag_is_described_that_is_gone() -> None:
    there = set().union(*(flags_of(help_of(sys.executable, "-m", "video_depth_anything", name)) for name in COMMANDS))
    described = set()
    for line in text_of("docs/reference/command-line.md").splitlines():
        if line.startswith("| `-"):
            described |= flags_of(line.split("|")[1])
    assert described <= there, sorted(described - there)
    assert {"__input_size", "__save", "__yes", "__share", "__latency"} <= described


def test_targets_of_the_makefile_exist() -> None:
    makefile = (ROOT / "Makefile").read_text()
    named = {target for page in PAGES for target in re.findall(r"`make ([a-z-]+)`", text_of(page))}
    assert {"demo", "teaser", "test"} <= named
    for target in named:
        assert re.search(rf"^{target}:", makefile, flags=re.MULTILINE), target


@pytest.mark.parametrize("page", PAGES)
def test_links_lead_to_what_is_there(page: str) -> None:
    for target, heading in links(page):
        path = (ROOT / page).parent / target if target else ROOT / page
        assert path.exists(), target
        if heading:
            assert heading in anchors(path), f"{target}#{heading}"


def test_defaults_are_told_right() -> None:
    told = {}
    for line in text_of("docs/reference/command-line.md").splitlines():
        row = re.fullmatch(r"\| `(--[a-z0-9_-]+)` \| (?:`([^`]+)`|(-?[0-9.]+)|(off)) \|.*", line)
        if row:
            told[row.group(1)] = row.group(2) or row.group(3) or row.group(4)
    parsers = {name: make(name, None) for name, make in (("run", run_parser), ("app", page_parser))}
    parsers["stream"] = run_parser("stream", None, streaming=True)
    checked = set()
    del told["--input_size"]  # of `vda export`; that of the others goes by the checkpoint
    for flag, default in told.items():
        found = [a for p in parsers.values() for a in p._actions if flag in a.option_strings]
        if found:
            checked.add(flag)
            true = found[0].default
            if default == "off":
                assert true in (None, False), flag
            else:
                assert default == str(true).removesuffix(".0"), flag
    assert {"--max_res", "--vis_range", "--codec", "--timeout", "--server_port", "--latency"} <= checked


def test_every_name_of_the_library_is_described() -> None:
    described = set(re.findall(r"`([A-Za-z_]+)`", text_of("docs/guide/python.md")))
    arguments = set(inspect.signature(video_depth_anything.infer).parameters)
    assert arguments <= described, arguments - described
    names = set(video_depth_anything.__all__) - {"__version__"}
    assert names <= described, names - described
    assert set(dir(video_depth_anything)) >= names  # what an interactive shell completes


def test_the_files_that_the_architecture_names_are_there() -> None:
    named = re.findall(r"`([a-z_/]+(?:\.py|/))`", text_of("docs/lab/architecture.md"))
    assert len(named) > 10
    for name in named:
        assert (ROOT / name).exists() or (ROOT / "video_depth_anything" / name).exists(), name


def test_the_readmes_picture_moves() -> None:
    picture = ROOT / "assets" / "teaser.webp"
    assert picture.stat().st_size < 3e6
    with Image.open(picture) as image:
        assert getattr(image, "n_frames", 1) > 30
        assert image.size == (640, 240)


def test_bundled_files_are_small() -> None:
    tracked = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=False).stdout.split()
    for name in tracked:
        limit = 60e6 if name.startswith("assets/checkpoints/") else 5e6
        assert (ROOT / name).stat().st_size <= limit, name


def test_the_generated_reference_has_every_flag() -> None:
    text = reference()
    for name in ("run", "stream", "app"):
        shown = flags_of(help_of(sys.executable, "-m", "video_depth_anything", name))
        assert shown <= {flag.replace("-", "_") for flag in re.findall(r"`(--[a-z][a-z0-9_-]+)`", text)} | {"__help"}
    assert "| `--max_len` | `-1` | maximum number of frames; -1: all |" in text
    assert text.count("`--input_size`") == 1


def test_the_table_of_flags_is_that_of_the_options() -> None:
    page = text_of("docs/reference/flags.md")
    assert page[page.index("## ") :] == reference()


@pytest.mark.slow
def test_the_documents_build_as_a_site(tmp_path: Path) -> None:
    site = [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", str(tmp_path)]
    command = [*site, "--config-file", "docs/site/mkdocs.yml"]
    result = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stdout + result.stderr
    assert "infer_depth" in (tmp_path / "reference" / "python" / "index.html").read_text()
