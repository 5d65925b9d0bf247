"""What the code asks of a GPU, without one: on fake tensors, and with stand-ins for CUDA's streams and events."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch
import torch.nn.functional as F
from recipes import synthetic_frames
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.overrides import TorchFunctionMode

from benchmark.speed.counted import count_offline, count_streaming
from video_depth_anything import DepthStream, Execution, VideoDepthAnything, transform, video_depth_stream
from video_depth_anything.backends import cuda_graph
from video_depth_anything.backends.compiled import CompiledNetwork
from video_depth_anything.device import choose_execution
from video_depth_anything.dinov2_layers.attention import attend, attend_in_groups
from video_depth_anything.offline import HostCopy
from video_depth_anything.temporal_memory import TemporalMemory

SECOND = torch.device("cuda:1")


class Driver:
    """Stands for torch.cuda on a machine with several devices, of which the first is current."""

    def __init__(self) -> None:
        self.current = SimpleNamespace(device=0, stream=None)
        self.log: list[tuple[object, ...]] = []
        self.recording = 0

    def stream(self, device: torch.device | None = None) -> Any:
        index = self.current.device if device is None else torch.device(device).index
        return SimpleNamespace(device=index, wait_stream=lambda _: None)

    def event(self) -> Any:
        def record(stream: Any = None) -> None:
            self.log.append(("event", self.current.device if stream is None else stream.device))

        return SimpleNamespace(record=record, query=lambda: True, synchronize=lambda: None)

    @contextmanager
    def use_stream(self, stream: Any) -> Iterator[None]:
        before = vars(self.current).copy()
        self.current.device, self.current.stream = stream.device, stream
        yield
        vars(self.current).update(before)

    @contextmanager
    def use_device(self, device: torch.device) -> Iterator[None]:
        before, self.current.device = self.current.device, device.index
        yield
        self.current.device = before

    @contextmanager
    def graph(self, graph: Any, stream: Any = None, capture_error_mode: str = "") -> Iterator[None]:
        self.recording += 1
        assert self.recording == 1, "two recordings at once"
        self.log.append(("recorded", self.current.device if stream is None else stream.device, self.current.device))
        yield
        self.recording -= 1


@pytest.fixture
def driver(monkeypatch: pytest.MonkeyPatch) -> Driver:
    found = Driver()
    for name, stand_in in {
        "is_available": lambda: True, "Stream": found.stream, "Event": found.event, "stream": found.use_stream,
        "current_stream": found.stream, "device": found.use_device, "graph": found.graph, "CUDAGraph": object,
    }.items():  # fmt: skip
        monkeypatch.setattr(torch.cuda, name, stand_in)
    return found


class Map:
    """Stands for a depth map on the second device."""

    device = SECOND

    def __init__(self) -> None:
        self.used_by: list[int] = []

    def record_stream(self, stream: Any) -> None:
        self.used_by.append(stream.device)


def test_maps_are_copied_on_a_stream_of_their_device(driver: Driver, monkeypatch: pytest.MonkeyPatch) -> None:
    pinned: list[Tensor] = []

    def copy_(_: Map, non_blocking: bool) -> Tensor:
        assert non_blocking and driver.current.device == 1
        driver.log.append(("copy", driver.current.stream is not None))
        pinned.append(torch.full((2, 3), float(len(pinned))))
        return pinned[-1]

    monkeypatch.setattr(torch, "empty_like", lambda _, **__: SimpleNamespace(copy_=copy_))
    maps = [Map(), Map()]
    copy = HostCopy(maps)  # type: ignore[arg-type]
    assert driver.log == [("copy", True), ("copy", True), ("event", 1)]
    assert [x.used_by for x in maps] == [[1], [1]]
    found = list(copy.wait())
    assert [float(x[0, 0]) for x in found] == [0, 1]
    # Nobody who keeps the maps keeps pinned memory.
    assert not any(np.shares_memory(x, y.numpy()) for x, y in zip(found, pinned))
    assert list(copy.wait()) == []


def recorded_step(run: Callable[[Tensor], Tensor]) -> cuda_graph.RecordedStep:
    memory = SimpleNamespace(frames_seen=1, next_entries=lambda _: None, rewind=lambda _: None)
    image = SimpleNamespace(device=SECOND)
    image.clone = lambda: image
    return cuda_graph.RecordedStep(run, image, memory)  # type: ignore[arg-type]


def test_a_graph_is_recorded_on_the_images_device(driver: Driver) -> None:
    recorded_step(lambda image: image)
    assert driver.log == [("recorded", 1, 1)]


def test_graphs_are_recorded_one_after_the_other(driver: Driver) -> None:
    inside, go_on = threading.Event(), threading.Event()

    def slow(image: Tensor) -> Tensor:
        if driver.recording:
            inside.set()
            assert go_on.wait(20)
        return image

    first = threading.Thread(target=recorded_step, args=(slow,))
    second = threading.Thread(target=recorded_step, args=(lambda image: image,))
    first.start()
    assert inside.wait(20)
    second.start()
    second.join(0.2)
    waiting = second.is_alive() and len(driver.log) == 1
    go_on.set()
    first.join(20)
    second.join(20)
    assert waiting and len(driver.log) == 2


def stream_all(stream: DepthStream) -> npt.NDArray[np.float32]:
    return np.stack([stream.step(frame) for frame in synthetic_frames(4, 28, 42, seed=4)])


def test_streams_on_cuda_are_recorded(monkeypatch: pytest.MonkeyPatch, golden_model: VideoDepthAnything) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    assert choose_execution("cuda", "fp16").graphs and not choose_execution("cpu").graphs
    calls = []

    def record(run: Callable[[Tensor], Tensor], _: Tensor, memory: TemporalMemory) -> Callable[[Tensor], Tensor]:
        calls.append(memory.frames_seen)
        return run

    monkeypatch.setattr(video_depth_stream, "RecordedStep", record)
    stream_all(DepthStream(golden_model, 28, Execution(torch.device("cpu"), None, 1, graphs=True)))
    assert calls == [1]


def test_what_cannot_be_recorded_is_computed_plainly(
    monkeypatch: pytest.MonkeyPatch, golden_model: VideoDepthAnything, caplog: pytest.LogCaptureFixture
) -> None:
    def fails(run: Callable[[Tensor], Tensor], image: Tensor, _: TemporalMemory) -> None:
        run(image)
        raise RuntimeError("CUDA error: operation not permitted when stream is capturing\nand much more")

    monkeypatch.setattr(video_depth_stream, "RecordedStep", fails)
    execution = Execution(torch.device("cpu"), None, 1)
    expected = stream_all(DepthStream(golden_model, 28, execution))
    stream = DepthStream(golden_model, 28, replace(execution, graphs=True))
    np.testing.assert_array_equal(stream_all(stream), expected)
    stream.reset()
    np.testing.assert_array_equal(stream_all(stream), expected)
    assert [record.message.split(": ")[-1] for record in caplog.records] == [
        "operation not permitted when stream is capturing"
    ]


def test_the_host_waits_for_nothing_but_depth() -> None:
    execution = Execution(torch.device("cuda"), torch.float16, 8)
    assert count_offline("vits", 28, (48, 64), execution).waits == 0
    streaming = count_streaming("vits", 28, (48, 64), execution)
    assert (streaming.copies, streaming.waits) == (2, 1)  # the frame, and its depth


@pytest.mark.parametrize(("kind", "goes_on"), [("mps", False), ("cuda", True)])
def test_memory_that_metal_reads_later_is_waited_for(monkeypatch: pytest.MonkeyPatch, kind: str, goes_on: bool) -> None:
    sent = []

    def to(device: torch.device, non_blocking: bool) -> None:
        sent.append((device.type, non_blocking))

    monkeypatch.setattr(torch, "from_numpy", lambda _: SimpleNamespace(to=to))
    monkeypatch.setattr(transform, "preprocess_tensor", lambda *_: torch.empty(0))
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    transform.prepare([np.zeros((28, 28, 3), np.uint8)], (28, 28), torch.device(kind))
    assert sent == [(kind, goes_on)]


class Scores(TorchFunctionMode):
    """Notes how many bytes of float32 the scores of each attention take."""

    def __init__(self) -> None:
        super().__init__()
        self.num_bytes: list[int] = []

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func is F.scaled_dot_product_attention:
            batch, heads, length, _ = args[0].shape
            self.num_bytes.append(4 * batch * heads * length * args[1].shape[2])
            return torch.empty_like(args[0])
        return func(*args, **(kwargs or {}))


@pytest.mark.parametrize(("frames", "size"), [(8, (518, 924)), (1, (1036, 1848))])
def test_scores_on_mps_stay_below_metals_limit(frames: int, size: tuple[int, int]) -> None:
    tokens = size[0] * size[1] // 14**2 + 1
    with FakeTensorMode(), Scores() as scores:
        q = torch.empty(frames, 16, tokens, 64, device="mps")  # of vitl
        assert attend(q, q, q).shape == q.shape
    assert sum(scores.num_bytes) == 4 * frames * 16 * tokens**2
    assert max(scores.num_bytes) <= 2 << 30


@pytest.mark.parametrize("max_bytes", [1, 4 * 25, 4 * 25 * 6, 4 * 25 * 13, 1 << 31])
def test_attention_in_groups_is_attention(max_bytes: int) -> None:
    q, k, v = torch.randn(3, 4, 6, 5, 8)
    torch.testing.assert_close(attend_in_groups(q, k, v, max_bytes), F.scaled_dot_product_attention(q, k, v))


class CountingCompiler:
    """A backend of torch.compile that counts what it compiles and how often that runs."""

    def __init__(self) -> None:
        self.compiled = self.runs = 0

    def __call__(self, graph: torch.fx.GraphModule, inputs: list[Tensor]) -> Callable[..., Any]:
        self.compiled += 1

        def run(*args: Any) -> Any:
            self.runs += 1
            return graph.forward(*args)

        return run


@pytest.fixture
def compiler() -> CountingCompiler:
    torch._dynamo.reset()
    return CountingCompiler()


@pytest.fixture
def compiled(compiler: CountingCompiler) -> CompiledNetwork:
    with torch.device("meta"):
        return CompiledNetwork(VideoDepthAnything("vits"), compiler)


def double(x: Tensor) -> Tensor:
    return 2 * x


def test_any_number_of_sizes_is_compiled(compiled: CompiledNetwork, compiler: CountingCompiler) -> None:
    for _ in range(2):
        for width in range(1, 21):
            x = torch.randn(2, width)
            assert torch.equal(compiled._run("coarse", double, x)[0], 2 * x)
    assert (compiler.compiled, compiler.runs) == (20, 40)


def test_a_last_group_is_filled_up(compiled: CompiledNetwork, compiler: CountingCompiler) -> None:
    for count in (8, 8, 5, 2):
        x = torch.randn(count, 3)
        (found,) = compiled._run("coarse", double, x)
        assert torch.equal(found, 2 * x)
    assert (compiler.compiled, compiler.runs) == (1, 4)
    compiled._run("coarse", double, torch.ones(1, 3))  # a stream's frame does not pay for eight
    compiled._run("coarse", double, torch.ones(9, 3))
    assert (compiler.compiled, compiler.runs) == (3, 6)


def test_smaller_groups_are_not_filled_up_where_memory_is_short(compiled: CompiledNetwork) -> None:
    def needs_much(x: Tensor) -> Tensor:
        if len(x) > 4:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return x

    compiled._compiled["coarse", 8, (3,)] = needs_much
    with pytest.raises(torch.OutOfMemoryError):
        compiled._run("coarse", double, torch.ones(8, 3))
    assert compiled._run("coarse", double, torch.ones(4, 3))[0].tolist() == [[2.0] * 3] * 4
