"""Several processes that train one network together, started by torchrun; alone, everything here does nothing."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TypeVar

import torch
import torch.distributed as dist
from torch import Tensor

T = TypeVar("T")


@dataclass(frozen=True)
class ProcessGroup:
    """This process among those that train together; `local_rank` counts on one machine."""

    rank: int = 0
    size: int = 1
    local_rank: int = 0

    @property
    def is_main(self) -> bool:
        """Whether this process writes files and shows progress."""
        return self.rank == 0

    def agree(self, value: T) -> T:
        """The main process's value, in all processes."""
        values: list[T] = [value]
        if self.size > 1:
            dist.broadcast_object_list(values, src=0)
        return values[0]

    def any(self, flag: bool) -> bool:
        """Whether the flag is set in any process."""
        flags = [flag] * self.size
        if self.size > 1:
            dist.all_gather_object(flags, flag)
        return any(flags)

    def whole_batch(self, part: Tensor) -> Tensor:
        """All processes' parts joined along the first dimension, in the order of rank.

        Only this process's own part carries gradients: each process then has its share of the whole batch's gradient,
        and the shares are to be summed.
        """
        if self.size == 1:
            return part
        parts = [torch.empty_like(part) for _ in range(self.size)]
        dist.all_gather(parts, part.detach().contiguous())
        parts[self.rank] = part
        return torch.cat(parts)


@contextmanager
def process_group(device_type: str) -> Iterator[ProcessGroup]:
    """Join the processes that torchrun started, if it did: nccl between GPUs, else gloo."""
    if int(os.environ.get("WORLD_SIZE", "1")) == 1:
        yield ProcessGroup()
        return
    dist.init_process_group("nccl" if device_type == "cuda" else "gloo")
    try:
        yield ProcessGroup(dist.get_rank(), dist.get_world_size(), int(os.environ.get("LOCAL_RANK", "0")))
    finally:
        dist.destroy_process_group()
