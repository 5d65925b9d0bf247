"""What a run is told, as data: the command line and the page construct it, `--resume` compares it."""

from __future__ import annotations

from dataclasses import dataclass, fields, is_dataclass
from pathlib import Path
from typing import Literal

from ..outputs.options import CameraOptions, OutputOptions
from ..video.containers import USUAL_LIMITS, Limits
from ..video.source import Selection


@dataclass(frozen=True)
class ModelOptions:
    """Which network, and how it is computed.

    encoder: "vits", "vitb" or "vitl"; None chooses among those that are there. metric: weights that predict metres.
    checkpoint: a weights file instead of the public one. input_size: shorter side of the network's input in pixels.
    device, backend, precision: names of `config.DEVICES`, `BACKENDS` and `PRECISIONS`. compile: let PyTorch compile.
    frames_at_once: how many frames are computed together offline, at least 1; None takes the device's usual number.
    """

    encoder: str | None = None
    metric: bool = False
    checkpoint: Path | None = None
    input_size: int = 518
    device: str = "auto"
    backend: str = "auto"
    precision: str = "auto"
    compile: bool = False
    frames_at_once: int | None = None


@dataclass(frozen=True)
class StreamingOptions:
    """What only streaming has.

    realtime: always process the latest frame, and skip those that arrive while the model is busy. show: source and
    depth in a window. raw: pixel format of raw video on standard output; None for none. times: file or pipe that takes
    the time of each frame on standard output. latency: say how long frames took.
    """

    realtime: bool = False
    show: bool = False
    raw: Literal["gray16le", "rgb24"] | None = None
    times: Path | None = None
    latency: bool = False


@dataclass(frozen=True)
class RunOptions:
    """Everything that a run of several inputs is told, but the inputs.

    reset_on_cut: begin anew where the scene changes. resume: skip inputs that were finished with the same settings.
    """

    model: ModelOptions = ModelOptions()
    selection: Selection = Selection()  # noqa: RUF009 - immutable
    outputs: OutputOptions = OutputOptions()  # noqa: RUF009 - immutable
    camera: CameraOptions = CameraOptions()  # noqa: RUF009 - immutable
    limits: Limits = USUAL_LIMITS
    reset_on_cut: bool = False
    resume: bool = False

    def settings(self) -> dict[str, str]:
        """All that changes what is written, as texts that can be compared."""
        found = flattened(self)
        for name in ("outputs.folder", "outputs.overwrite", "resume", "model.frames_at_once"):
            del found[name]
        for name in flattened(self.limits, "limits."):
            del found[name]
        return found


def flattened(options: object, prefix: str = "") -> dict[str, str]:
    """The fields of nested dataclasses by their dotted names, as texts."""
    found: dict[str, str] = {}
    for field in fields(options):  # type: ignore[arg-type]
        value = getattr(options, field.name)
        if is_dataclass(value):
            found |= flattened(value, f"{prefix}{field.name}.")
        else:
            found[f"{prefix}{field.name}"] = str(value)
    return found
