"""How much faster a video is done by several devices: simulated from times that are measured on this one.

    python benchmark/speed/scaling.py --size 1280x720 --encoder vits
    python benchmark/speed/scaling.py --check            # compare the simulation with real runs of 1 and 2 processes
    python benchmark/speed/scaling.py --times times.json --link 1.25e9 --disk 5e9

Measured are one window, one frame's encoding, decoding the video, aligning, the outputs (`_src.mp4` and the two-pass
`_vis.mp4`), and the rate of the temporary folder's disk, which may be the system's cache. Any of them can be given
instead, in a JSON file with the names of `simulation.Times`; what is printed as "times" is such a file. The speed-up is
against one process.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import closing
from dataclasses import asdict, fields
from pathlib import Path

if not __package__:  # run as a file: the repository is not on the path, but this folder is
    sys.path[0] = str(Path(__file__).resolve().parents[2])

from benchmark.speed.arguments import add_model_arguments, frame_size, parser_for
from benchmark.speed.memory import make_video
from benchmark.speed.report import print_header, print_heading, print_row
from benchmark.speed.simulation import Times, simulate
from benchmark.speed.weights import checkpoint_file
from video_depth_anything.cli.console import run_script
from video_depth_anything.cli.parser import positive_float, positive_int
from video_depth_anything.config import BACKENDS, PRECISIONS

ROOT = Path(__file__).resolve().parents[2]
# Windows that are timed, after the first one, which allocates and compiles.
TIMED = 3
# To tell the rate of the disk, as many windows as these are written and read again.
COPIES = 4


def parse() -> argparse.Namespace:
    parser = parser_for(__doc__)
    add_model_arguments(parser, 280)
    parser.add_argument("--backend", choices=BACKENDS, default="auto")
    parser.add_argument("--precision", choices=PRECISIONS, default="auto")
    parser.add_argument("--size", type=frame_size, default=(720, 1280), metavar="WxH", help="of frames: 1280x720")
    parser.add_argument("--frames", type=positive_int, nargs="+", default=[1000, 200_000], help="lengths of the videos")
    parser.add_argument("--ranks", type=positive_int, nargs="+", default=[1, 2, 4, 8, 16, 32, 64])
    parser.add_argument("--times", type=Path, help="JSON file with times that replace measured ones")
    parser.add_argument("--disk", type=positive_float, help="bytes a second of the shared disk")
    rate = "bytes a second between a device and that disk (default: 1.25e9, 10 Gbit/s)"
    parser.add_argument("--link", type=positive_float, default=1.25e9, help=rate)
    parser.add_argument("--check", action="store_true", help="compare with runs of 1 and 2 processes on this machine")
    parser.add_argument("--check_frames", type=positive_int, default=200, help="length of their video (default: 200)")
    return parser.parse_args()


def seconds(work: Callable[[], object]) -> float:
    """How long a call takes."""
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def measure(args: argparse.Namespace, checkpoint: Path, video: Path, folder: Path) -> dict[str, float]:
    """All times and rates on this machine, each by itself, one after the other."""
    import numpy as np

    from benchmark.speed.clip import synthetic_frames
    from video_depth_anything import choose_execution, load_backend, load_model
    from video_depth_anything.frame_encoder import FrameEncoder
    from video_depth_anything.offline import RawWindows, join_windows
    from video_depth_anything.pipelines.window_spool import NEW_SLOTS, WindowSpool
    from video_depth_anything.video.source import open_video

    execution = choose_execution(args.device, args.precision, args.backend)
    network = load_backend(load_model(args.encoder, False, checkpoint, execution.device), execution)
    raw = RawWindows(network, synthetic_frames(args.size), args.input_size, execution)
    first = raw.window(0)
    assert first is not None
    window = seconds(lambda: [raw.window(index) for index in range(1, TIMED + 1)]) / TIMED
    encoder = FrameEncoder(network, synthetic_frames(args.size), args.input_size, execution, lambda: None)
    encode = seconds(lambda: [encoder.at(number) for number in range(NEW_SLOTS)]) / NEW_SLOTS
    with closing(open_video(video)) as source:
        read = seconds(lambda: sum(1 for _ in source)) / args.check_frames
    spool = WindowSpool(folder, "measured", args.size)
    spool.begin({}, keep=False)
    copied = 2 * COPIES * first.nbytes
    start = time.perf_counter()
    for index in range(COPIES):
        spool.write(index, first)
        spool.read(index)
    disk = copied / (time.perf_counter() - start)
    spool.remove()
    windows = [np.copy(first) for _ in range(TIMED)]
    join = seconds(lambda: sum(1 for _ in join_windows(windows, False, execution.device))) / TIMED
    write, finish = measure_outputs(video, folder, first)
    one = float(np.prod(args.size)) * 4
    return {"window": window, "encode": encode, "read": read, "join": join, "write": write, "finish": finish} | {
        "depth_bytes": one,
        "disk": disk,
    }


def measure_outputs(video: Path, folder: Path, window: object) -> tuple[float, float]:
    """Seconds a window that run.py's default outputs take: as frames come, and at the end."""
    import numpy as np

    from video_depth_anything.outputs.base import DepthFrame, OutputWriter, RunInfo
    from video_depth_anything.outputs.colormap import color_table
    from video_depth_anything.outputs.spool import LateOutputs
    from video_depth_anything.outputs.videos import DepthVideo, SourceVideo
    from video_depth_anything.outputs.visualiser import VisStyle
    from video_depth_anything.pipelines.window_spool import NEW_SLOTS
    from video_depth_anything.video.source import open_video

    depths = np.asarray(window, dtype=np.float32)
    with closing(open_video(video)) as source:
        size = source.size
        info = RunInfo(folder, "measured", str(video), "disparity", size, size, source.fps)
        writers: list[OutputWriter] = [SourceVideo(info, None)]
        style = VisStyle(color_table("inferno"))
        writers.append(LateOutputs(info, [lambda info, ends: DepthVideo(info, style, ends=ends)], False))
        count, write = 0, 0.0
        for count, frame in enumerate(source.timed(), start=1):
            shown = DepthFrame(frame.image, depths[count % len(depths)], frame.time, frame.duration)
            start = time.perf_counter()
            for writer in writers:
                writer.write(shown)
            write += time.perf_counter() - start
        start = time.perf_counter()
        for writer in writers:
            writer.close()
        finish = time.perf_counter() - start
    return write / count * NEW_SLOTS, finish / count * NEW_SLOTS


