"""From options to a network that is ready to compute: the one place where weights, device and backend are chosen."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from ..alignment import DepthMap
from ..backends.load import load_backend
from ..checkpoint import checkpoint_sha256, choose_weights, load_model
from ..device import Execution, choose_execution
from ..network import Network
from ..offline import infer_depth
from ..outputs.options import Provenance
from ..retry import RetryingNetwork
from ..transform import Frame
from ..version import __version__
from ..video_depth_stream import DepthStream
from ..windows import INFER_LEN
from .options import ModelOptions


@dataclass(frozen=True)
class LoadedNetwork:
    """A network with its weights, and how it is to be run. Stateless: any number of videos may share it.

    checkpoint: where the weights came from; None where a program brought them.
    """

    network: Network
    execution: Execution
    encoder: str
    metric: bool
    checkpoint: Path | None
    input_size: int

    def infer(self, frames: Iterable[Frame], check: Callable[[], None] | None = None) -> Iterator[DepthMap]:
        """Depth of a whole video, window by window.

        Args:
            frames: (H, W, 3) uint8 RGB, all of one size.
            check: called between frames; may raise to end the work.

        Yields:
            One (H, W) float32 map per frame.
        """
        return infer_depth(self.network, frames, self.input_size, self.execution, check)

    def provenance(self) -> Provenance:
        """Where the depth comes from, for the outputs to say."""
        software, weights = f"video-depth-anything {__version__}", self.checkpoint
        if weights is None:
            return Provenance(software, "weights of the calling program", "")
        return Provenance(software, weights.name, checkpoint_sha256(weights))

    def new_stream(self) -> DepthStream:
        """Streaming state of a new video."""
        return DepthStream(self.network, self.input_size, self.execution)


def load_network(options: ModelOptions) -> LoadedNetwork:
    """Choose weights, device, precision and backend, and load the network.

    Args:
        options: what the user asked for.

    Raises:
        CheckpointError: if there are no fitting weights. DeviceError: if device, precision or backend are not to be
            had here.
    """
    execution = choose_execution(options.device, options.precision, options.backend, options.compile)
    encoder, checkpoint = choose_weights(options.encoder, options.metric, options.checkpoint)
    if options.frames_at_once is not None:
        execution = replace(execution, frames_at_once=min(options.frames_at_once, INFER_LEN))
    model = load_model(encoder, options.metric, checkpoint, execution.device)
    network = load_backend(model, execution)
    if execution.openvino_device is None:
        network = RetryingNetwork(network, execution.frames_at_once)
    return LoadedNetwork(network, execution, encoder, options.metric, checkpoint, options.input_size)
