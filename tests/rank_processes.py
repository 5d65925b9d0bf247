"""Real processes as the ranks of one command; as under torchrun, one that fails takes the others along."""

from __future__ import annotations

import logging
import multiprocessing
import os
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import Any

from torch.distributed import TCPStore  # type: ignore[attr-defined]

from video_depth_anything.pipelines.ranks import Ranks, join_ranks

PATIENCE_SECONDS = 150.0


@dataclass(frozen=True)
class Ending:
    """How a rank ended: `value` returned, or what it raised, or neither if it was killed. stderr: what it said."""

    value: Any
    error: BaseException | None
    exit_code: int | None
    stderr: str


def run_ranks(size: int, work: Callable[..., object], *args: object) -> list[Ending]:
    """Call `work(ranks, *args)`, a function of a module, in so many processes."""
    processes = multiprocessing.get_context("forkserver")
    # Whatever the first process needs, all of them have; importing PyTorch takes longer than most of these tests.
    processes.set_forkserver_preload(["torch.distributed", "test_distributed"])
    # It outlives the ranks, as torchrun's does.
    store = TCPStore("127.0.0.1", 0, is_master=True, wait_for_workers=False)
    with tempfile.TemporaryDirectory() as folder:
        pipes = [processes.Pipe(duplex=False) for _ in range(size)]
        said = [Path(folder) / str(rank) for rank in range(size)]
        children = [
            processes.Process(target=_rank, args=(rank, size, store.port, said[rank], pipes[rank][1], work, args))
            for rank in range(size)
        ]
        for child, (_, sending) in zip(children, pipes):
            child.start()
            sending.close()
        deadline, told = time.monotonic() + PATIENCE_SECONDS, False
        while (alive := [child for child in children if child.is_alive()]) and time.monotonic() < deadline:
            wait([child.sentinel for child in alive], deadline - time.monotonic())
            if not told and any(child.exitcode for child in children):
                told = True  # once, as torchrun does: a second signal would end a rank at once
                for child in alive:
                    child.terminate()
        for child in children:
            child.kill()
            child.join()
        results = [_received(receiving) for receiving, _ in pipes]
        return [
            Ending(value, error, child.exitcode, path.read_text())
            for (value, error), child, path in zip(results, children, said)
        ]


def _rank(
    rank: int,
    size: int,
    port: int,
    said: Path,
    result: Connection,
    work: Callable[..., object],
    args: tuple[object, ...],
) -> None:
    os.dup2(os.open(said, os.O_WRONLY | os.O_CREAT), sys.stderr.fileno())
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    os.environ |= {"RANK": str(rank), "WORLD_SIZE": str(size), "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    os.environ |= {"TORCHELASTIC_USE_AGENT_STORE": "True"}
    try:
        with join_ranks() as ranks:
            assert isinstance(ranks, Ranks)
            value = work(ranks, *args)
        result.send((value, None))
    except BaseException as error:
        result.send((None, error))


def _received(receiving: Connection) -> tuple[object, BaseException | None]:
    try:
        received: tuple[object, BaseException | None] = receiving.recv()
        return received
    except EOFError:
        return None, None
