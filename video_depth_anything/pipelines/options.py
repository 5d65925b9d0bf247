"""The options of a run, as data: made by the command line, the page and `vda.infer`; compared by `--resume`."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from ..config import BACKENDS, DEVICES, ENCODERS, PRECISIONS
from ..errors import UsageError
from ..options import BadValue, input_size, option, positive_int, settings_of
from ..outputs.options import CameraOptions, OutputOptions
from ..video.options import USUAL_LIMITS, Limits, Selection

# Shorter side of the network's input: the training size of the public checkpoints, and the demo model's best size.
INPUT_SIZE, DEMO_INPUT_SIZE = 518, 280


def device_name(text: str) -> str:
    """Parse a device, with its number if there are several."""
    if text.partition(":")[0] not in DEVICES:
        raise BadValue(f"unknown device {text!r}; use one of {', '.join(DEVICES)}")
    return text


@dataclass(frozen=True)
class ModelOptions:
    """Which network, and how it is computed.

    encoder: None chooses among the available weights. checkpoint: a weights file instead of a public one. input_size:
    None chooses by the checkpoint. frames_at_once: None uses the device's default.
    """

    encoder: str | None = option(
        None,
        "default: that of --checkpoint, or the largest one available",
        choices=ENCODERS,
    )
    metric: bool = option(False, "metric weights: depth in metres, point clouds")
    checkpoint: Path | None = option(None, "weights file; default: one in checkpoints/", Path, metavar="FILE")
    input_size: int | None = option(
        None,
        f"shorter side of the network's input; demo model: {DEMO_INPUT_SIZE} (default: {INPUT_SIZE})",
        input_size,
        metavar="PIXELS",
    )
    device: str = option(
        "auto",
        "cuda, cuda:1, mps, cpu; with OpenVINO intel-gpu, intel-npu",
        device_name,
        metavar="DEVICE",
    )
    backend: str = option(
        "auto",
        "auto: OpenVINO on a CPU if it is installed, else PyTorch",
        choices=BACKENDS,
    )
    precision: str = option(
        "auto",
        "auto: fp16 on CUDA, bf16 on CPUs that have it, else fp32; int8: faster on a CPU, less exact",
        choices=PRECISIONS,
    )
    compile: bool = option(False, "compile with PyTorch; pays off for long videos")
    frames_at_once: int | None = option(
        None,
        "frames computed together, up to 32; fewer need less memory",
        positive_int,
        metavar="N",
        compared=False,
    )


@dataclass(frozen=True)
class StreamingOptions:
    """Options of streaming only. raw: pixel format of raw video on standard output."""

    realtime: bool = option(
        False, "always process the latest frame; frames that arrive while the model is busy are skipped and counted"
    )
    show: bool = option(False, "show source and depth in a window; q ends")
    raw: Literal["gray16le", "rgb24"] | None = option(
        None,
        "write raw video to standard output: 16-bit depth, or colours",
        name="stdout",
        choices=("gray16le", "rgb24"),
    )
    times: Path | None = option(
        None,
        "write the time of each frame on standard output to this new file or pipe, one line per frame",
        Path,
        name="stdout_times",
        metavar="FILE",
    )
    latency: bool = option(False, "print the latency in milliseconds at the end")

    def __post_init__(self) -> None:
        if self.times is not None and self.raw is None:
            raise UsageError("--stdout_times needs --stdout")


@dataclass(frozen=True)
class RunOptions:
    """All options of a run."""

    model: ModelOptions = ModelOptions()
    selection: Selection = Selection()
    limits: Limits = USUAL_LIMITS
    outputs: OutputOptions = OutputOptions()
    camera: CameraOptions = CameraOptions()
    reset_on_cut: bool = option(False, "start over at each scene cut", group="input")
    fast: bool = option(
        False,
        "compute depth at 3/4 of --input_size, which nearly halves the network's time; take its edges from the frame",
        group="model",
    )
    resume: bool = option(False, "skip inputs finished with the same settings", group="output", compared=False)

    def settings(self, streaming: StreamingOptions | None = None) -> dict[str, str]:
        """All settings that change the outputs, as comparable strings, including the command."""
        if streaming is None:
            return {"command": "run", **settings_of(self)}
        return {"command": "stream", **settings_of(self), **settings_of(streaming)}
