"""Loading weights, and what a user reads when it fails."""

from __future__ import annotations

import hashlib
import pickle
import random
import sys
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from recipes import golden_json
from safetensors.torch import save_file
from torch import Tensor

from video_depth_anything.checkpoint import choose_weights, load_checkpoint, load_model, read_state_dict
from video_depth_anything.errors import CheckpointError
from video_depth_anything.video_depth import VideoDepthAnything


def test_loads_strictly_with_the_same_result(checkpoint: Path, golden_model: VideoDepthAnything) -> None:
    model = load_model("vits", checkpoint=checkpoint, device="cpu")
    assert not model.training
    x = torch.randn(1, 2, 3, 28, 42, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        torch.testing.assert_close(model(x), golden_model(x), atol=2e-5, rtol=1e-5)


def test_half_precision_files_load_as_float32(tmp_path: Path, golden_model: VideoDepthAnything) -> None:
    path = tmp_path / "half.pth"
    torch.save({key: value.half() for key, value in golden_model.state_dict().items()}, path)
    assert {p.dtype for p in load_model("vits", checkpoint=path, device="cpu").parameters()} == {torch.float32}


def message(encoder: str = "vits", **arguments: object) -> str:
    with pytest.raises(CheckpointError) as caught:
        load_model(encoder, device="cpu", **arguments)  # type: ignore[arg-type]
    text = str(caught.value)
    assert "\n" not in text
    return text


def test_missing_file_names_the_script(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    text = message("vitb")
    assert str(Path("checkpoints/video_depth_anything_vitb.pth")) in text
    assert "vda weights vitb" in text
    text = message("vits", metric=True)
    assert str(Path("checkpoints/metric_video_depth_anything_vits.pth")) in text
    assert "vda weights metric_vits" in text
    assert "nowhere.pth" in message(checkpoint="nowhere.pth")
    with pytest.raises(CheckpointError, match=r"^--metric: .*`vda weights metric_vits`.*metric_vitb or metric_vitl"):
        choose_weights(metric=True)


def test_public_name_in_the_checkpoint_folder(
    checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "checkpoints").mkdir()
    (tmp_path / "checkpoints" / "metric_video_depth_anything_vits.pth").symlink_to(checkpoint)
    monkeypatch.chdir(tmp_path)
    assert load_model("vits", metric=True, device="cpu").metric


def test_the_starter_serves_while_no_public_checkpoint_is_there(
    checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    starter = tmp_path / "starter_vits.pth"
    starter.symlink_to(checkpoint)
    monkeypatch.setattr("video_depth_anything.checkpoint.STARTER", starter)
    monkeypatch.chdir(tmp_path)
    with caplog.at_level("INFO"):
        assert choose_weights() == ("vits", starter)
        assert choose_weights("vits") == ("vits", starter)
    assert [record.levelname for record in caplog.records] == ["INFO", "WARNING"]
    assert "using the starter checkpoint starter_vits.pth" in caplog.text
    with pytest.raises(CheckpointError, match=r"vda weights vitb"):
        choose_weights("vitb")
    with pytest.raises(CheckpointError, match=r"vda weights metric_vits"):
        choose_weights(metric=True)
    (tmp_path / "checkpoints").mkdir()
    (tmp_path / "checkpoints" / "video_depth_anything_vits.pth").symlink_to(checkpoint)
    assert choose_weights("vits")[1] == Path("checkpoints", "video_depth_anything_vits.pth")


def test_without_an_encoder_the_largest_public_one_is_taken(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.chdir(tmp_path)
    folder = Path("checkpoints")
    folder.mkdir()
    for name, metric, expected in (
        ("video_depth_anything_vits.pth", False, "vits"),
        ("video_depth_anything_vitl.pth", False, "vitl"),
        ("video_depth_anything_vitb.pth", False, "vitl"),
        ("metric_video_depth_anything_vitb.pth", True, "vitb"),
    ):
        (folder / name).touch()
        caplog.clear()
        with caplog.at_level("INFO"):
            encoder, path = choose_weights(metric=metric)
        assert encoder == expected and path.name.endswith(f"{expected}.pth") and path.is_file()
        assert [record.levelname for record in caplog.records] == ["INFO"]
        assert f"using {path.name}, the largest public checkpoint in checkpoints" in caplog.text


def test_a_named_file_says_what_it_is_for(checkpoint: Path) -> None:
    assert choose_weights(checkpoint=checkpoint) == ("vits", checkpoint)


def test_wrong_encoder_says_which(tmp_path: Path) -> None:
    shapes = golden_json("state_dict_vitb")
    path = tmp_path / "b.pth"
    torch.save({key: torch.zeros(1).expand(shape) for key, shape in shapes.items()}, path)
    text = message("vits", checkpoint=path)
    assert "a vitb checkpoint, not vits" in text
    assert "keys differ" in text
    assert "--encoder vitb" in text


def test_foreign_and_missing_keys_are_counted(tmp_path: Path, golden_model: VideoDepthAnything) -> None:
    weights = golden_model.state_dict()
    del weights["pretrained.mask_token"], weights["head.projects.0.bias"]
    weights["optimizer"] = torch.zeros(1)
    weights["head.projects.1.bias"] = torch.zeros(7)
    path = tmp_path / "other.pth"
    torch.save(weights, path)
    text = message(checkpoint=path)
    assert "4 keys differ" in text
    assert "2 missing (first: pretrained.mask_token)" in text
    assert "1 foreign (first: optimizer)" in text
    assert "1 with a different shape (first: head.projects.1.bias)" in text


class Malicious:
    def __reduce__(self) -> tuple[object, tuple[str]]:
        return (Path.touch, (Path("executed"),))  # type: ignore[return-value]


def test_pickled_code_is_not_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "evil.pth"
    torch.save({"pretrained.cls_token": Malicious()}, path)
    assert "does not hold plain tensors" in message(checkpoint=path)
    path.write_bytes(pickle.dumps(Malicious()))
    assert "does not hold plain tensors" in message(checkpoint=path)
    assert not (tmp_path / "executed").exists()


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "empty"),
        (b"<html>404</html>", "a web page"),
        (b"\n<!DOCTYPE html>", "a web page"),
        (b"PK\x03\x04 cut off", "damaged"),
        (b"\x02\x00\x00\x00\x00\x00\x00\x00{}", "not a vits checkpoint"),  # safetensors without a tensor
        (b"\x08\x00\x00\x00\x00\x00\x00\x00{broken}", "damaged"),
    ],
)
def test_files_that_are_no_checkpoints(tmp_path: Path, content: bytes, said: str) -> None:
    path = tmp_path / "broken.pth"
    path.write_bytes(content)
    text = message(checkpoint=path)
    assert str(path) in text and said in text
    if said != "not a vits checkpoint":
        assert f"checkpoint {path} cannot be read" in text


def test_a_folder_is_no_checkpoint(tmp_path: Path) -> None:
    assert f"checkpoint {tmp_path} is a folder" in message(checkpoint=tmp_path)


def test_safetensors_load_with_the_same_result(tmp_path: Path, golden_model: VideoDepthAnything) -> None:
    path = tmp_path / "weights.safetensors"
    save_file(golden_model.state_dict(), path)
    model = load_model(None, checkpoint=path, device="cpu")
    for key, value in golden_model.state_dict().items():
        assert torch.equal(model.state_dict()[key], value), key
    path.write_bytes(path.read_bytes()[:-1])
    assert "damaged" in message(checkpoint=path)


def test_every_flipped_bit_is_found_or_harmless(tmp_path: Path) -> None:
    """At 250 random places of a small file, and where its entries could be taken for folders."""
    weights = {f"layer{index}.weight": torch.randn(40) for index in range(4)}
    path = tmp_path / "small.pth"
    torch.save(weights, path)
    whole = path.read_bytes()
    # Byte 38 of an entry of the zip's directory: torch reads what is marked there as a folder as empty memory.
    at_folder_marks = [at + 38 for at in range(len(whole)) if whole[at : at + 4] == b"PK\x01\x02"]
    assert len(at_folder_marks) > 4
    draw = random.Random(0)
    places = [draw.randrange(len(whole)) for _ in range(250)] + at_folder_marks
    refused = 0
    for at in places:
        for bit in (draw.randrange(8), 4):
            damaged = bytearray(whole)
            damaged[at] ^= 1 << bit
            path.write_bytes(damaged)
            try:
                found = read_state_dict(path)
            except CheckpointError:
                refused += 1
            else:
                assert found.keys() == weights.keys(), (at, bit)
                assert all(torch.equal(found[key], weights[key]) for key in weights), (at, bit)
    assert refused > len(places)


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (lambda value: value.clone().fill_(float("nan")), "not finite"),
        (lambda value: value.half().fill_(float("inf")), "not finite"),
        (lambda value: value.to(torch.int8), "holds int8"),
        (lambda value: value.to(torch.complex64), "holds complex64"),
        (lambda value: value.to(torch.float8_e4m3fn), "holds float8_e4m3fn"),
        (lambda value: value.to("meta"), "holds no values"),
        (lambda value: value.to_sparse(), "plain"),
    ],
)
def test_weights_that_are_no_finite_numbers(
    tmp_path: Path, golden_model: VideoDepthAnything, spoil: Callable[[Tensor], Tensor], said: str
) -> None:
    weights = golden_model.state_dict()
    for key in ("head.projects.0.bias", "head.projects.1.bias"):
        weights[key] = spoil(weights[key])
    path = tmp_path / "spoilt.pth"
    torch.save(weights, path)
    text = message(checkpoint=path)
    assert f"{path}: head.projects.0.bias" in text and said in text


