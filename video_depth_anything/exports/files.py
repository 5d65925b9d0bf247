"""Exports ONNX files with PyTorch's exporter, and converts them to OpenVINO's format."""

from __future__ import annotations

import logging
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.export import Dim

from ..backends.load import with_half_weights
from ..config import PATCH_SIZE
from ..device import openvino_core
from ..errors import UsageError
from ..video_depth import VideoDepthAnything
from ..windows import INFER_LEN
from .modules import StepModule, WindowModule

OPSET = 18
IR_VERSION = 9
ENDINGS = {"onnx": ".onnx", "openvino": ".xml"}
# Protocol buffers are limited to 2 GiB; larger weights are stored in a separate file.
MAX_WEIGHTS_INSIDE = 3 << 29


def export_window(
    model: VideoDepthAnything, path: Path, half: bool = False, size: tuple[int, int] = (518, 924)
) -> None:
    """Write the network for windows: `frames` (1, T, 3, H, W) float32 to `depth` (1, T, H, W) float32.

    T is up to 32, H and W are multiples of 14 from 28 on. They are dynamic in an ONNX file. An OpenVINO file is fixed
    to 32 frames of one size, and can be reshaped before it is compiled: OpenVINO 2026.4 computed wrong depth with
    dynamic shapes.

    Args:
        model: with its weights, on the CPU.
        path: of the file, .onnx or .xml for OpenVINO; large models, and OpenVINO's, add one beside it.
        half: compute in float16, except for the parts that are always float32.
        size: (height, width) of an OpenVINO file, multiples of 14.

    Raises:
        UsageError: if a package that exporting needs is missing.
    """
    lengths = {1: Dim("frames_of_window", min=1, max=INFER_LEN)}
    sides = {3: PATCH_SIZE * Dim("patches_high", min=2), 4: PATCH_SIZE * Dim("patches_wide", min=2)}
    # All sides differ, so that the exporter does not treat two as equal.
    example = (torch.zeros(1, 3, 3, 4 * PATCH_SIZE, 5 * PATCH_SIZE),)
    window = WindowModule(_prepared(model, half))
    _export(window, example, ["frames"], ["depth"], path, half, lengths | sides, (1, INFER_LEN, 3, *size))


def export_step(model: VideoDepthAnything, size: tuple[int, int], path: Path, half: bool = False) -> None:
    """Write streaming's step for one input size (height, width); `StepModule` describes inputs and outputs.

    Names: `image`, `frame`, `keys_0`, `values_0` to `keys_7`, `values_7`; `depth`, `new_keys_0` and so on. Other
    arguments and errors are those of `export_window`; with `half` the state is float16.
    """
    step = StepModule(_prepared(model, half), size)
    shapes = step.state_shapes()
    state = [torch.zeros(shape, dtype=torch.float16 if half else torch.float32) for shape in shapes]
    names = [f"{kind}_{index}" for index in range(len(shapes) // 2) for kind in ("keys", "values")]
    # The exporter might treat 0 and 1 as constants.
    example = (torch.zeros(1, 3, *size), torch.tensor(2), *state)
    _export(step, example, ["image", "frame", *names], ["depth", *(f"new_{x}" for x in names)], path, half)


def _prepared(model: VideoDepthAnything, half: bool) -> VideoDepthAnything:
    if not half:
        return model
    model = with_half_weights(model, torch.float16)
    for module in model.modules():
        if isinstance(module, (nn.LayerNorm, nn.GroupNorm)):
            # PyTorch normalises float16 with float32 gains; ONNX requires one type.
            module.register_forward_pre_hook(lambda _, inputs: (inputs[0].float(),))
    return model


def _export(
    module: nn.Module,
    example: Sequence[Tensor],
    inputs: Sequence[str],
    outputs: Sequence[str],
    path: Path,
    half: bool,
    dynamic: dict[int, Any] | None = None,
    fixed: Sequence[int] | None = None,
) -> None:
    _check_packages(path)
    autocast = torch.autocast("cpu", dtype=torch.float16, enabled=half, cache_enabled=False)
    with _quiet(), torch.no_grad(), autocast:
        program = torch.onnx.export(
            module.eval(),
            tuple(example),
            input_names=list(inputs),
            output_names=list(outputs),
            opset_version=OPSET,
            dynamic_shapes=(dynamic,) if dynamic else None,
            dynamo=True,
            optimize=dynamic is None,
            verbose=False,
        )
    assert program is not None
    # No operation needs the newer format, which requires ONNX Runtime 1.18.
    program.model.ir_version = IR_VERSION
    path.parent.mkdir(parents=True, exist_ok=True)
    weights = sum(x.nbytes for x in module.state_dict().values())
    # All files appear together, when they are complete.
    with tempfile.TemporaryDirectory(prefix=".partial_", dir=path.parent) as folder:
        whole = Path(folder) / path.with_suffix(".onnx").name
        program.save(whole, external_data=weights > MAX_WEIGHTS_INSIDE)
        if path.suffix == ENDINGS["openvino"]:
            whole = _to_openvino(whole, path.name, half, fixed)
        for file in whole.parent.iterdir():
            if file.is_file():
                shutil.move(file, path.parent / file.name)


def _to_openvino(source: Path, name: str, half: bool, fixed: Sequence[int] | None) -> Path:
    """Convert an ONNX file, into a folder beside it; `fixed` is the shape of its only input."""
    import openvino

    model = openvino_core().read_model(source)
    if fixed:
        model.reshape(list(fixed))
    target = source.parent / "openvino" / name
    target.parent.mkdir()
    openvino.save_model(model, target, compress_to_fp16=half)
    return target


def _check_packages(path: Path) -> None:
    extra = "export,openvino" if path.suffix == ENDINGS["openvino"] else "export"
    try:
        import onnxscript  # noqa: F401

        if path.suffix == ENDINGS["openvino"]:
            import openvino  # noqa: F401
    except ImportError as error:
        raise UsageError(f"exporting needs {error.name}; run `pip install 'video-depth-anything[{extra}]'`") from error


@contextmanager
def _quiet() -> Iterator[None]:
    """Limit the exporter's log, which is meant for its developers, to errors."""
    loggers = [logging.getLogger(name) for name in ("torch.onnx", "onnxscript", "onnx_ir")]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        for logger, level in zip(loggers, levels):
            logger.setLevel(level)
