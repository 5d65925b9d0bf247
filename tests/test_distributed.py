"""Windows computed anywhere and joined in order: bit for bit what one process computes."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import closing
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from recipes import num_windows, synthetic_frames, window_schedule
from torch import Tensor
from torch.distributed import HashStore  # type: ignore[attr-defined]

from video_depth_anything.device import Execution
from video_depth_anything.errors import InputError, OutputError, RankError
from video_depth_anything.frame_features import FrameFeatures
from video_depth_anything.offline import RawWindows, infer_depth, join_windows, windows_read
from video_depth_anything.pipelines import multi_device
from video_depth_anything.pipelines.multi_device import LONGEST_RUN, SharedWindows, run_length
from video_depth_anything.pipelines.ranks import Ranks, longest_first
from video_depth_anything.pipelines.stop import Stop
from video_depth_anything.pipelines.window_spool import WindowSpool, spooled_bytes
from video_depth_anything.video.inputs import Input
from video_depth_anything.windows import INFER_LEN, frames_of_window, window_matters

Frames = npt.NDArray[np.uint8]
CPU = torch.device("cpu")
SIZE = (14, 28)
VIDEO = Input("v", "v.mp4")


class MixingNetwork:
    """A small network with the real one's halves: depth of each slot depends on its place and on all frames shown."""

    def __init__(self, metric: bool = False) -> None:
        self.metric = metric
        self.batches: list[Tensor] = []

    def encode(self, images: Tensor) -> FrameFeatures:
        self.batches.append(images)
        maps = images.mean(dim=1, keepdim=True)
        return FrameFeatures(maps, maps.square(), maps.sin(), maps.cos())

    def decode(self, window: Sequence[FrameFeatures], slots: Sequence[int], frames_at_once: int) -> Iterator[Tensor]:
        assert len(window) == INFER_LEN
        stacked = torch.stack([features.map3[0, 0] for features in window])
        weights = torch.linspace(-1, 1, INFER_LEN).sin().reshape(-1, 1, 1)
        context, strength = (stacked * weights).mean(dim=0), 1 + stacked.mean().abs()
        for start in range(0, len(slots), frames_at_once):
            maps = [
                window[slot].map1[0, 0] * strength + context + 0.01 * slot for slot in slots[start:][:frames_at_once]
            ]
            yield torch.stack(maps).relu()[None]


def video(count: int) -> Frames:
    return synthetic_frames(count, *SIZE, seed=count)


def one_process(count: int, execution: Execution, metric: bool = False) -> npt.NDArray[np.float32]:
    return np.stack(list(infer_depth(MixingNetwork(metric), video(count), 14, execution)))


@given(st.integers(1, 2000), st.data())
def test_frames_of_a_window_need_no_other_window(count: int, data: st.DataObject) -> None:
    index = data.draw(st.integers(0, num_windows(count) - 1))
    assert frames_of_window(index) == window_schedule(count)[index]


@settings(deadline=None, max_examples=40)
@given(st.integers(1, 140), st.integers(1, 8), st.booleans(), st.lists(st.integers(0, 3), min_size=7, max_size=7))
def test_any_sharing_of_the_windows_gives_the_same_bits(
    count: int, frames_at_once: int, metric: bool, owners: list[int]
) -> None:
    execution = Execution(CPU, None, frames_at_once)
    whole = MixingNetwork(metric)
    expected = np.stack(list(infer_depth(whole, video(count), 14, execution)))
    numbers = list(windows_read(video(count)))
    assert numbers == [index for index in range(num_windows(count)) if window_matters(index, count)]
    computed: dict[int, npt.NDArray[np.float32]] = {}
    for owner in set(owners):
        network = MixingNetwork(metric)
        own = RawWindows(network, video(count), 14, execution)
        mine = [index for index, rank in enumerate(owners) if rank == owner]
        for index in mine:
            window = own.window(index)
            assert (window is not None) == (index in numbers)
            if window is not None:
                computed[index] = window
        # The same frames go through the encoder together, so that the same kernels run on them.
        for batch in network.batches:
            assert any(torch.equal(batch, known) for known in whole.batches if batch.shape == known.shape)
        new = sum(22 for index in mine if index in numbers)
        jumps = sum(index - 1 not in mine for index in mine)
        assert own.encoded <= new + 10 + jumps * (10 + 3 * (frames_at_once - 1)) + frames_at_once
    joined = np.stack(list(join_windows((computed[index] for index in numbers), metric, CPU)))
    np.testing.assert_array_equal(joined, expected)


def test_windows_are_computed_in_rising_order() -> None:
    windows = RawWindows(MixingNetwork(), video(70), 14, Execution(CPU, None, 1))
    assert windows.window(1) is not None
    with pytest.raises(ValueError, match="window 1 was passed"):
        windows.window(1)
    assert windows.window(9) is None


def test_windows_are_read_no_further_than_needed() -> None:
    read = 0

    def frames() -> Iterator[npt.NDArray[np.uint8]]:
        nonlocal read
        for frame in video(100):
            read += 1
            yield frame

    numbers = windows_read(frames())
    assert [(next(numbers), read) for _ in range(3)] == [(0, 32), (1, 54), (2, 76)]
    assert list(windows_read(iter(()))) == []


