"""From options to a loaded network: the only place where weights, device and backend are chosen."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from ..alignment import DepthMap
from ..backends.load import load_backend
from ..checkpoint import STARTER, choose_weights, load_checkpoint
from ..config import EncoderName
from ..device import Execution, choose_execution, frames_for_cpu
from ..network import Network
from ..offline import infer_depth
from ..retry import RetryingNetwork
from ..transform import Image
from ..version import __version__
from ..video.samples import sample_frames
from ..video_depth_stream import DepthStream
from ..weights import EXAMPLE, bundled
from ..windows import INFER_LEN
from .options import DEMO_INPUT_SIZE, INPUT_SIZE, ModelOptions, RunOptions, StreamingOptions

logger = logging.getLogger(__name__)

# Share of the input size that --fast uses.
FAST_SHARE = 0.75
# Calibration frames of int8: more did not improve it.
CALIBRATION_FRAMES = 16


@dataclass(frozen=True)
class LoadedNetwork:
    """A network with its weights, and how to run it. Stateless: any number of videos may share it.

    Attributes:
        network: computes depth.
        execution: device, backend and precision.
        encoder: "vits", "vitb" or "vitl".
        metric: whether depth is in metres.
        checkpoint: where the weights came from; None where a program brought them.
        input_size: shorter side of the network's input in pixels.
        sha256: of the checkpoint's file.
    """

    network: Network
    execution: Execution
    encoder: EncoderName
    metric: bool
    checkpoint: Path | None
    input_size: int
    sha256: str = ""

    def infer(self, frames: Iterable[Image], check: Callable[[], None] | None = None) -> Iterator[DepthMap]:
        """Compute depth of a whole video, window by window.

        Args:
            frames: (H, W, 3) uint8 RGB, all of one size.
            check: called between frames; may raise to end the work.

        Yields:
            One (H, W) float32 map per frame.
        """
        return infer_depth(self.network, frames, self.input_size, self.execution, check)

    def settings(self, options: RunOptions, streaming: StreamingOptions | None = None) -> dict[str, str]:
        """`RunOptions.settings` with all choices made; weights are compared by content, not by name."""
        model = replace(options.model, encoder=self.encoder, metric=self.metric, input_size=self.input_size)
        return {**replace(options, model=model).settings(streaming), "checkpoint": self.sha256}

    def provenance(self) -> dict[str, str]:
        """Origin of the depth, as written to outputs."""
        weights = "weights of the calling program" if self.checkpoint is None else self.checkpoint.name
        software = f"video-depth-anything {__version__}"
        return {"software": software, "checkpoint": weights, "checkpoint_sha256": self.sha256}

    def at_fast_size(self) -> LoadedNetwork:
        """The same network for `--fast`, with a smaller input."""
        return replace(self, input_size=round(FAST_SHARE * self.input_size))

    def new_stream(self) -> DepthStream:
        """Make the streaming state of a new video."""
        return DepthStream(self.network, self.input_size, self.execution)


def load_network(options: ModelOptions, videos: Sequence[str] = ()) -> LoadedNetwork:
    """Choose weights, device, precision and backend, and load the network.

    Args:
        options: the options of the model.
        videos: typical input files; int8 is calibrated on them and on the bundled clip, once per file of weights.

    Raises:
        CheckpointError: if no suitable weights are found. DeviceError: if device, precision or backend are not
            available here.
    """
    # Unsupported options are rejected before weights are chosen and logged.
    execution = choose_execution(options.device, options.precision, options.backend, options.compile)
    encoder, checkpoint = choose_weights(options.encoder, options.metric, options.checkpoint)
    input_size = options.input_size or usual_input_size(checkpoint)
    if options.input_size is None and checkpoint == STARTER:
        logger.info("using --input_size %d, which suits the demo model best", input_size)
    at_once = options.frames_at_once
    if at_once is None and execution.openvino_device is None and execution.device.type == "cpu":
        at_once = frames_for_cpu(input_size)
    if at_once is not None:
        execution = replace(execution, frames_at_once=min(at_once, INFER_LEN))
    model, sha256 = load_checkpoint(encoder, options.metric, checkpoint, "cpu")
    network = load_backend(model, execution, lambda: calibration_frames(videos))
    if execution.openvino_device is None:
        network = RetryingNetwork(network, execution.frames_at_once)
    return LoadedNetwork(network, execution, encoder, options.metric, checkpoint, input_size, sha256)


def usual_input_size(checkpoint: Path) -> int:
    """The best input size for these weights."""
    return DEMO_INPUT_SIZE if checkpoint == STARTER else INPUT_SIZE


def calibration_frames(videos: Sequence[str] = ()) -> Iterator[Image]:
    """Calibration frames of int8, (H, W, 3) uint8: half from the bundled clip, the rest from videos."""
    half = CALIBRATION_FRAMES // 2
    first = videos[:half]
    yield from sample_frames(bundled(EXAMPLE), half if first else CALIBRATION_FRAMES)
    for video in first:
        yield from sample_frames(video, half // len(first))