@pytest.mark.parametrize("metadata", [None, {"": 5}, {"": {"depth": ["metric"]}}])
def test_foreign_metadata_does_not_count(tmp_path: Path, golden_model: VideoDepthAnything, metadata: object) -> None:
    weights = OrderedDict(golden_model.state_dict())
    weights._metadata = metadata  # type: ignore[attr-defined]
    torch.save(weights, tmp_path / "own.pth")
    assert not load_checkpoint("vits", None, tmp_path / "own.pth", "cpu")[0].metric


def test_a_file_is_read_once_and_its_hash_comes_with_its_weights(checkpoint: Path) -> None:
    opened: list[object] = []
    sys.addaudithook(lambda event, args: opened.append(args[0]) if event == "open" else None)
    _, sha256 = load_checkpoint("vits", False, checkpoint, "cpu")
    assert [str(path) for path in opened].count(str(checkpoint)) == 1
    assert sha256 == hashlib.sha256(checkpoint.read_bytes()).hexdigest()


def test_truncated_download(tmp_path: Path, checkpoint: Path) -> None:
    path = tmp_path / "half.pth"
    path.write_bytes(checkpoint.read_bytes()[: 10**6])
    assert "damaged" in message(checkpoint=path)


def test_class_token_without_a_width(tmp_path: Path) -> None:
    path = tmp_path / "scalar.pth"
    torch.save({"pretrained.cls_token": torch.tensor(1.0)}, path)
    assert "not a vits checkpoint" in message(checkpoint=path)
    assert choose_weights(checkpoint=path) == ("vitl", path)


def test_nested_dict_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "nested.pth"
    torch.save({"model": {"a": torch.zeros(1)}}, path)
    assert "not a flat state dict" in message(checkpoint=path)


def test_unknown_names() -> None:
    with pytest.raises(ValueError, match="unknown encoder 'vitg'"):
        load_model("vitg")
    with pytest.raises(ValueError, match="unknown device 'tpux'"):
        load_model("vits", device="tpux")
