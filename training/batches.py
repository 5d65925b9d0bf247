"""The order of training samples: a pure function of the seed and the step."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import count, islice
from typing import NamedTuple, cast

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, DistributedSampler

from training.processes import ProcessGroup
from training.sources import Source


class Batch(NamedTuple):
    """Like `Sample`, with a leading dimension of clips."""

    inputs: tuple[Tensor, ...]
    target: Tensor
    valid: Tensor


class Batches(Dataset[Batch]):
    """This process's share of the batch of each step, by the number of the step.

    An epoch is one random order of all samples. An incomplete last batch is dropped; if there are fewer samples than a
    batch needs, they are repeated.
    """

    def __init__(self, source: Source, seed: int, batch_size: int, group: ProcessGroup) -> None:
        self._source = source
        self._seed = seed
        self._group = group
        self._share = batch_size // group.size
        numbers = cast(Dataset[int], range(max(len(source), batch_size)))
        self._order: DistributedSampler[int] = DistributedSampler(
            numbers, group.size, group.rank, seed=seed, drop_last=True
        )

    def __getitem__(self, step: int) -> Batch:
        epoch, part = divmod(step, len(self._order) // self._share)
        self._order.set_epoch(epoch)
        samples = []
        for offset, number in enumerate(islice(self._order, part * self._share, (part + 1) * self._share)):
            # Seeded by the sample's place in the whole order, so that it does not depend on the worker.
            place = (step * self._share + offset) * self._group.size + self._group.rank
            rng = np.random.default_rng([self._seed, 1, place])
            samples.append(self._source.sample(number % len(self._source), rng))
        inputs = tuple(torch.stack(maps) for maps in zip(*(s.inputs for s in samples)))
        return Batch(inputs, torch.stack([s.target for s in samples]), torch.stack([s.valid for s in samples]))


def _one_thread(_: int) -> None:
    torch.set_num_threads(1)


def batches(data: Batches, first_step: int, workers: int, pin: bool) -> Iterator[Batch]:
    """Yield batches from a step on, endlessly, prepared by `workers` processes (0: in this one)."""
    loader = DataLoader(
        data,
        batch_size=None,
        sampler=count(first_step),
        num_workers=workers,
        pin_memory=pin,
        worker_init_fn=_one_thread if workers else None,
        multiprocessing_context="spawn" if workers else None,
        # The loader would draw its base seed from the global generator; this one keeps it unchanged.
        generator=torch.Generator(),
    )
    return iter(loader)
