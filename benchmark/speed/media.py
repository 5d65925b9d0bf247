"""Decoding: milliseconds a frame, of clock and of processors, and peak memory of each reader over one generated video.

    python benchmark/speed/media.py --size 1920x1080 --frames 2000 --threads 8

Every reader runs in a process of its own, so that none has another's memory. OpenCV and a pipe from the ffmpeg program
are what this project read with before.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
READERS = ("pyav", "opencv", "ffmpeg")


def make_video(path: Path, size: str, frames: int) -> None:
    """Write moving test patterns with noise in H.264, at about the bit rate of a phone's recording."""
    import imageio_ffmpeg

    source = f"testsrc2=s={size}:r=30,noise=alls=8:allf=t"
    command = [imageio_ffmpeg.get_ffmpeg_exe(), "-v", "error", "-y", "-f", "lavfi", "-i", source]
    command += ["-frames:v", str(frames), "-c:v", "libx264", "-preset", "veryfast", "-crf", "28", "-pix_fmt", "yuv420p"]
    subprocess.run([*command, str(path)], check=True)


def read_pyav(path: str) -> Iterator[Any]:
    sys.path.insert(0, str(ROOT))
    from video_depth_anything.video.source import open_video

    with closing(open_video(path)) as source:
        yield from source


def read_opencv(path: str) -> Iterator[Any]:
    import cv2

    capture = cv2.VideoCapture(path)
    while True:
        ok, image = capture.read()
        if not ok:
            return
        yield cv2.cvtColor(image, cv2.COLOR_BGR2RGB)


def read_ffmpeg(path: str) -> Iterator[Any]:
    import cv2
    import imageio_ffmpeg
    import numpy as np

    capture = cv2.VideoCapture(path)
    height, width = (int(capture.get(side)) for side in (cv2.CAP_PROP_FRAME_HEIGHT, cv2.CAP_PROP_FRAME_WIDTH))
    capture.release()
    command = [imageio_ffmpeg.get_ffmpeg_exe(), "-v", "error", "-i", path, "-fps_mode", "passthrough"]
    process = subprocess.Popen([*command, "-f", "rawvideo", "-pix_fmt", "rgb24", "-"], stdout=subprocess.PIPE)
    assert process.stdout is not None
    while len(data := process.stdout.read(height * width * 3)) == height * width * 3:
        yield np.frombuffer(data, np.uint8).reshape(height, width, 3)
    process.wait()


def measure(reader: str, path: str) -> dict[str, float]:
    """Read all frames, and touch each; the time counts from the first one, without imports and opening."""
    read: Callable[[str], Iterator[Any]] = {"pyav": read_pyav, "opencv": read_opencv, "ffmpeg": read_ffmpeg}[reader]
    start, begun, count, early = 0.0, 0.0, 0, 0.0
    for frame in read(path):
        frame[0, 0, 0].item()
        count += 1
        if count == 1:
            start, begun = time.perf_counter(), busy_seconds()
        if count == 200:
            early = peak_mb()
    ms, cpu_ms = (1000 * spent / (count - 1) for spent in (time.perf_counter() - start, busy_seconds() - begun))
    return {"frames": count, "ms": ms, "cpu_ms": cpu_ms, "peak_mb_at_200": early, "peak_mb": peak_mb()}


def busy_seconds() -> float:
    """Seconds of processors that this process and those it ran have taken; one that still runs is not in it."""
    busy = os.times()
    return busy.user + busy.system + busy.children_user + busy.children_system


def peak_mb() -> float:
    """Peak resident memory of this process and of the largest that it ran and that has ended, added."""
    own, child = (resource.getrusage(who).ru_maxrss for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return (own + child) / 1024


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", default="1920x1080", help="of the video's frames")
    parser.add_argument("--frames", type=int, default=2000)
    parser.add_argument("--threads", type=int, default=8, help="processors to use, as far as there are so many")
    parser.add_argument("--readers", nargs="+", choices=READERS, default=READERS)
    parser.add_argument("--child", nargs=2, metavar=("READER", "PATH"), help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.child:
        print(json.dumps(measure(*args.child)))
        return
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[: args.threads])
        print(f"{len(os.sched_getaffinity(0))} processors, {args.size}")
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "video.mp4"
        make_video(path, args.size, args.frames)
        for reader in args.readers:
            command = [sys.executable, __file__, "--child", reader, str(path)]
            found = json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout)
            memory = f"peak {found['peak_mb']:.0f} MB, {found['peak_mb_at_200']:.0f} MB after 200 frames"
            times = f"{found['ms']:.2f} ms a frame, {found['cpu_ms']:.2f} ms of processors"
            print(f"{reader:8} {found['frames']} frames  {times}  {memory}", flush=True)


if __name__ == "__main__":
    main()
