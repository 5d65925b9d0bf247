"""Whether a video is long enough for what OpenVINO costs before its first frame."""

from __future__ import annotations

from ..config import PATCH_SIZE, EncoderName, get_config
from ..device import Execution
from ..transform import network_size

# Seconds to prepare an input size, and more for each weight, on two Zen 5 cores: 2.1 for vits, 3.2 for vitl.
SECONDS, SECONDS_PER_WEIGHT = 2.0, 3e-9
# What OpenVINO saves against PyTorch on a CPU. vits on two Zen 4 cores: 57 ms of 58 GFLOP a frame (280 high, bf16), 71
# of 58 (280, fp32), 367 of 281 (518, bf16), 597 of 281 (518, fp32). A faster machine takes from both sides.
SAVED_SECONDS_PER_GFLOP = 1.2e-3


def preparation_seconds(num_weights: int) -> float:
    """About how long OpenVINO takes to convert and compile a network for one input size."""
    return SECONDS + SECONDS_PER_WEIGHT * num_weights


def gflop_per_frame(encoder: EncoderName, size: tuple[int, int]) -> float:
    """Billions of floating-point operations that one frame costs, within 10 %.

    Args:
        size: (height, width) of the network's input.
    """
    config = get_config(encoder)
    tokens = size[0] * size[1] // PATCH_SIZE**2
    linear = 24 * tokens * config.embed_dim**2
    attention = 4 * tokens**2 * config.embed_dim
    head = 4600 * tokens * config.features**2  # fitted to what counting gives for vits and vitl
    return (config.depth * (linear + attention) + head) / 1e9


def prefer_torch(
    num_frames: int | None,
    frame_size: tuple[int, int],
    input_size: int,
    execution: Execution,
    encoder: EncoderName,
) -> bool:
    """Whether PyTorch is done with a video before OpenVINO, which first has to prepare the network for its size.

    Args:
        num_frames: of the video; None if nobody knows, which counts as many.
        frame_size: (height, width) of its frames.
        input_size: shorter side of the network's input in pixels.
        execution: as `choose_execution` gives it for the backend "auto".
    """
    if num_frames is None or execution.openvino_device != "CPU":
        return False
    size = network_size(*frame_size, input_size)
    saved = num_frames * gflop_per_frame(encoder, size) * SAVED_SECONDS_PER_GFLOP
    return saved < preparation_seconds(_NUM_WEIGHTS[encoder])


_NUM_WEIGHTS: dict[EncoderName, int] = {"vits": 29_000_000, "vitb": 114_000_000, "vitl": 384_000_000}
