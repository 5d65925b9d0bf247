"""Choice of device and precision, and that both pipelines' halves stay on a device that this machine may not have."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import pytest
import torch
from torch._subclasses.fake_tensor import FakeTensorMode

from video_depth_anything.device import Execution, choose_execution, cpu_has, cpu_has_bf16, resolve_precision
from video_depth_anything.errors import DeviceError
from video_depth_anything.offline import resize_depth
from video_depth_anything.transform import preprocess_tensor
from video_depth_anything.video_depth import VideoDepthAnything

CPU = torch.device("cpu")


def test_precisions() -> None:
    assert resolve_precision("fp32", CPU) is None
    assert resolve_precision("fp16", CPU) == torch.float16
    assert resolve_precision("bf16", CPU) == torch.bfloat16
    assert resolve_precision("auto", CPU) == (torch.bfloat16 if cpu_has_bf16() else None)
    assert resolve_precision("auto", torch.device("cuda")) == torch.float16
    assert resolve_precision("auto", torch.device("mps")) is None
    with pytest.raises(DeviceError, match="unknown precision 'fp8'; use one of auto, fp32, fp16, bf16"):
        resolve_precision("fp8", CPU)


def test_a_limited_instruction_set_has_no_bf16(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("ONEDNN_MAX_CPU_ISA", raising=False)
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {"avx512_bf16": True, "avx512_vnni": True})
    assert resolve_precision("auto", CPU) == torch.bfloat16 and cpu_has("avx512_vnni")
    monkeypatch.setenv("ONEDNN_MAX_CPU_ISA", "AVX2")
    assert resolve_precision("auto", CPU) is None and not cpu_has("avx512_vnni")


def test_auto_takes_what_is_there() -> None:
    expected = "cuda" if torch.cuda.is_available() else "mps" if torch.backends.mps.is_available() else "cpu"
    assert choose_execution().device.type == expected


@pytest.mark.skipif(torch.cuda.is_available(), reason="here is a GPU")
def test_missing_gpu_is_said() -> None:
    with pytest.raises(DeviceError, match="device cuda is not available"):
        choose_execution("cuda")


@contextmanager
def forced_autocast(dtype: torch.dtype | None) -> Iterator[None]:
    """torch.autocast switches itself off where there is no GPU; its switches work all the same."""
    before = torch.is_autocast_enabled("cuda"), torch.get_autocast_dtype("cuda")
    torch.set_autocast_enabled("cuda", dtype is not None)
    torch.set_autocast_dtype("cuda", dtype or before[1])
    try:
        yield
    finally:
        torch.set_autocast_enabled("cuda", before[0])
        torch.set_autocast_dtype("cuda", before[1])


@pytest.mark.parametrize("dtype", [None, torch.float16, torch.bfloat16])
def test_nothing_leaves_the_device(dtype: torch.dtype | None) -> None:
    """Fake tensors carry device and type without a GPU: an operation across devices fails here as it would there."""
    execution = Execution(torch.device("cuda"), dtype, 3)
    with torch.device("meta"):
        model = VideoDepthAnything("vits").eval()
    with FakeTensorMode(allow_non_fake_inputs=True) as mode, torch.no_grad():
        weights = {key: torch.empty(value.shape, device="cuda") for key, value in model.state_dict().items()}
        model.load_state_dict(weights, assign=True)
        mode.allow_non_fake_inputs = False
        images = preprocess_tensor(torch.empty(4, 48, 72, 3, dtype=torch.uint8, device="cuda"), (56, 84))
        assert (images.device.type, images.dtype, images.shape) == ("cuda", torch.float32, (4, 3, 56, 84))
        with forced_autocast(dtype):
            features = model.encode(images)
            depths = list(model.decode(features.split_frames(), range(4), execution.frames_at_once))
            resized = resize_depth(depths[0], (48, 72))
    assert {(x.device.type, x.dtype) for x in features} == {("cuda", dtype or torch.float32)}
    assert [tuple(depth.shape) for depth in depths] == [(1, 3, 56, 84), (1, 1, 56, 84)]
    assert resized.shape == (1, 3, 48, 72)
    for depth in [*depths, resized]:
        assert (depth.device.type, depth.dtype) == ("cuda", torch.float32)


def test_shapes_of_the_largest_model_without_memory() -> None:
    with torch.device("meta"), torch.inference_mode():
        model = VideoDepthAnything("vitl").eval()
        depth = model(torch.empty(1, 2, 3, 518, 924))
    assert depth.shape == (1, 2, 518, 924)


def test_small_frames_go_through_a_cpu_together() -> None:
    sizes = (14, 56, 98, 140, 280, 518)
    assert [choose_execution("cpu", input_size=size).frames_at_once for size in sizes] == [8, 8, 8, 4, 1, 1]
    assert choose_execution("cpu").frames_at_once == 1
