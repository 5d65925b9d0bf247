"""Filters of FFmpeg, such as its deinterlacer."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from fractions import Fraction
from typing import TypeVar

import av
from av import VideoFrame
from av.filter import Graph

T = TypeVar("T")

# Rows and columns that bwdif needs; the chroma planes have half as many.
SMALLEST = 8


def filter_graph(frame: VideoFrame, name: str, **options: str) -> Graph:
    """Build a graph of one filter, for frames like this one."""
    graph = Graph()
    ends = graph.add_buffer(width=frame.width, height=frame.height, format=frame.format, time_base=Fraction(1, 1000))
    graph.link_nodes(ends, graph.add(name, **options), graph.add("buffersink"))
    graph.configure()
    return graph


def deinterlaced(frames: Iterable[tuple[VideoFrame, T]]) -> Iterator[tuple[VideoFrame, T]]:
    """Deinterlace interlaced frames with bwdif, one output per frame; others, and tiny ones, pass unchanged."""
    graph: Graph | None = None
    in_use: tuple[object, ...] = ()
    stamps: deque[T] = deque()
    for frame, stamp in frames:
        found = (frame.width, frame.height, frame.format.name, frame.colorspace, frame.color_range)
        if graph is not None and found != in_use:
            graph.vpush(None)
            yield from _drained(graph, stamps)
            graph = None
        if graph is None and frame.interlaced_frame and min(frame.width, frame.height) >= SMALLEST:
            graph, in_use = filter_graph(frame, "bwdif", mode="send_frame", parity="auto", deint="interlaced"), found
        if graph is None:
            yield frame, stamp
            continue
        stamps.append(stamp)
        graph.vpush(frame)
        yield from _drained(graph, stamps)
    if graph is not None:
        graph.vpush(None)
        yield from _drained(graph, stamps)


def _drained(graph: Graph, stamps: deque[T]) -> Iterator[tuple[VideoFrame, T]]:
    while stamps:
        try:
            frame = graph.vpull()
        except (av.error.BlockingIOError, av.error.EOFError):
            return
        yield frame, stamps.popleft()
