"""Short videos are PyTorch's, long ones OpenVINO's; what a frame costs is what counting its operations gives."""

from __future__ import annotations

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from video_depth_anything import Execution, VideoDepthAnything
from video_depth_anything.backends.choice import gflop_per_frame, prefer_torch
from video_depth_anything.config import EncoderName

OPENVINO = Execution(torch.device("cpu"), torch.bfloat16, 2, "CPU")


@pytest.mark.parametrize("encoder", ["vits", "vitb", "vitl"])
@pytest.mark.parametrize("size", [(98, 98), (280, 504), (518, 924)])
def test_cost_of_a_frame(encoder: EncoderName, size: tuple[int, int]) -> None:
    with torch.device("meta"):
        model = VideoDepthAnything(encoder)
        frames = torch.empty(1, 2, 3, *size)
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        model(frames)
    assert gflop_per_frame(encoder, size) == pytest.approx(counter.get_total_flops() / 2e9, rel=0.1)


def test_short_videos_are_pytorchs() -> None:
    assert prefer_torch(40, (200, 200), 98, OPENVINO, "vits")
    assert prefer_torch(1, (540, 960), 280, OPENVINO, "vitl")
    assert not prefer_torch(44, (540, 960), 518, OPENVINO, "vits")
    assert not prefer_torch(100_000, (200, 200), 98, OPENVINO, "vits")


def test_a_frame_of_a_large_network_pays_for_more() -> None:
    shortest = {
        encoder: next(n for n in range(1, 1000) if not prefer_torch(n, (540, 960), 280, OPENVINO, encoder))
        for encoder in ("vits", "vitb", "vitl")
    }
    assert shortest["vits"] > shortest["vitb"] > shortest["vitl"]


def test_where_there_is_no_choice() -> None:
    assert not prefer_torch(None, (540, 960), 280, OPENVINO, "vits")  # nobody knows how long it is
    assert not prefer_torch(1, (540, 960), 280, Execution(torch.device("cpu"), None, 1, "GPU"), "vits")
    assert not prefer_torch(1, (540, 960), 280, Execution(torch.device("cuda"), None, 8), "vits")