@given(st.one_of(st.none(), st.integers(1, 300_000)), st.integers(2, 64))
def test_runs_are_even_and_not_too_long(frames: int | None, ranks: int) -> None:
    length = run_length(frames, ranks)
    assert 1 <= length <= LONGEST_RUN
    if frames is not None:
        windows = num_windows(frames)
        runs = -(-windows // length)
        # Nobody computes more than a run beyond an even share.
        assert -(-runs // ranks) * length < windows / ranks + length + 1


def team(size: int) -> list[Ranks]:
    store = HashStore()
    return [Ranks(store, rank, size, Stop()) for rank in range(size)]


def split_in_threads(folder: Path, counts: Sequence[int], ranks: list[Ranks], length: int) -> npt.NDArray[np.float32]:
    """One video over several ranks, each a thread; rank r sees `counts[r]` frames. Returns rank 0's depth."""
    execution = Execution(CPU, None, 1)
    spool = WindowSpool(folder, VIDEO)
    spool.begin({"a": 1}, keep=False)

    def windows(rank: int) -> SharedWindows:
        source = RawWindows(MixingNetwork(), video(counts[rank]), 14, execution)
        return SharedWindows(ranks[rank], "v", length, spool, source)

    def work(rank: int) -> None:
        with closing(windows(rank)) as own:
            while own.compute_next():
                pass

    threads = [threading.Thread(target=work, args=(rank,)) for rank in range(1, len(ranks))]
    for thread in threads:
        thread.start()
    try:
        with closing(windows(0)) as own:
            return np.stack(list(join_windows(own.in_order(windows_read(video(counts[0]))), False, CPU)))
    finally:
        for thread in threads:
            thread.join()


@pytest.mark.parametrize("ranks", [2, 3, 5])
@pytest.mark.parametrize("count", [1, 22, 23, 45, 200])
def test_split_among_ranks(tmp_path: Path, count: int, ranks: int) -> None:
    """Ranks without work included: one frame has one window."""
    depth = split_in_threads(tmp_path, [count] * ranks, team(ranks), run_length(count, ranks))
    np.testing.assert_array_equal(depth, one_process(count, Execution(CPU, None, 1)))


def test_ranks_that_see_another_video(tmp_path: Path) -> None:
    """A file that grows while it is read must not end in waiting for ever."""
    ranks = team(2)
    ranks[1].take("v/runs")
    ranks[1].set("v/window/0", "none")
    with pytest.raises(InputError, match="window 0 is missing"):
        split_in_threads(tmp_path, [60, 1], ranks, 1)


def test_a_rank_that_hangs_ends_the_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It has taken windows, and is stopped before it computes any."""
    monkeypatch.setattr(multi_device, "TIMEOUT_SECONDS", 0.5)
    ranks = team(2)
    ranks[1].take("v/runs")
    begun = time.monotonic()
    with pytest.raises(RankError, match="window 0 has been missing for"):
        split_in_threads(tmp_path, [60], ranks[:1], 1)
    assert 0.5 < time.monotonic() - begun < 30


def test_each_item_falls_to_one_rank_in_order() -> None:
    ranks = team(3)
    taken: list[list[int]] = [[], [], []]

    def work(rank: int) -> None:
        taken[rank] += ranks[rank].share("items", range(50))

    threads = [threading.Thread(target=work, args=(rank,)) for rank in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(item for own in taken for item in own) == list(range(50))
    assert all(own == sorted(own) for own in taken)
    assert longest_first([3, 9, float("inf"), 9]) == [2, 1, 3, 0]


def test_spool_goes_on_only_with_the_same_settings(tmp_path: Path) -> None:
    spool = WindowSpool(tmp_path, VIDEO)
    maps = np.random.default_rng(0).random((32, 2, 3)).astype(np.float32)
    assert spool.begin({"size": (2, 3)}, keep=True) == []
    spool.write(3, maps)
    spool.write(0, maps[:5])
    (spool.folder / "000007.npz").write_bytes(b"cut off")
    assert spool.begin({"size": (2, 3)}, keep=True) == [0, 3]
    np.testing.assert_array_equal(spool.read(3), maps)
    np.testing.assert_array_equal(spool.read(0), maps[:5])
    assert 0 <= sum(p.stat().st_size for p in spool.folder.glob("000003*")) - spooled_bytes(22, (2, 3)) < 1000
    assert spool.begin({"size": (2, 4)}, keep=True) == []
    spool.write(0, maps)
    assert spool.begin({"size": (2, 4)}, keep=False) == []
    spool.remove()
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(OutputError, match="must be a folder that all machines share"):
        spool.write(1, maps)


def test_sources_of_one_name_have_spools_of_their_own(tmp_path: Path) -> None:
    first, second = (WindowSpool(tmp_path, Input("clip", f"{folder}/clip.mp4")) for folder in "ab")
    for spool in (first, second):
        spool.begin({}, keep=False)
    first.write(0, np.zeros((32, 2, 3), np.float32))
    assert second.begin({}, keep=True) == [] and first.begin({}, keep=True) == [0]


def test_a_damaged_window_is_computed_again(tmp_path: Path) -> None:
    """Whatever became of it, as long as its length does not tell."""
    spool = WindowSpool(tmp_path, VIDEO)
    maps = np.random.default_rng(0).random((32, 2, 3)).astype(np.float32)
    spool.begin({}, keep=False)
    for index in range(6):
        spool.write(index, maps)
    for index, place in ((1, 300), (4, 100), (5, -60)):
        path = spool.folder / f"00000{index}.npz"
        content = bytearray(path.read_bytes())
        content[place] ^= 1
        path.write_bytes(content)
    path = spool.folder / "000002.npz"
    path.write_bytes(path.read_bytes()[: -2 * 3 * 4])
    (spool.folder / "000003.npz").write_bytes(b"")
    with pytest.raises(OutputError, match=r"000001.npz is damaged; run again with --resume"):
        spool.read(1)
    assert spool.begin({}, keep=True) == [0]
