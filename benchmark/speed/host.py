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
import os
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

if not __package__:  # run as a file: the repository is not on the path, but this folder is
    sys.path[0] = str(Path(__file__).resolve().parents[2])

from benchmark.speed import flags
from video_depth_anything.cli.console import run_script
from video_depth_anything.cli.parser import limit, positive_int

if TYPE_CHECKING:
    from video_depth_anything.outputs.run_outputs import RunOutputs
    from video_depth_anything.video.frame import DepthMap, Image
    from video_depth_anything.video.source import VideoSource


ROOT = Path(__file__).resolve().parents[2]
EXAMPLE = ROOT / "assets" / "example_videos" / "box.mp4"
# Frames and maps that are held in memory; they are shown there and back, so that nothing jumps.
HELD = 32
TITLES = ("stage", "ms a frame", "frames a second", "core ms a frame")


def parse_arguments() -> argparse.Namespace:
    parser = flags.parser_for(__doc__)
    sizes = "sizes of the source (default: 960x540 1920x1080)"
    default = [(540, 960), (1080, 1920)]
    parser.add_argument("--sizes", type=flags.frame_size, nargs="+", default=default, metavar="WxH", help=sizes)
    parser.add_argument("--max_res", type=limit, default=1280, help="as --max_res of run.py (default: 1280)")
    parser.add_argument("--input_size", type=positive_int, default=518, help="as of run.py (default: 518)")
    parser.add_argument("--codec", default="libx264", help="as --codec of run.py (default: libx264)")
    parser.add_argument("--input_video", type=Path, default=EXAMPLE, help="where frames are taken from")
    parser.add_argument("--frames", type=positive_int, default=200, help="length of the clip (default: 200)")
    flags.add_repeats_argument(parser, 3)
    return parser.parse_args()


@dataclass
class Cost:
    """What a stage took, each time.

    Attributes:
        seconds: of the clock.
        core_seconds: of processor time, also of processes that it started.
    """

    seconds: list[float] = field(default_factory=list)
    core_seconds: list[float] = field(default_factory=list)

    def measure(self, work: Callable[[], object]) -> None:
        """Do the work once."""
        cores, start = sum(os.times()[:4]), time.perf_counter()
        work()
        self.seconds.append(time.perf_counter() - start)
        self.core_seconds.append(sum(os.times()[:4]) - cores)


def there_and_back(index: int, count: int) -> int:
    """Which of `count` things is shown at `index`: 0, 1, .., count - 1, count - 2, .., 1, 0, 1, .."""
    step = index % max(2 * count - 2, 1)
    return min(step, 2 * count - 2 - step) if count > 1 else 0


def make_clip(path: Path, args: argparse.Namespace, size: tuple[int, int]) -> None:
    """Encode the clip at `size` (height, width) with x264's defaults, whatever those of our own writer are."""
    import av
    import cv2
    import numpy as np

    from benchmark.speed.clip import video_frames

    with av.open(str(path), "w") as output:
        stream = output.add_stream("libx264", rate=24, options={"crf": "18"})
        stream.width, stream.height, stream.pix_fmt = size[1], size[0], "yuv420p"
        for frame in islice(video_frames(args.input_video), args.frames):
            scaled = cv2.resize(frame, (size[1], size[0]), interpolation=cv2.INTER_CUBIC)
            output.mux(stream.encode(av.VideoFrame.from_ndarray(scaled.astype(np.uint8, copy=False), format="rgb24")))
        output.mux(stream.encode(None))


def free_maps(frames: list[Image]) -> list[DepthMap]:
    """Maps that look like the frames' disparity: nearer at the bottom, smooth, with edges where frames have some."""
    import cv2
    import numpy as np

    maps = []
    for frame in frames:
        gray = cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY)
        smooth = cv2.bilateralFilter(cv2.resize(gray, None, fx=0.25, fy=0.25), 9, 40, 9)
        ramp = np.linspace(0, 300, frame.shape[0], dtype=np.float32)[:, None]
        maps.append(np.asarray(cv2.resize(smooth, gray.shape[::-1]), dtype=np.float32) + ramp)
    return maps


