#!/usr/bin/env python3
"""Frames a second that the host can do beside the network, by stage and in all, as a Markdown table for each size.

    python benchmark/speed/host.py
    python benchmark/speed/host.py --sizes 1920x1080 --max_res -1 --input_video clip.mp4 --frames 300

The whole path of `run.py` with its own readers, threads and writers, but with depth that costs nothing: maps that were
made before. Every stage is also measured alone. The clip is the bundled example, or the video named, scaled to each
size, repeated to the length wanted, and encoded by x264's defaults. A first run of everything is not counted.
"""

from __future__ import annotations

import argparse
import logging
import os
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from functools import partial
from itertools import chain, cycle, islice
from pathlib import Path

if not __package__:  # run as a file: the repository is not on the path, but this folder is
    sys.path[0] = str(Path(__file__).resolve().parents[2])

import av
import cv2
import numpy as np

from benchmark.speed import flags
from benchmark.speed.clip import video_frames
from benchmark.speed.report import print_header, print_heading, print_row
from video_depth_anything.cli.console import run_script
from video_depth_anything.cli.parser import limit, positive_int
from video_depth_anything.outputs.colormap import color_table, in_colors, levels_of
from video_depth_anything.outputs.options import CameraOptions, OutputOptions
from video_depth_anything.outputs.plan import OutputPlan
from video_depth_anything.outputs.run_outputs import RunOutputs
from video_depth_anything.outputs.stereo import EyeViews, disparity_of
from video_depth_anything.pipelines.driver import by_windows, run_video
from video_depth_anything.pipelines.stop import Stop
from video_depth_anything.transform import network_size, preprocess
from video_depth_anything.video.frame import DepthMap, Frame, Image
from video_depth_anything.video.source import Selection, VideoSource, open_video
from video_depth_anything.windows import STEP

ROOT = Path(__file__).resolve().parents[2]
EXAMPLE = ROOT / "assets" / "example_videos" / "box.mp4"
# Frames and maps that are held in memory; they are shown there and back, so that nothing jumps.
HELD = 32
TITLES = ("stage", "ms a frame", "frames a second", "core ms a frame")


def parse_arguments() -> argparse.Namespace:
    parser = flags.parser_for(__doc__, repeats=3)
    sizes = "sizes of the source (default: 960x540 1920x1080)"
    default = [(540, 960), (1080, 1920)]
    parser.add_argument("--sizes", type=flags.frame_size, nargs="+", default=default, metavar="WxH", help=sizes)
    parser.add_argument("--max_res", type=limit, default=1280, help="as --max_res of run.py (default: 1280)")
    parser.add_argument("--input_size", type=positive_int, default=518, help="as of run.py (default: 518)")
    parser.add_argument("--codec", default="libx264", help="as --codec of run.py (default: libx264)")
    parser.add_argument("--input_video", type=Path, default=EXAMPLE, help="where frames are taken from")
    parser.add_argument("--frames", type=positive_int, default=200, help="length of the clip (default: 200)")
    return parser.parse_args()


def make_clip(path: Path, args: argparse.Namespace, size: tuple[int, int]) -> None:
    """Encode the clip at `size` (height, width) with x264's defaults, whatever those of our own writer are."""
    with av.open(str(path), "w") as output:
        stream = output.add_stream("libx264", rate=24, options={"crf": "18"})
        stream.width, stream.height, stream.pix_fmt = size[1], size[0], "yuv420p"
        for frame in islice(video_frames(args.input_video), args.frames):
            scaled = cv2.resize(frame, (size[1], size[0]), interpolation=cv2.INTER_CUBIC)
            output.mux(stream.encode(av.VideoFrame.from_ndarray(scaled.astype(np.uint8, copy=False), format="rgb24")))
        output.mux(stream.encode(None))


def free_map(frame: Image) -> DepthMap:
    """A map that looks like a frame's disparity: nearer at the bottom, smooth, with edges where the frame has some."""
    gray = cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY)
    smooth = cv2.bilateralFilter(cv2.resize(gray, None, fx=0.25, fy=0.25), 9, 40, 9)
    ramp = np.linspace(0, 300, frame.shape[0], dtype=np.float32)[:, None]
    return np.asarray(cv2.resize(smooth, gray.shape[::-1]), dtype=np.float32) + ramp


