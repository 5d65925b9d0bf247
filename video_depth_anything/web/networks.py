"""The networks that the page offers, and the one that is loaded."""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from ..checkpoint import CHECKPOINT_DIR, STARTER, choose_weights, public_checkpoints
from ..config import checkpoint_name
from ..outputs.options import Provenance
from ..pipelines.options import ModelOptions
from ..pipelines.setup import LoadedNetwork, load_network
from ..video.frame import DepthMap, Image
from ..video_depth_stream import DepthStream

logger = logging.getLogger(__name__)

# Encoder, and whether the weights are metric.
NetworkName = tuple[str, bool]


@dataclass(frozen=True)
class Offer:
    """A network that may be chosen, and its weights; demo: they are those that come with the package."""

    encoder: str
    metric: bool
    checkpoint: Path
    demo: bool

    @property
    def name(self) -> NetworkName:
        """What it is called between the page's parts."""
        return self.encoder, self.metric


class Networks:
    """Loads one network at a time, and keeps it. Safe to use from several threads.

    Args:
        options: what the page was told to begin with.

    Attributes:
        offers: what may be chosen, the largest encoder first.
        begin: what the page begins with.
        failure: why the network that it begins with cannot be used; None as long as nothing is known against it.

    Raises:
        CheckpointError: if there are no weights, or not those asked for.
    """

    def __init__(self, options: ModelOptions) -> None:
        there = [] if options.checkpoint else [*reversed(public_checkpoints())]
        largest = next((encoder for encoder, metric in there if metric == options.metric), None)
        encoder, path = choose_weights(options.encoder or largest, options.metric, options.checkpoint)
        self.begin = Offer(encoder, options.metric, path, path == STARTER)
        offers = [Offer(e, m, CHECKPOINT_DIR / checkpoint_name(e, m), False) for e, m in there]
        self.offers = offers if self.begin.name in there else [*offers, self.begin]
        self.failure: BaseException | None = None
        self._options = options
        self._loaded: LoadedNetwork | None = None
        self._provenances: dict[NetworkName, Provenance] = {}
        self._lock = threading.Lock()

    def load_ahead(self) -> threading.Thread:
        """Load what the page begins with, in a thread of its own, which is to be waited for at the end."""

        def load() -> None:
            try:
                self.get(self.begin.name)
                logger.info("the model %s is loaded", self.begin.checkpoint.name)
            except BaseException as error:  # the main thread raises it again
                self.failure = error

        thread = threading.Thread(target=load, name="load")
        thread.start()
        return thread

    def get(self, name: NetworkName) -> LoadedNetwork:
        """The network of that name, loaded if need be; whoever comes meanwhile waits.

        Raises:
            CheckpointError, DeviceError: if it cannot be used.
        """
        with self._lock:
            loaded = self._loaded
            if loaded is None or (loaded.encoder, loaded.metric) != name:
                self._loaded = None  # two might not fit in memory
                path = next(offer.checkpoint for offer in self.offers if offer.name == name)
                chosen = replace(self._options, encoder=name[0], metric=name[1], checkpoint=path)
                loaded = self._loaded = load_network(chosen)
            return loaded

    def infer(self, model: ModelOptions, frames: Iterator[Image]) -> Iterator[DepthMap]:
        """Depth of a job's frames."""
        loaded = self.get((model.encoder or self.begin.encoder, model.metric))
        return replace(loaded, input_size=model.input_size or loaded.input_size).infer(frames)

    def provenance(self, model: ModelOptions) -> Provenance:
        """Where a job's depth comes from; waits until the network is loaded."""
        name = (model.encoder or self.begin.encoder, model.metric)
        found = self._provenances.get(name)
        if found is None:  # reading the weights once more takes seconds
            found = self._provenances[name] = self.get(name).provenance()
        return found

    def new_stream(self, name: NetworkName, input_size: int) -> DepthStream:
        """Streaming state of a new camera."""
        return replace(self.get(name), input_size=input_size).new_stream()
