"""Every output read back by another library than the one that wrote it."""

from __future__ import annotations

import subprocess
import threading
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from utils.depth_writers import DepthSpool, ExrFrames, PointClouds, SpooledOutputs, write_npz
from utils.files import OutputError, whole_file
from utils.overlap import BackgroundConsumer, prefetch
from utils.point_cloud import Intrinsics, require_open3d
from utils.runner import run_video
from utils.video_readers import ffmpeg_program

RNG = np.random.default_rng(0)
DEPTHS = RNG.random((5, 12, 17)).astype(np.float32) * 9 + 1
FRAMES = RNG.integers(0, 256, (5, 12, 17, 3)).astype(np.uint8)


def test_npz(tmp_path: Path) -> None:
    spool = DepthSpool(tmp_path, (12, 17))
    for depth in DEPTHS:
        spool.append(depth)
    assert list(tmp_path.iterdir()) == []  # the spool has no name that could be left behind
    assert (spool.low, spool.high) == (DEPTHS.min(), DEPTHS.max())
    write_npz(tmp_path / "d.npz", spool, (5, 12, 17))
    with np.load(tmp_path / "d.npz") as archive:
        assert archive.files == ["depths"]
        assert archive["depths"].dtype == np.float32
        np.testing.assert_array_equal(archive["depths"], DEPTHS)


def test_range_leaves_out_what_is_no_number(tmp_path: Path) -> None:
    spool = DepthSpool(tmp_path, (1, 3))
    spool.append(np.array([[np.nan, 2, np.inf]], dtype=np.float32))
    spool.append(np.array([[3, -np.inf, np.nan]], dtype=np.float32))
    assert (spool.low, spool.high) == (2, 3)


def test_exr_read_by_ffmpeg(tmp_path: Path) -> None:

    writer = ExrFrames(tmp_path / "exr")
    for frame, depth in zip(FRAMES, DEPTHS):
        writer.write(frame, depth)
    writer.close()
    assert sorted(path.name for path in (tmp_path / "exr").iterdir()) == [f"frame_{i:05d}.exr" for i in range(5)]
    command = [ffmpeg_program(), "-v", "error", "-i", str(tmp_path / "exr" / "frame_00003.exr")]
    command += ["-f", "rawvideo", "-pix_fmt", "gbrpf32le", "pipe:1"]
    result = subprocess.run(command, capture_output=True, check=True)
    planes = np.frombuffer(result.stdout, np.float32).reshape(3, 12, 17)
    for plane in planes:
        np.testing.assert_array_equal(plane, DEPTHS[3])


def test_exr_channel_z(tmp_path: Path) -> None:
    import OpenEXR

    writer = ExrFrames(tmp_path / "exr")
    writer.write(FRAMES[0], DEPTHS[0])
    channels = OpenEXR.File(str(tmp_path / "exr" / "frame_00000.exr"), separate_channels=True).channels()
    assert set(channels) == set("RGBZ")
    np.testing.assert_array_equal(channels["Z"].pixels, DEPTHS[0])


def test_intrinsics_follow_the_frame_size() -> None:
    intrinsics = Intrinsics.centered(470.4, 400.0, (1080, 1920), (540, 960))
    assert intrinsics == Intrinsics(235.2, 200.0, 480.0, 270.0)
    points = intrinsics.unproject(np.full((540, 960), 2.0, dtype=np.float32)).reshape(540, 960, 3)
    np.testing.assert_allclose(points[270, 480], (0, 0, 2))
    np.testing.assert_allclose(points[0, 0], (-480 / 235.2 * 2, -270 / 200 * 2, 2), rtol=1e-6)


def test_ply_is_binary_and_gives_the_points_back(tmp_path: Path) -> None:
    require_open3d()
    intrinsics = Intrinsics.centered(20, 20, (12, 17), (12, 17))
    writer = PointClouds(tmp_path / "clip_point", intrinsics)
    for frame, depth in zip(FRAMES, DEPTHS):
        writer.write(frame, depth)
    assert sorted(path.name for path in tmp_path.iterdir()) == [f"clip_point{i:04d}.ply" for i in range(5)]
    header, _, body = (tmp_path / "clip_point0004.ply").read_bytes().partition(b"end_header\n")
    assert b"format binary_little_endian" in header
    assert b"element vertex 204" in header
    kinds = [line.split()[1:] for line in header.decode().splitlines() if line.startswith("property")]
    sizes = {"double": "<f8", "float": "<f4", "uchar": "u1"}
    vertices = np.frombuffer(body, dtype=[(name, sizes[kind]) for kind, name in kinds])
    points = np.stack([vertices[axis] for axis in "xyz"], axis=1)
    np.testing.assert_array_equal(points.astype(np.float32), intrinsics.unproject(DEPTHS[4]))
    colors = np.stack([vertices[name] for name in ("red", "green", "blue")], axis=1)
    np.testing.assert_array_equal(colors, FRAMES[4].reshape(-1, 3))


def test_a_file_that_was_not_finished_leaves_nothing(tmp_path: Path) -> None:
    (tmp_path / "old.txt").write_text("old")

    def fail() -> None:
        with whole_file(tmp_path / "old.txt") as partial:
            partial.write_text("new, half")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fail()
    assert [path.read_text() for path in tmp_path.iterdir()] == ["old"]


def test_prefetch_stays_a_bounded_number_ahead() -> None:
    made: list[int] = []

    def items() -> Iterator[int]:
        for i in range(100):
            made.append(i)
            yield i

    ahead = prefetch(items(), 3)
    assert [next(ahead) for _ in range(10)] == list(range(10))
    assert len(made) <= 10 + 3 + 1
    ahead.close()  # type: ignore[attr-defined]
    assert threading.active_count() == 1 or all(thread.name != "reader" for thread in threading.enumerate())


def test_errors_come_out_of_the_threads() -> None:
    def items() -> Iterator[int]:
        yield 1
        raise ValueError("in the reader")

    with pytest.raises(ValueError, match="in the reader"):
        list(prefetch(items(), 2))

    def consume(item: int) -> None:
        raise OutputError(f"in the writer at {item}")

    consumer = BackgroundConsumer(consume, 2)
    consumer.put(0)
    with pytest.raises(OutputError, match="in the writer at 0"):
        consumer.finish()
    consumer.cancel()


@pytest.mark.parametrize("stop", [None, KeyboardInterrupt, ValueError])
def test_a_run_finishes_or_leaves_nothing(tmp_path: Path, stop: type[BaseException] | None) -> None:
    def infer(frames: object) -> object:
        for index, _ in enumerate(frames):  # type: ignore[arg-type]
            if stop is not None and index == 3:
                raise stop
            yield DEPTHS[index]

    def outputs() -> SpooledOutputs:
        return SpooledOutputs(tmp_path / "v.mp4", tmp_path / "d.npz", (12, 17), Fraction(24), "inferno")

    advanced: list[None] = []
    if stop is ValueError:
        with pytest.raises(ValueError, match=r"^$"):
            run_video(FRAMES, infer, [outputs()], lambda: advanced.append(None))  # type: ignore[arg-type]
        assert list(tmp_path.iterdir()) == []
        return
    summary = run_video(FRAMES, infer, [outputs()], lambda: advanced.append(None))  # type: ignore[arg-type]
    done = 5 if stop is None else 3
    assert (summary.frames, summary.interrupted, len(advanced)) == (done, stop is not None, done)
    np.testing.assert_array_equal(np.load(tmp_path / "d.npz")["depths"], DEPTHS[:done])
    assert sorted(path.name for path in tmp_path.iterdir()) == ["d.npz", "v.mp4"]
