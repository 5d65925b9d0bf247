"""What ranks tell each other, and how all of them end when one fails or is told to end."""

from __future__ import annotations

import os
import re
import signal
import sys

import pytest
from rank_processes import Ending, run_ranks

from video_depth_anything.errors import OutputError, RankError
from video_depth_anything.pipelines.ranks import Ranks, join_ranks

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="sends signals")


def talk(ranks: Ranks) -> tuple[object, ...]:
    decided = ranks.agree(lambda: {"rank": ranks.rank})
    own = list(ranks.share("items", range(20)))
    return decided, ranks.gather(own)


def test_ranks_agree_and_share() -> None:
    endings = run_ranks(3, talk)
    for ending in endings:
        assert ending.error is None and ending.stderr == ""
        assert ending.value[0] == {"rank": 0}
    shares = endings[0].value[1]
    assert sorted(item for own in shares for item in own) == list(range(20))
    assert all(own == sorted(own) for own in shares)
    assert [ending.value[1] for ending in endings[1:]] == [[own] for own in shares[1:]]


def check_line(endings: list[Ending], speaker: int, pattern: str) -> None:
    """One rank ends with the line, the others in silence."""
    error = endings[speaker].error
    assert isinstance(error, RankError) and re.match(rf"^rank {speaker} \(\S+\): {pattern}$", str(error)), error
    for rank, ending in enumerate(endings):
        assert ending.stderr == ""
        if rank != speaker and ending.exit_code != -signal.SIGKILL:
            assert isinstance(ending.error, SystemExit) and ending.error.code == 2


def fail(ranks: Ranks, error: Exception) -> None:
    if ranks.rank == 1:
        raise error
    ranks.wait("never set")


def test_an_error_is_said_once_by_the_rank_that_has_it() -> None:
    check_line(run_ranks(3, fail, OutputError("the disk is full")), 1, "the disk is full")


def test_a_bug_keeps_its_traceback() -> None:
    endings = run_ranks(3, fail, ZeroDivisionError("by zero"))
    assert isinstance(endings[1].error, ZeroDivisionError)
    assert isinstance(endings[0].error, SystemExit) and isinstance(endings[2].error, SystemExit)


def be_struck(ranks: Ranks, struck: tuple[int, ...], number: signal.Signals) -> None:
    ranks.gather(None)
    ranks.agree(lambda: None)
    if ranks.rank in struck:
        os.kill(os.getpid(), number)
    ranks.wait("never set")


@pytest.mark.parametrize(
    ("struck", "number", "words"),
    [
        ((1,), signal.SIGKILL, "SIGTERM, as torchrun does when another rank has died"),
        ((0, 1, 2), signal.SIGINT, "SIGINT"),
    ],
)
def test_a_signal_ends_all(struck: tuple[int, ...], number: signal.Signals, words: str) -> None:
    endings = run_ranks(3, be_struck, struck, number)
    check_line(endings, 0, f"ended by {words}; --resume continues from what is finished")


def test_alone_there_are_no_ranks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WORLD_SIZE", "1")
    monkeypatch.setenv("RANK", "0")
    with join_ranks() as ranks:
        assert ranks is None