@dataclass(frozen=True)
class HostRun:
    """The parts of a run over one clip.

    Attributes:
        clip: the video.
        folder: for outputs.
        args: of the command line.
        frames: the clip's first frames, in memory.
        maps: depth of them.
    """

    clip: Path
    folder: Path
    args: argparse.Namespace
    frames: list[Image]
    maps: list[DepthMap]

    def read(self) -> None:
        """Decode the clip, and scale its frames."""
        source = self._source()
        count = sum(1 for _ in source)
        source.close()
        assert count == self.args.frames, f"{count} frames were read"

    def preprocess(self) -> None:
        """Make the network's input of as many frames."""
        for index in range(self.args.frames):
            self._prepare(self.frames[there_and_back(index, len(self.frames))])

    def color(self) -> None:
        """Colour as many maps, over a range that is known before."""
        from video_depth_anything.outputs.colormap import Colorizer, color_table

        colorize = Colorizer(0.0, 555.0, color_table("inferno"))
        for index in range(self.args.frames):
            colorize(self.maps[there_and_back(index, len(self.maps))])

    def write(self, save: tuple[str, ...]) -> None:
        """Write as many frames and maps to the real outputs, from memory."""
        from video_depth_anything.video.frame import Frame

        source = self._source()
        outputs = self._outputs(source, save)
        duration = float(1 / source.fps)
        for index in range(self.args.frames):
            shown = there_and_back(index, len(self.frames))
            outputs.write(Frame(self.frames[shown], index * duration, duration, depth=self.maps[shown]))
        outputs.close()
        source.close()

    def run(self, save: tuple[str, ...]) -> None:
        """Everything at once, as the command does it."""
        from video_depth_anything.pipelines.driver import by_windows, run_video
        from video_depth_anything.pipelines.stop import Stop

        source = self._source()
        outputs = self._outputs(source, save)
        summary = run_video(source.timed(), by_windows(self._infer), outputs, lambda *_: None, Stop())
        source.close()
        assert summary.frames == self.args.frames, f"{summary.frames} frames were written"

    def _infer(self, frames: Iterator[Image]) -> Iterator[DepthMap]:
        """Depth as it comes offline, for many frames at a time; the network's input is made and thrown away."""
        from video_depth_anything.windows import STEP

        done = 0
        while window := list(islice(frames, STEP)):
            for frame in window:
                self._prepare(frame)
            for _ in window:
                yield self.maps[there_and_back(done, len(self.maps))]
                done += 1

    def _prepare(self, frame: Image) -> None:
        from video_depth_anything.transform import network_size, preprocess

        preprocess(frame, network_size(frame.shape[0], frame.shape[1], self.args.input_size))

    def _source(self) -> VideoSource:
        from video_depth_anything.video.source import Selection, open_video

        return open_video(self.clip, Selection(self.args.max_res))

    def _outputs(self, source: VideoSource, save: tuple[str, ...]) -> RunOutputs:
        from video_depth_anything.outputs.options import CameraOptions, OutputOptions
        from video_depth_anything.outputs.plan import OutputPlan

        options = OutputOptions(folder=self.folder, save=save, codec=self.args.codec, overwrite=True)
        return OutputPlan(options, CameraOptions(), metric=False).open(source)


def prepared_run(args: argparse.Namespace, size: tuple[int, int], folder: Path) -> HostRun:
    """Make the clip of one size, and what is held in memory of it."""
    from video_depth_anything.video.source import Selection, open_video

    clip = folder / f"clip_{size[0]}.mp4"
    make_clip(clip, args, size)
    source = open_video(clip, Selection(args.max_res, max_len=HELD))
    frames = list(source)
    source.close()
    return HostRun(clip, folder / "outputs", args, frames, free_maps(frames))


def measure(run: HostRun, repeats: int) -> dict[str, Cost]:
    """What each stage costs alone, and the whole path; they take turns."""
    stages: dict[str, Callable[[], object]] = {
        "reading": run.read,
        "preprocessing": run.preprocess,
        "colouring": run.color,
        "writing `src`": partial(run.write, ("src",)),
        "writing `vis`, colouring included": partial(run.write, ("vis",)),
        "**in all, `src vis`**": partial(run.run, ("src", "vis")),
        "**in all, `vis`**": partial(run.run, ("vis",)),
    }
    costs = {name: Cost() for name in stages}
    run.run(("src", "vis"))
    for _ in range(repeats):
        for name, work in stages.items():
            costs[name].measure(work)
    return costs


def main() -> int:
    args = parse_arguments()
    import logging
    from statistics import median

    from benchmark.speed.report import print_header, print_heading, print_row

    logging.getLogger().setLevel(logging.WARNING)
    print_heading(f"Host: {args.frames} frames, input size {args.input_size}, medians of {args.repeats}")
    for size in args.sizes:
        with tempfile.TemporaryDirectory() as folder:
            run = prepared_run(args, size, Path(folder))
            height, width = run.frames[0].shape[:2]
            print(f"Source {size[1]}x{size[0]}, processed {width}x{height}\n")
            costs = measure(run, args.repeats)
        print_header(TITLES)
        for name, cost in costs.items():
            each, cores = (1e3 * median(found) / args.frames for found in (cost.seconds, cost.core_seconds))
            print_row((name, f"{each:.2f}", f"{1e3 / each:.1f}", f"{cores:.2f}"))
        print()
    return 0


if __name__ == "__main__":
    sys.exit(run_script(main))
