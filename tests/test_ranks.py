"""What ranks tell each other, and how all of them end when one fails, hangs or is told to end."""

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
    for _ in range(3):
        with ranks.turn("list"):
            # The last one in has seen all that the others did.
            ranks.set("count", str(int(ranks.get("count") or "0") + 1))
    ranks.meet()
    return decided, ranks.gather(own), ranks.get("count")


def test_ranks_agree_share_take_turns_and_meet() -> None:
    for ending in run_ranks(3, talk):
        assert ending.error is None and ending.stderr == ""
        decided, shares, count = ending.value
        assert decided == {"rank": 0} and count == "9"
        assert sorted(item for own in shares for item in own) == list(range(20))
        assert all(own == sorted(own) for own in shares)


def fail(ranks: Ranks, error: Exception) -> None:
    """Rank 1 fails; rank 2 waits for it where it can be told, rank 0 where nothing interrupts it."""
    if ranks.rank == 1:
        raise error
    if ranks.rank == 2:
        ranks.wait("never set")
    ranks.meet()


def check_line(endings: list[Ending], pattern: str) -> None:
    """Rank 0 ends with the line, or says it where it has to be cut off; those after rank 1 end in silence."""
    error = endings[0].error
    if error is None:
        assert endings[0].exit_code == 2
        error = RankError(endings[0].stderr.strip())
    with pytest.raises(RankError, match=pattern):
        raise error
    for ending in endings[2:]:
        assert isinstance(ending.error, SystemExit) and ending.error.code == 2
        assert ending.stderr == ""


def test_an_error_is_said_by_rank_0_alone() -> None:
    endings = run_ranks(3, fail, OutputError("the disk is full"))
    check_line(endings, r"^rank 1 \(\S+\): the disk is full$")
    assert isinstance(endings[1].error, SystemExit) and endings[1].error.code == 2


def test_a_bug_keeps_its_traceback() -> None:
    endings = run_ranks(3, fail, ZeroDivisionError("by zero"))
    check_line(endings, r"^rank 1 \(\S+\): ZeroDivisionError: by zero$")
    assert isinstance(endings[1].error, ZeroDivisionError)


def be_struck(ranks: Ranks, struck: int, number: signal.Signals, in_barrier: bool) -> None:
    ranks.meet()
    if ranks.rank == struck:
        os.kill(os.getpid(), number)
    if in_barrier:
        ranks.meet()
    ranks.wait("never set")


@pytest.mark.parametrize(("number", "in_barrier"), [("SIGKILL", False), ("SIGSTOP", False), ("SIGSTOP", True)])
def test_a_rank_that_hangs_ends_the_run_with_its_name(number: str, in_barrier: bool) -> None:
    """Where the others wait in Python, and where nothing can interrupt them."""
    endings = run_ranks(2, be_struck, 1, signal.Signals[number], in_barrier)
    check_line(endings, r"^rank 1 \(\S+\) hangs or is gone: rank 0 has not heard of it for 2 seconds$")
    assert endings[1].exit_code == -signal.SIGKILL


def test_where_rank_0_hangs_another_one_says_so() -> None:
    endings = run_ranks(3, be_struck, 0, signal.SIGSTOP, False)
    speakers = [ending.error for ending in endings[1:] if isinstance(ending.error, RankError)]
    assert len(speakers) == 1 and re.match(r"rank 0 \(\S+\) hangs or is gone: rank [12] has not", str(speakers[0]))
    assert all(isinstance(ending.error, (RankError, SystemExit)) for ending in endings[1:])


def told_to_end(ranks: Ranks, number: signal.Signals) -> None:
    ranks.meet()
    if ranks.rank == 1:
        os.kill(os.getpid(), number)
    ranks.wait("never set")


@pytest.mark.parametrize(
    ("number", "words"),
    [
        (signal.SIGINT, "SIGINT; --resume goes on"),
        (signal.SIGTERM, "SIGTERM, as torchrun does when another rank has died; --resume goes on"),
    ],
)
def test_a_signal_ends_all(number: signal.Signals, words: str) -> None:
    check_line(run_ranks(3, told_to_end, number), rf"^rank 1 \(\S+\): ended by {words} from what is finished$")


def test_alone_there_are_no_ranks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WORLD_SIZE", "1")
    monkeypatch.setenv("RANK", "0")
    with join_ranks() as ranks:
        assert ranks is None
