"""Models by name: a public checkpoint, a repository on a local stand-in for the hub, or a file."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from weights_server import Hub, Served, describing

from video_depth_anything import checkpoint as checkpoints
from video_depth_anything.checkpoint import from_pretrained
from video_depth_anything.cli.weights import main as weights_command
from video_depth_anything.errors import CheckpointError, OutputError
from video_depth_anything.video_depth import VideoDepthAnything

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Hub]:
    monkeypatch.chdir(tmp_path)
    with Hub() as server:
        monkeypatch.setenv("HF_ENDPOINT", server.address)
        yield server
        server.shutdown()


def same(model: VideoDepthAnything, expected: VideoDepthAnything) -> bool:
    found = model.state_dict()
    return all(torch.equal(found[key], value) for key, value in expected.state_dict().items())


@pytest.mark.parametrize("name", ["metric_vits", "depth-anything/Metric-Video-Depth-Anything-Small"])
def test_public_names_are_fetched_once(
    hub: Hub, checkpoint: Path, golden_model: VideoDepthAnything, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    content = checkpoint.read_bytes()
    entry = describing(content, metric=True)
    hub.put(entry, Served(content))
    monkeypatch.setattr(checkpoints, "CATALOGUE", (describing(b""), entry))
    for _ in range(2):
        model = from_pretrained(name, device="cpu")
        assert model.metric and same(model, golden_model)
    assert len(hub.fetched(entry)) == 1
    assert Path("checkpoints", "metric_video_depth_anything_vits.pth").read_bytes() == content


def test_weights_of_ones_own_under_a_public_name_are_kept(hub: Hub, checkpoint: Path) -> None:
    own = Path("checkpoints", "video_depth_anything_vits.pth")
    own.parent.mkdir()
    own.write_bytes(checkpoint.read_bytes())
    with pytest.raises(OutputError, match=r"is kept: .*from_pretrained\('checkpoints/video_depth_anything_vits.pth'\)"):
        from_pretrained("vits", device="cpu")
    assert weights_command(["vits", "--yes"]) == 2
    assert own.read_bytes() == checkpoint.read_bytes()
    assert not hub.requests
    assert from_pretrained(own, device="cpu").encoder == "vits"


@pytest.mark.parametrize("file", ["model.safetensors", "weights.pth"])
def test_other_repositories_on_the_hub(
    hub: Hub, golden_model: VideoDepthAnything, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, file: str
) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "cache"))
    weights = golden_model.state_dict()
    if file.endswith(".safetensors"):
        save_file(weights, tmp_path / file)
    else:
        torch.save(weights, tmp_path / file)
    for name in (file, "README.md"):
        content = (tmp_path / file).read_bytes() if name == file else b"# A model"
        hub.served[f"/someone/fine-tuned/resolve/main/{name}"] = Served(content)
    model = from_pretrained("someone/fine-tuned", device="cpu")
    assert not model.metric and same(model, golden_model)
    (tmp_path / file).unlink()
    assert from_pretrained("someone/fine-tuned", metric=True, device="cpu").metric


def failing(name: str | Path) -> str:
    with pytest.raises(CheckpointError) as caught:
        from_pretrained(name, device="cpu")
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_what_the_hub_does_not_have(hub: Hub) -> None:
    assert "nobody/nothing cannot be downloaded from the hub" in failing("nobody/nothing")
    for name in ("a.pth", "b.pth"):
        hub.served[f"/someone/two/resolve/main/{name}"] = Served(b"")
    assert "does not hold exactly one" in failing("someone/two")


def test_files_by_path(checkpoint: Path, golden_model: VideoDepthAnything, tmp_path: Path) -> None:
    assert same(from_pretrained(checkpoint, device="cpu"), golden_model)
    folder = tmp_path / "metric experiments"
    folder.mkdir()
    for name, metric in (("mine.pth", False), ("metric_mine.pth", True)):
        (folder / name).symlink_to(checkpoint)
        assert from_pretrained(str(folder / name), device="cpu").metric == metric
    assert "missing.pth not found" in failing("missing.pth")
    assert "vitx not found" in failing(Path("vitx"))
    assert "no checkpoint 'vitx'; name one of vits, metric_vits" in failing("vitx")


def test_without_the_optional_packages_a_line_says_so(tmp_path: Path) -> None:
    header = b'{"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}'
    (tmp_path / "a.safetensors").write_bytes(len(header).to_bytes(8, "little") + header + bytes(4))
    code = (
        "import sys; sys.modules['safetensors.torch'] = sys.modules['huggingface_hub'] = None\n"
        "from video_depth_anything.checkpoint import from_pretrained\n"
        "for name in sys.argv[1:]:\n"
        "    try:\n"
        "        from_pretrained(name, device='cpu')\n"
        "    except ValueError as error:\n"
        "        print(error)\n"
    )
    command = [sys.executable, "-c", code, str(tmp_path / "a.safetensors"), "someone/fine-tuned"]
    result = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    lines = result.stdout.splitlines()
    assert len(lines) == 2
    assert "pip install safetensors" in lines[0] and "pip install huggingface_hub" in lines[1]
