"""Half weights and compiled pieces give the depth of the network they were made from."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from recipes import synthetic_frames

from video_depth_anything import DepthStream, Execution, choose_execution, infer_depth, load_backend
from video_depth_anything.backends.compiled import CompiledNetwork
from video_depth_anything.backends.load import with_half_weights
from video_depth_anything.errors import DeviceError
from video_depth_anything.video_depth import VideoDepthAnything

CPU = torch.device("cpu")


def test_half_weights_change_nothing_but_the_casts(golden_model: VideoDepthAnything) -> None:
    execution = Execution(CPU, torch.bfloat16, 1)
    half = with_half_weights(golden_model, torch.bfloat16)
    types = {key: value.dtype for key, value in half.state_dict().items()}
    assert types["pretrained.blocks.0.attn.qkv.weight"] == torch.bfloat16
    assert types["head.motion_modules.3.temporal_transformer.proj_in.bias"] == torch.bfloat16
    for exact in ("head.scratch.output_conv2.0.weight", "pretrained.pos_embed", "pretrained.blocks.0.ls1.gamma"):
        assert types[exact] == torch.float32
    assert {value.dtype for value in golden_model.state_dict().values()} == {torch.float32}
    frames = synthetic_frames(3, 28, 42, seed=3)
    expected = list(infer_depth(golden_model, frames, 28, execution))
    found = list(infer_depth(half, frames, 28, execution))
    np.testing.assert_array_equal(np.stack(found), np.stack(expected))


def test_pytorch_in_float32_is_the_network_itself(golden_model: VideoDepthAnything) -> None:
    assert load_backend(golden_model, choose_execution("cpu", "fp32", "torch")) is golden_model


@pytest.mark.slow
def test_compiled_pieces_give_the_same_depth(golden_model: VideoDepthAnything) -> None:
    """Captured as for any compiler, but run as they are: generating code for them takes minutes."""
    execution = Execution(CPU, None, 1)
    network = CompiledNetwork(golden_model, compiler="eager")
    network.pixels_at_once = 64
    frames = synthetic_frames(4, 28, 42, seed=4)
    expected = np.stack(list(infer_depth(golden_model, frames, 28, execution)))
    found = np.stack(list(infer_depth(network, frames, 28, execution)))
    assert np.abs(found - expected).max() <= 5e-5 * np.ptp(expected)
    stream, plain = DepthStream(network, 28, execution), DepthStream(golden_model, 28, execution)
    for frame in frames:
        assert np.abs(stream.step(frame) - plain.step(frame)).max() <= 5e-5 * np.ptp(expected)


def test_compiling_is_pytorchs() -> None:
    execution = choose_execution("cpu", backend="auto", compile=True)
    assert execution.compile
    assert execution.openvino_device is None
    with pytest.raises(DeviceError, match="--compile is for PyTorch"):
        choose_execution("cpu", backend="openvino", compile=True)
