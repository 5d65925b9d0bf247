"""What the machine can do: the best rate of a few large kernels, and the bandwidth of copying."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from torch.utils.benchmark import Timer

from benchmark.speed.report import version

# Linear layers as (rows, in, out): the MLPs of vits and vitl over the 2443 tokens of a 518 x 924 frame.
LINEARS = ((2443, 384, 1536), (2443, 1024, 4096))
# 3x3 convolutions as (channels, height, width): the head's fusion path of vits and vitl at that size.
CONVOLUTIONS = ((64, 148, 264), (256, 74, 132))
DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}


class Kernel(NamedTuple):
    """Something whose operations are known, that can be done again and again."""

    name: str
    flops: int
    run: Callable[[], object]


def torch_kernels(precision: str, device: torch.device, side: int) -> Iterator[Kernel]:
    """Linear layers, the same as 1x1 convolutions (which take another path on a CPU), and 3x3 convolutions.

    The last one is a product of two square matrices of that side, which fills a GPU.
    """

    def draw(*shape: int) -> torch.Tensor:
        x = torch.randn(shape, device=device).to(DTYPES[precision])
        return x.to(memory_format=torch.channels_last) if x.dim() == 4 else x

    for rows, width, out in LINEARS:
        flops = 2 * rows * width * out
        yield Kernel(f"linear {rows}x{width}x{out}", flops, partial(F.linear, draw(rows, width), draw(out, width)))
        convolve = partial(F.conv2d, draw(1, width, rows, 1), draw(out, width, 1, 1))
        yield Kernel(f"conv 1x1 {rows}x{width}x{out}", flops, convolve)
    for channels, height, width in CONVOLUTIONS:
        convolve = partial(F.conv2d, draw(1, channels, height, width), draw(channels, channels, 3, 3), padding=1)
        yield Kernel(f"conv 3x3 {channels}x{height}x{width}", 18 * channels * channels * height * width, convolve)
    yield Kernel(f"linear {side}x{side}x{side}", 2 * side**3, partial(F.linear, draw(side, side), draw(side, side)))


def openvino_kernels(precision: str) -> Iterator[Kernel]:
    """The same linear layers and 3x3 convolutions, compiled by OpenVINO for the CPU; none where it is not installed."""
    if version("openvino") is None or precision == "fp16":
        return
    import openvino as ov
    from openvino import opset13 as ops

    rng = np.random.default_rng(0)

    def compiled(shape: tuple[int, ...], layer: Callable[..., ov.Node], **settings: object) -> Callable[[], object]:
        parameter = ops.parameter(shape, np.float32)
        model = ov.Model([layer(parameter, **settings)], [parameter])
        hint = {"INFERENCE_PRECISION_HINT": {"fp32": "f32", "bf16": "bf16"}[precision]}
        request = ov.compile_model(model, "CPU", hint).create_infer_request()
        request.set_input_tensor(ov.Tensor(rng.standard_normal(shape, dtype=np.float32)))
        run: Callable[[], object] = request.infer
        return run

    for rows, width, out in LINEARS:
        weight = ops.constant(rng.standard_normal((width, out), dtype=np.float32))
        run = compiled((rows, width), ops.matmul, data_b=weight, transpose_a=False, transpose_b=False)
        yield Kernel(f"linear {rows}x{width}x{out}", 2 * rows * width * out, run)
    padding = {name: [1, 1] for name in ("strides", "pads_begin", "pads_end", "dilations")}
    for channels, height, width in CONVOLUTIONS:
        filters = ops.constant(rng.standard_normal((channels, channels, 3, 3), dtype=np.float32))
        run = compiled((1, channels, height, width), ops.convolution, filters=filters, **padding)
        yield Kernel(f"conv 3x3 {channels}x{height}x{width}", 18 * channels * channels * height * width, run)


def least_seconds(run: Callable[[], object], seconds: float) -> float:
    """Shortest of the times that a kernel takes while it is repeated for so long; the device is waited for."""
    timer = Timer("run()", globals={"run": run}, num_threads=torch.get_num_threads())
    return min(timer.blocked_autorange(min_run_time=seconds).times)


def copy_bandwidth(mebibytes: int, seconds: float, device: torch.device) -> float:
    """GB/s that are read and written by copying a block much larger than the caches."""
    source = torch.ones(mebibytes << 20, dtype=torch.uint8, device=device)
    target = torch.zeros_like(source)
    return 2e-9 * source.nbytes / least_seconds(lambda: target.copy_(source), seconds)