def real_seconds(args: argparse.Namespace, ranks: int, checkpoint: Path, video: Path, folder: Path) -> float:
    """What run.py says that it took, alone or under torchrun; loading is not in it."""
    launcher = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", str(ranks)] if ranks > 1 else []
    command = [
        sys.executable,
        *launcher,
        str(ROOT / "run.py"),
        "--input_video",
        str(video),
        "--output_dir",
        str(folder),
    ]
    command += ["--encoder", args.encoder, "--checkpoint", str(checkpoint), "--input_size", str(args.input_size)]
    command += ["--device", args.device, "--backend", args.backend, "--precision", args.precision]
    result = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    found = re.search(r" frames in ([\d.]+) s", result.stdout)
    if result.returncode or found is None:
        raise SystemExit(f"failed: {' '.join(command)}\n{result.stderr}")
    return float(found.group(1))


def print_table(args: argparse.Namespace, times: Times) -> None:
    """Speed-up and bottleneck for each length and number of devices."""
    for frames in args.frames:
        print(f"\n{frames} frames\n")
        print_header(["devices", "seconds", "speed-up", "of ideal", "bottleneck", "it alone, seconds"])
        alone = simulate(frames, 1, times).seconds
        for ranks in args.ranks:
            found = simulate(frames, ranks, times)
            gain = alone / found.seconds
            cells = [ranks, f"{found.seconds:.1f}", f"{gain:.2f}", f"{gain / ranks:.0%}", found.bottleneck]
            print_row([*cells, f"{found.bounds[found.bottleneck]:.1f}"])


def main() -> int:
    args = parse()
    # Before PyTorch counts the cores: torchrun gives each process one thread if nothing else is said.
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    given = json.loads(args.times.read_text()) if args.times else {}
    given = {**given, "link": args.link} | ({} if args.disk is None else {"disk": args.disk})
    height, width = args.size
    print_heading(f"Several devices at one video, {width}x{height}, {args.encoder}, input size {args.input_size}")
    with tempfile.TemporaryDirectory() as temporary:
        folder, video = Path(temporary), Path(temporary, "clip.mp4")
        complete = {field.name for field in fields(Times)} <= set(given)
        if not complete or args.check:
            make_video(video, args.check_frames, height, width)
        if complete and not args.check:
            times = Times(**given)
        else:
            with checkpoint_file(args.checkpoint, args.encoder) as checkpoint:
                measured = {} if complete else measure(args, checkpoint, video, folder)
                times = Times(**{**measured, **given})
                if args.check:
                    check(args, times, checkpoint, video, folder)
    print(f"\ntimes: {json.dumps({name: float(f'{value:.4g}') for name, value in asdict(times).items()})}")
    print_table(args, times)
    return 0


def check(args: argparse.Namespace, times: Times, checkpoint: Path, video: Path, folder: Path) -> None:
    """Print what is simulated beside what real runs took."""
    print(f"{args.check_frames} frames, simulated and real\n")
    print_header(["processes", "simulated, s", "real, s", "simulated / real"])
    for ranks in (1, 2):
        simulated = simulate(args.check_frames, ranks, times).seconds
        real = real_seconds(args, ranks, checkpoint, video, folder / str(ranks))
        print_row([ranks, f"{simulated:.1f}", f"{real:.1f}", f"{simulated / real:.2f}"])


if __name__ == "__main__":
    sys.exit(run_script(main))
