"""`vda weights` and get_weights.sh, with Python and with curl alone, against a local stand-in for the model hub."""

from __future__ import annotations

import hashlib
import os
import pty
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest
from weights_server import Hub, Served, describing, packed

from video_depth_anything import weights
from video_depth_anything.cli.weights import main

ROOT = Path(__file__).resolve().parents[1]
SCRIPT = ROOT / "get_weights.sh"
CONTENT = packed(50_000)
# All that the script may call besides curl: whatever else it used would fail the tests.
TOOLS = ("bash", "dirname", "sed", "mkdir", "mv", "rm", "sha256sum")

needs_bash = pytest.mark.skipif(shutil.which("bash") is None, reason="bash is not installed")
needs_curl = pytest.mark.skipif(
    shutil.which("bash") is None or shutil.which("curl") is None, reason="bash or curl is not installed"
)


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    with Hub() as server:
        monkeypatch.setenv("HF_ENDPOINT", server.address)
        yield server
        server.shutdown()


@pytest.fixture
def small(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> dict[str, bytes]:
    """The six checkpoints as small files, on the server and in the catalogue."""
    contents = {entry.name: packed(3_000, seed) for seed, entry in enumerate(weights.CATALOGUE)}
    entries = tuple(describing(contents[e.name], e.encoder, e.metric) for e in weights.CATALOGUE)
    for entry in entries:
        hub.put(entry, Served(contents[entry.name]))
    monkeypatch.setattr(weights, "CATALOGUE", entries)
    return contents


def names(folder: Path) -> list[str]:
    return sorted(entry.name for entry in folder.iterdir() if not entry.name.startswith("."))


def test_default_is_what_the_original_fetches(
    small: dict[str, bytes], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["--yes"]) == 0
    assert names(Path("checkpoints")) == ["video_depth_anything_vitl.pth", "video_depth_anything_vits.pth"]
    for encoder in ("vits", "vitl"):
        assert Path(f"checkpoints/video_depth_anything_{encoder}.pth").read_bytes() == small[encoder]
    out = capsys.readouterr().out
    assert "checkpoints/video_depth_anything_vits.pth: used by `vda run --encoder vits`\n" in out
    assert "checkpoints/video_depth_anything_vitl.pth: used by `vda run --encoder vitl`\n" in out


def test_all_into_another_folder_with_licences(
    small: dict[str, bytes], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["all", "--folder", str(tmp_path / "w")]) == 0  # nobody at the keyboard: shown, not asked
    assert len(names(tmp_path / "w")) == len(small) == 6
    out = capsys.readouterr().out
    assert out.count("CC-BY-NC-4.0 (non-commercial use only)") == 4 and out.count("Apache-2.0") == 2
    assert (
        f"vda run --encoder vitb --metric --checkpoint {tmp_path / 'w' / 'metric_video_depth_anything_vitb.pth'}" in out
    )


@pytest.mark.usefixtures("small")
def test_one_failure_does_not_stop_the_others(hub: Hub, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    hub.put(weights.CATALOGUE[0], Served(b"", status=404))
    assert main(["vits", "metric_vits", "--folder", str(tmp_path)]) == 1
    assert names(tmp_path) == ["metric_video_depth_anything_vits.pth"]
    errors = capsys.readouterr().err.splitlines()
    assert any("answered HTTP 404" in line for line in errors) and errors[-1] == "1 of 2 failed: vits"


def test_list_and_unknown_name(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--list"]) == 0
    out = capsys.readouterr().out
    assert [line.split()[0] for line in out.splitlines()] == [entry.name for entry in weights.CATALOGUE]
    assert "1.54 GB" in out and "116 MB" in out
    with pytest.raises(SystemExit) as caught:
        main(["vith"])
    assert caught.value.code == 2 and "unknown name 'vith'" in capsys.readouterr().err


@needs_bash
def test_the_originals_script_asks_nothing(hub: Hub, tmp_path: Path) -> None:
    """At a terminal where nobody answers; the licence is printed."""
    script = tmp_path / "get_weights.sh"
    script.write_text(SCRIPT.read_text().replace("export PYTHONPATH=$here", f"export PYTHONPATH={ROOT}"))
    hub.put(weights.CATALOGUE[0], Served(CONTENT))
    _, terminal = pty.openpty()
    environment = {**os.environ, "PYTHON": sys.executable}
    command = ["bash", str(script), "vits"]
    result = subprocess.run(command, stdin=terminal, env=environment, capture_output=True, text=True, check=False)
    os.close(terminal)
    assert len(hub.fetched(weights.CATALOGUE[0])) == 1
    assert "licence: Apache-2.0" in result.stdout + result.stderr


@pytest.mark.parametrize(("answer", "asked_for"), [(b"n\n", 0), (b"\n", 0), (b"y\n", 1)])
def test_a_person_is_asked_once(hub: Hub, tmp_path: Path, answer: bytes, asked_for: int) -> None:
    """On a real terminal; the server has other files than the public ones, so nothing is ever accepted."""
    hub.put(weights.CATALOGUE[0], Served(CONTENT))
    keyboard, terminal = pty.openpty()
    command = [sys.executable, "-m", "video_depth_anything.cli.weights", "vits", "--folder", str(tmp_path)]
    with subprocess.Popen(command, cwd=ROOT, stdin=terminal, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        os.write(keyboard, answer)
        out, errors = process.communicate(timeout=30)
    assert process.returncode == 1 and out.count(b"accept their licences?") == 1
    assert len(hub.fetched(weights.CATALOGUE[0])) == asked_for
    assert (b"expected 116440756 bytes" in errors) == bool(asked_for)
    os.close(keyboard)
    os.close(terminal)


def toolbox(folder: Path, tools: Sequence[str]) -> str:
    """A PATH of just these tools, as links in a folder."""
    folder.mkdir(parents=True, exist_ok=True)
    for tool in tools:
        found = shutil.which(tool)
        if found is not None:
            (folder / tool).symlink_to(found)
    return str(folder)


class Clone:
    """get_weights.sh in a folder of its own, with the package beside it, whose catalogue expects `CONTENT` for vits."""

    def __init__(self, folder: Path, hub: Hub, tools: Sequence[str]) -> None:
        self.script = folder / "get_weights.sh"
        self.checkpoints = folder / "checkpoints"
        self.environment = {"PATH": toolbox(folder / "bin", tools), "HF_ENDPOINT": hub.address}
        shutil.copy(SCRIPT, self.script)
        shutil.copytree(ROOT / "video_depth_anything", folder / "video_depth_anything")
        facts = folder / "video_depth_anything" / "weights.py"
        real = weights.CATALOGUE[0]
        text = facts.read_text().replace(real.sha256, hashlib.sha256(CONTENT).hexdigest())
        facts.write_text(text.replace(f"{real.size:_}", str(len(CONTENT))))

    def __call__(self, *words: str) -> subprocess.CompletedProcess[str]:
        command = ["bash", str(self.script), *words]
        return subprocess.run(
            command, env=self.environment, cwd="/", capture_output=True, text=True, timeout=60, check=False
        )


@needs_bash
def test_script_runs_the_command_where_python_is(hub: Hub, tmp_path: Path) -> None:
    hub.put(weights.CATALOGUE[0], Served(CONTENT))
    clone = Clone(tmp_path, hub, ("bash", "dirname"))
    clone.environment["PYTHON"] = sys.executable
    result = clone("vits")
    assert result.returncode == 0, result.stderr
    assert "used by `vda run --encoder vits`" in result.stdout
    assert names(clone.checkpoints) == ["video_depth_anything_vits.pth"]
    assert (clone.checkpoints / "video_depth_anything_vits.pth").read_bytes() == CONTENT
    assert clone("--list").stdout.count("\n") == 6


@needs_curl
@pytest.mark.parametrize("sum_tool", ["sha256sum", "shasum"])
def test_script_with_curl_alone(hub: Hub, tmp_path: Path, sum_tool: str) -> None:
    if shutil.which(sum_tool) is None:
        pytest.skip(f"{sum_tool} is not installed")
    served = hub.put(weights.CATALOGUE[0], Served(CONTENT, cut_at=[30_000, 0, 0, 0], pause=0.001))
    hub.put(weights.CATALOGUE[1], Served(CONTENT))
    clone = Clone(tmp_path, hub, [*TOOLS[:-1], sum_tool, "curl"])
    first = clone("vits", "metric_vits")
    assert first.returncode == 1 and "metric_vits: " in first.stderr and "is not the expected file" in first.stderr
    assert names(clone.checkpoints) == ["video_depth_anything_vits.pth.part"]
    served.cut_at.clear()
    second = clone("vits")
    assert second.returncode == 0 and "SHA-256 verified" in second.stdout and "Apache-2.0" in second.stdout
    assert (clone.checkpoints / "video_depth_anything_vits.pth").read_bytes() == CONTENT
    assert hub.fetched(weights.CATALOGUE[0])[-1].range == "bytes=30000-"
    assert "already there" in clone("vits").stdout
    assert names(clone.checkpoints) == ["video_depth_anything_vits.pth"]
    unknown = clone("vith")
    assert unknown.returncode == 1 and "unknown name 'vith'" in unknown.stderr


@needs_bash
@pytest.mark.parametrize("tools", [TOOLS, (*TOOLS[:-1], "curl")])
def test_script_says_what_it_needs(hub: Hub, tmp_path: Path, tools: Sequence[str]) -> None:
    result = Clone(tmp_path, hub, tools)("vits")
    assert result.returncode == 2 and result.stderr.count("\n") == 1
    assert re.search(r"needs either Python 3\.10 with '.*', or curl and sha256sum or shasum", result.stderr)
    assert hub.requests == []


def test_script_is_short() -> None:
    assert len(SCRIPT.read_text().splitlines()) < 60
