"""The networks that the page offers, and the one that is loaded."""

from __future__ import annotations

import logging
import threading
from dataclasses import dataclass, replace
from pathlib import Path

from ..checkpoint import CHECKPOINT_DIR, STARTER, choose_weights, public_checkpoints
from ..config import checkpoint_name
from ..pipelines.options import ModelOptions
from ..pipelines.setup import LoadedNetwork, load_network
from .messages import Refusal

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Offer:
    """A model that visitors can choose; demo: whether its weights come with the package."""

    encoder: str
    metric: bool
    checkpoint: Path
    demo: bool


class Networks:
    """Keeps one network loaded at a time. Thread-safe."""

    def __init__(self, options: ModelOptions) -> None:
        there = [] if options.checkpoint else [*reversed(public_checkpoints())]
        largest = next((encoder for encoder, metric in there if metric == options.metric), None)
        encoder, path = choose_weights(options.encoder or largest, options.metric, options.checkpoint)
        self.begin = Offer(encoder, options.metric, path, path == STARTER)
        self.offers = [Offer(e, m, CHECKPOINT_DIR / checkpoint_name(e, m), False) for e, m in there]
        if (encoder, options.metric) not in there:
            self.offers.append(self.begin)
        self._options = options
        self._loaded: LoadedNetwork | None = None
        self._lock = threading.Lock()

    def offer(self, encoder: str, metric: bool) -> Offer:
        """The model of that kind; Refusal if there is none."""
        for offer in self.offers:
            if (offer.encoder, offer.metric) == (encoder, metric):
                return offer
        kind = "metric " if metric else ""
        raise Refusal(f"There is no {kind}checkpoint of that encoder on this server. Choose another quality.")

    def get(self, model: ModelOptions) -> LoadedNetwork:
        """The network for these options, loaded if necessary; other callers wait meanwhile."""
        encoder = model.encoder or self.begin.encoder
        with self._lock:
            loaded = self._loaded
            if loaded is None or (loaded.encoder, loaded.metric) != (encoder, model.metric):
                self._loaded = None  # two might not fit in memory
                path = self.offer(encoder, model.metric).checkpoint
                chosen = replace(self._options, encoder=encoder, metric=model.metric, checkpoint=path)
                loaded = self._loaded = load_network(chosen)
                logger.info("the model %s is loaded", path.name)
        return replace(loaded, input_size=model.input_size or loaded.input_size)