class HostRun:
    """The parts of a run over one clip of `size` (height, width), which is made in `folder`."""

    def __init__(self, args: argparse.Namespace, size: tuple[int, int], folder: Path) -> None:
        self._args = args
        self._clip = folder / f"clip_{size[0]}.mp4"
        self._folder = folder / "outputs"
        make_clip(self._clip, args, size)
        source = open_video(self._clip, Selection(args.max_res, max_len=HELD))
        self.frames: list[Image] = list(source)
        source.close()
        self.maps = [free_map(frame) for frame in self.frames]

    def shown(self) -> Iterator[tuple[Image, DepthMap]]:
        """As many frames as the clip has, with depth: those that are held, there and back."""
        held = list(zip(self.frames, self.maps))
        return islice(cycle(chain(held, held[-2:0:-1])), self._args.frames)

    def read(self) -> None:
        """Decode the clip, and scale its frames."""
        source = self._source()
        count = sum(1 for _ in source)
        source.close()
        assert count == self._args.frames, f"{count} frames were read"

    def preprocess(self) -> None:
        """Make the network's input of as many frames."""
        for frame, _ in self.shown():
            self._prepare(frame)

    def color(self) -> None:
        """Colour as many maps, over a range that is known before."""
        table = color_table("inferno")
        for _, depth in self.shown():
            in_colors(levels_of(depth, 0.0, 555.0), table)

    def stereo(self) -> None:
        """Make both eyes' views of as many frames, at half width."""
        height, width = self.frames[0].shape[:2]
        eyes = EyeViews((height, width), (height, width // 2), 0.02, 0.5)
        views = np.empty((2, height, width // 2, 3), np.uint8)
        for frame, depth in self.shown():
            eyes(frame, disparity_of(depth[:, ::2], "disparity", (0.0, 555.0)), list(views))

    def write(self, *save: str) -> None:
        """Write as many frames and maps to the real outputs, from memory."""
        source = self._source()
        outputs = self._outputs(source, save)
        duration = float(1 / source.fps)
        for index, (frame, depth) in enumerate(self.shown()):
            outputs.write(Frame(frame, index * duration, duration, depth=depth))
        outputs.close()
        source.close()

    def run(self, *save: str) -> None:
        """Everything at once, as the command does it."""
        source = self._source()
        outputs = self._outputs(source, save)
        summary = run_video(source.timed(), by_windows(self._infer), outputs, lambda *_: None, Stop())
        source.close()
        assert summary.frames == self._args.frames, f"{summary.frames} frames were written"

    def _infer(self, frames: Iterator[Image]) -> Iterator[DepthMap]:
        """Depth as it comes offline, for many frames at a time; the network's input is made and thrown away."""
        shown = self.shown()
        while window := list(islice(frames, STEP)):
            for frame in window:
                self._prepare(frame)
            yield from (depth for _, depth in islice(shown, len(window)))

    def _prepare(self, frame: Image) -> None:
        preprocess(frame, network_size(frame.shape[0], frame.shape[1], self._args.input_size))

    def _source(self) -> VideoSource:
        return open_video(self._clip, Selection(self._args.max_res))

    def _outputs(self, source: VideoSource, save: tuple[str, ...]) -> RunOutputs:
        options = OutputOptions(folder=self._folder, save=save, codec=self._args.codec, overwrite=True)
        return OutputPlan(options, CameraOptions(), metric=False).open(source)


def measure(run: HostRun, repeats: int) -> dict[str, list[tuple[float, float]]]:
    """What each stage costs alone, and the whole path, in turns: seconds of the clock, and of all cores."""
    stages: dict[str, Callable[[], object]] = {
        "reading": run.read,
        "preprocessing": run.preprocess,
        "colouring": run.color,
        "both eyes' views for `sbs`": run.stereo,
        "writing `src`": partial(run.write, "src"),
        "writing `vis`, colouring included": partial(run.write, "vis"),
        "**in all, `src vis`**": partial(run.run, "src", "vis"),
        "**in all, `vis`**": partial(run.run, "vis"),
    }
    costs: dict[str, list[tuple[float, float]]] = {name: [] for name in stages}
    run.run("src", "vis")
    for _ in range(repeats):
        for name, work in stages.items():
            cores, start = sum(os.times()[:4]), time.perf_counter()
            work()
            costs[name].append((time.perf_counter() - start, sum(os.times()[:4]) - cores))
    return costs


def main() -> int:
    args = parse_arguments()
    logging.getLogger().setLevel(logging.WARNING)
    print_heading(f"Host: {args.frames} frames, input size {args.input_size}, medians of {args.repeats}")
    for size in args.sizes:
        with tempfile.TemporaryDirectory() as folder:
            run = HostRun(args, size, Path(folder))
            height, width = run.frames[0].shape[:2]
            print(f"Source {size[1]}x{size[0]}, processed {width}x{height}\n")
            costs = measure(run, args.repeats)
        print_header(TITLES)
        for name, cost in costs.items():
            each, cores = 1e3 * np.median(cost, axis=0) / args.frames
            print_row((name, f"{each:.2f}", f"{1e3 / each:.1f}", f"{cores:.2f}"))
        print()
    return 0


if __name__ == "__main__":
    sys.exit(run_script(main))
