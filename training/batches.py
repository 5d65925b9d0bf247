"""The order of training samples: a pure function of the seed and of what the source held when an epoch began."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, Sampler

from training.processes import ProcessGroup
from training.sources import Sample, Source
from video_depth_anything.errors import InputError


@dataclass(frozen=True)
class Position:
    """Where training stands: the epoch, how many samples of it are used, how many of all, and the epoch's parts."""

    epoch: int = -1
    offset: int = 0
    used: int = 0
    parts: tuple[str, ...] = ()


class Request(NamedTuple):
    """One process's share of a batch: part and number of each sample, its place among all samples; what follows."""

    items: tuple[tuple[str, int], ...]
    first: int
    after: Position


class Batch(NamedTuple):
    """As `Sample`, with a leading dimension of clips; `after` is the position once it has been trained on."""

    inputs: tuple[Tensor, ...]
    disparity: Tensor
    valid: Tensor
    after: Position


class SampleOrder(Sampler[Request]):
    """Requests from a position on, without end.

    The source is listed anew when an epoch begins, so what was added since takes part; an epoch is one random order of
    all samples. What an epoch leaves over for a whole batch is not used, but for epochs smaller than a batch, which are
    repeated to fill it.

    Args:
        source: what is shown.
        seed: decides the order.
        batch_size: clips of all processes together in a step.
        group: this process among those that share a batch.
        start: where to begin.
    """

    def __init__(self, source: Source, seed: int, batch_size: int, group: ProcessGroup, start: Position) -> None:
        self._source = source
        self._seed = seed
        self._batch_size = batch_size
        self._group = group
        self._start = start

    def __iter__(self) -> Iterator[Request]:
        position = self._start
        order = self._order(position) if position.parts else []
        while True:
            if position.offset + self._batch_size > len(order):
                parts = tuple(self._group.agree(self._source.parts()))
                if not parts:
                    raise InputError("there is nothing to train on: the cache or folder holds no clips yet")
                position = Position(position.epoch + 1, 0, position.used, parts)
                order = self._order(position)
            after = replace(position, offset=position.offset + self._batch_size, used=position.used + self._batch_size)
            share = self._batch_size // self._group.size
            first = position.offset + self._group.rank * share
            yield Request(tuple(order[first : first + share]), position.used + self._group.rank * share, after)
            position = after

    def _order(self, position: Position) -> list[tuple[str, int]]:
        items = [(part, number) for part in position.parts for number in range(self._source.samples(part))]
        rng = np.random.default_rng([self._seed, position.epoch])
        shuffled = [items[i] for i in rng.permutation(len(items))]
        while shuffled and len(shuffled) < self._batch_size:
            shuffled += [items[i] for i in rng.permutation(len(items))]
        return shuffled


class _Batches(Dataset[Batch]):
    def __init__(self, source: Source, seed: int) -> None:
        self._source = source
        self._seed = seed

    def __getitem__(self, request: Request) -> Batch:
        samples = []
        for offset, (part, number) in enumerate(request.items):
            # By its place among all samples: what a worker made before does not matter.
            rng = np.random.default_rng([self._seed, 1, request.first + offset])
            samples.append(self._source.sample(part, number, rng))
        return join(samples, request.after)


def join(samples: list[Sample], after: Position) -> Batch:
    """Samples of one size as a batch."""
    inputs = tuple(torch.stack(maps) for maps in zip(*(s.inputs for s in samples)))
    return Batch(inputs, torch.stack([s.disparity for s in samples]), torch.stack([s.valid for s in samples]), after)


def _one_thread(_: int) -> None:
    torch.set_num_threads(1)


def batches(
    source: Source, seed: int, batch_size: int, group: ProcessGroup, start: Position, workers: int, pin: bool
) -> Iterator[Batch]:
    """Batches from a position on, without end, made by `workers` processes ahead of time (0: in this one)."""
    order = SampleOrder(source, seed, batch_size, group, start)
    loader = DataLoader(
        _Batches(source, seed),
        batch_size=None,
        sampler=order,
        num_workers=workers,
        pin_memory=pin,
        worker_init_fn=_one_thread if workers else None,
        multiprocessing_context="spawn" if workers else None,
        # The base seed is all the loader would draw; a generator of its own leaves the global one alone.
        generator=torch.Generator(),
    )
    return iter(loader)
