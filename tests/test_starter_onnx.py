"""Conversion of an exported ViT to encoder weights, on a toy graph and, where it is installed, on the real one."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from starter import dinov2_from_onnx as tool
from video_depth_anything.cli.console import run_script

if TYPE_CHECKING:
    from onnx import ModelProto, NodeProto

onnx = pytest.importorskip("onnx")

Run = Callable[..., str]
WIDTH, HIDDEN, DEPTH, GRID = 12, 48, 2, 3
KINDS = ("weight", "bias")
# Names of ours that keep their structure in the export; the linear layers of a block are `LINEAR`.
EMBEDDINGS = {
    "cls_token": "backbone.embeddings.cls_token",
    "patch_embed.proj": "backbone.embeddings.patch_embeddings.projection",
    "norm": "backbone.layernorm",
}
LINEAR = {"attn.proj": "attention.output.dense", "mlp.fc1": "mlp.fc1", "mlp.fc2": "mlp.fc2"}


def toy_state() -> dict[str, Tensor]:
    """Random weights of a ViT with 2 blocks, named and shaped as the conversion should give them."""
    shapes: dict[str, tuple[int, ...]] = {
        "cls_token": (1, 1, WIDTH),
        "pos_embed": (1, 1 + GRID * GRID, WIDTH),
        "patch_embed.proj.weight": (WIDTH, 3, 14, 14),
        **dict.fromkeys(("patch_embed.proj.bias", "norm.weight", "norm.bias"), (WIDTH,)),
    }
    names = ("attn.qkv", "attn.proj", "mlp.fc1", "mlp.fc2")
    linear = dict(zip(names, ((3 * WIDTH, WIDTH), (WIDTH, WIDTH), (HIDDEN, WIDTH), (WIDTH, HIDDEN)), strict=True))
    for block in (f"blocks.{index}." for index in range(DEPTH)):
        shapes |= {f"{block}{name}.weight": shape for name, shape in linear.items()}
        shapes |= {f"{block}{name}.bias": shape[:1] for name, shape in linear.items()}
        shapes |= {f"{block}{name}": (WIDTH,) for name in ("ls1.gamma", "ls2.gamma")}
        shapes |= {f"{block}norm{i}.{kind}": (WIDTH,) for i in (1, 2) for kind in KINDS}
    generator = torch.Generator().manual_seed(7)
    state = {name: torch.randn(shape, generator=generator) for name, shape in shapes.items()}
    return {f"pretrained.{name}": x for name, x in (state | {"mask_token": torch.zeros(1, WIDTH)}).items()}


class ToyExport:
    """A graph with the names and node layout of the real export, from weights under target names."""

    def __init__(self, state: dict[str, Tensor]) -> None:
        self.state = {name.removeprefix("pretrained."): tensor for name, tensor in state.items()}
        self.tensors: dict[str, Tensor] = {"grid": torch.tensor([1, GRID * GRID, WIDTH])}
        self.nodes: list[NodeProto] = []
        for ours, theirs in EMBEDDINGS.items():
            same = {name: tensor for name, tensor in self.state.items() if name.startswith(ours)}
            self.tensors |= {theirs + name.removeprefix(ours): tensor for name, tensor in same.items()}
        # The decoder's decoys come first: same node types and shapes, but outside the embedding module.
        position = self.state["pos_embed"]
        for module, value in (("decoder", position + 1), ("backbone/embeddings", position)):
            self.tensors |= {f"onnx::Concat_{module}": value[:, :1], f"onnx::Reshape_{module}": value[:, 1:]}
            self.add("Reshape", f"/{module}/Reshape", f"onnx::Reshape_{module}", "grid")
            self.add("Concat", f"/{module}/Concat", f"onnx::Concat_{module}", f"/{module}/Reshape_out", axis=1)
        self.add("Concat", "/backbone/embeddings/Concat_1", EMBEDDINGS["cls_token"], "/decoder/Reshape_out", axis=1)
        for index in range(DEPTH):
            self.add_block(f"blocks.{index}.", f"backbone.encoder.layer.{index}.")

    def add(self, kind: str, name: str, *inputs: str, **attributes: int) -> None:
        self.nodes.append(onnx.helper.make_node(kind, inputs, [name + "_out"], name=name, **attributes))

    def add_block(self, block: str, layer: str) -> None:
        for i in ("1", "2"):
            self.tensors[f"{layer}layer_scale{i}.lambda1"] = self.state[f"{block}ls{i}.gamma"]
            self.tensors |= {f"{layer}norm{i}.{kind}": self.state[f"{block}norm{i}.{kind}"] for kind in KINDS}
        weights, biases = (self.state[f"{block}attn.qkv.{kind}"].chunk(3) for kind in KINDS)
        # The real graph computes key, value, query in this order, between other products without weights.
        for name, part in (("key", 1), ("value", 2), ("query", 0)):
            self.add_linear(f"{layer}attention.attention.{name}", weights[part], biases[part], "tokens")
        path = "/" + layer.replace(".", "/").replace("layer/", "layer.") + "attention/attention/MatMul"
        self.add("MatMul", path, "scores", "tokens")
        for ours, theirs in LINEAR.items():
            weight, bias = (self.state[f"{block}{ours}.{kind}"] for kind in KINDS)
            self.add_linear(layer + theirs, weight, bias, "hidden" if ours == "mlp.fc2" else "tokens")

    def add_linear(self, module: str, weight: Tensor, bias: Tensor, source: str) -> None:
        path = "/" + module.replace(".", "/").replace("layer/", "layer.")
        anonymous = f"onnx::MatMul_{100 + len(self.nodes)}"
        self.tensors |= {anonymous: weight.T, module + ".bias": bias}
        self.add("MatMul", path + "/MatMul", source, anonymous)
        self.add("Add", path + "/Add", module + ".bias", path + "/MatMul_out")

    def model(self) -> ModelProto:
        helper, real = onnx.helper, onnx.TensorProto.FLOAT
        shapes = {"tokens": [5, WIDTH], "hidden": [5, HIDDEN], "scores": [5, 5]}
        inputs = [helper.make_tensor_value_info(name, real, shape) for name, shape in shapes.items()]
        ends = [node.output[0] for node in self.nodes if node.op_type == "Add"]
        outputs = [helper.make_tensor_value_info(name, real, [5, None]) for name in ends]
        stored = [onnx.numpy_helper.from_array(t.contiguous().numpy(), name) for name, t in self.tensors.items()]
        graph = helper.make_graph(self.nodes, "toy", inputs, outputs, stored)
        model: ModelProto = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 14)], ir_version=7)
        return model

    def save(self, folder: Path) -> Path:
        onnx.save(self.model(), folder / "toy.onnx")
        return folder / "toy.onnx"


@pytest.fixture
def export() -> ToyExport:
    return ToyExport(toy_state())


@pytest.fixture
def failure(capsys: pytest.CaptureFixture[str]) -> Run:
    # Runs the tool with its arguments, expects the one line of a user error and returns it.
    def run(*arguments: object) -> str:
        assert run_script(lambda: tool.main([str(item) for item in arguments])) == 2
        out, err = capsys.readouterr()
        assert (out, err.count("\n"), err[-1]) == ("", 1, "\n")
        return err

    return run


def test_weights_come_back_under_their_own_names(export: ToyExport, tmp_path: Path) -> None:
    onnx.checker.check_model(export.model())
    state, converted = toy_state(), tool.encoder_state_dict(export.save(tmp_path))
    assert converted.keys() == state.keys()
    for name, tensor in converted.items():
        assert tensor.dtype == torch.float32 and tensor.is_contiguous()
        assert torch.equal(tensor, state[name]), name


def test_converted_layers_compute_what_the_graph_computes(export: ToyExport, tmp_path: Path) -> None:
    from onnx.reference import ReferenceEvaluator

    converted = tool.encoder_state_dict(export.save(tmp_path))
    generator = torch.Generator().manual_seed(1)
    tokens, hidden, scores = (torch.randn(5, size, generator=generator) for size in (WIDTH, HIDDEN, 5))
    session = ReferenceEvaluator(export.model())
    values = session.run(None, {"tokens": tokens.numpy(), "hidden": hidden.numpy(), "scores": scores.numpy()})
    theirs = dict(zip(session.output_names, values, strict=True))

    def linear(name: str, x: Tensor) -> Tensor:
        return F.linear(x, *(converted[f"pretrained.blocks.1.{name}.{kind}"] for kind in KINDS))

    query, key, value = linear("attn.qkv", tokens).chunk(3, dim=-1)
    ours = {"mlp/fc1": linear("mlp.fc1", tokens), "mlp/fc2": linear("mlp.fc2", hidden)}
    ours |= {"attention/output/dense": linear("attn.proj", tokens), "attention/attention/query": query}
    ours |= {"attention/attention/key": key, "attention/attention/value": value}
    for path, x in ours.items():
        np.testing.assert_allclose(theirs[f"/backbone/encoder/layer.1/{path}/Add_out"], x, rtol=1e-4, atol=1e-5)


def test_half_precision(export: ToyExport, tmp_path: Path) -> None:
    export.tensors = {name: t.half() if t.is_floating_point() else t for name, t in export.tensors.items()}
    converted = tool.encoder_state_dict(export.save(tmp_path))
    assert {tensor.dtype for tensor in converted.values()} == {torch.float32}
    assert torch.equal(converted["pretrained.norm.bias"], toy_state()["pretrained.norm.bias"].half().float())


@pytest.mark.parametrize(
    ("gone", "lacking"),
    [
        ("backbone.layernorm.bias", "backbone.layernorm.bias"),
        ("backbone.embeddings.cls_token", "backbone.embeddings.cls_token"),
        ("/backbone/encoder/layer.0/attention/attention/value/MatMul", "layer.0.attention.attention.value.weight"),
        ("/backbone/encoder/layer.1/mlp/fc2/MatMul", "layer.1.mlp.fc2.weight"),
        ("/backbone/embeddings/Concat", "position embedding of the class token"),
        ("/backbone/embeddings/Reshape", "position embeddings of the patches"),
    ],
)
def test_missing_parameter_is_named(export: ToyExport, gone: str, lacking: str, tmp_path: Path) -> None:
    """Whether the tensor is gone, or the node that tells what an anonymous tensor is."""
    export.tensors.pop(gone, None)
    export.nodes = [item for item in export.nodes if item.name != gone]
    with pytest.raises(ValueError, match=lacking):
        tool.encoder_state_dict(export.save(tmp_path))


def test_weight_on_the_left_is_not_taken_for_one_on_the_right(export: ToyExport, tmp_path: Path) -> None:
    node = next(item for item in export.nodes if item.name.endswith("layer.0/attention/output/dense/MatMul"))
    node.input[:] = list(reversed(node.input))
    with pytest.raises(ValueError, match=r"layer\.0\.attention\.output\.dense\.weight"):
        tool.encoder_state_dict(export.save(tmp_path))


def test_package_not_installed(failure: Run, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(tool, "PACKAGE", "package_that_nobody_has")
    line = failure("--output", tmp_path / "out.pth")
    assert all(part in line for part in ("--onnx", "package_that_nobody_has", tool.REMEDY))
    assert not any(tmp_path.iterdir())


def test_unusable_file(export: ToyExport, failure: Run, tmp_path: Path) -> None:
    path, output = tmp_path / "model.onnx", tmp_path / "out.pth"
    assert f"--onnx {path}" in failure("--onnx", path, "--output", output)
    # The last one is a ViT, but a smaller one than the model's.
    contents = {b"no protobuf\n": "cannot be read as ONNX", b"": "lacks backbone.embeddings.cls_token"}
    for content, reason in {**contents, export.model().SerializeToString(): "keys differ"}.items():
        path.write_bytes(content)
        line = failure("--onnx", path, "--output", output)
        assert all(part in line for part in (f"--onnx {path}", reason, tool.REMEDY))
    assert not output.exists()


def test_unusable_output(failure: Run, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(tool, "starting_checkpoint", lambda _: {"a": torch.ones(1)})
    (tmp_path / "file").touch()
    for output in (tmp_path, tmp_path / "file" / "out.pth", "."):
        assert f"--output {output}: cannot be written" in failure("--onnx", "any", "--output", output)
