"""Every output read back by another library than the one that wrote it."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
import zlib
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import imageio_ffmpeg
import numpy as np
import numpy.typing as npt
import OpenEXR
import pytest
from ffmpeg import ffmpeg_header
from PIL import Image

from utils.dc_utils import read_video_frames
from video_depth_anything.errors import OutputError
from video_depth_anything.files import whole_file
from video_depth_anything.outputs.base import OutputWriter, RunInfo
from video_depth_anything.outputs.frame_files import ExrFrames, Png16Frames
from video_depth_anything.outputs.late import LateOutputs
from video_depth_anything.outputs.npz import NpzArchive, joined_crc
from video_depth_anything.outputs.options import CameraOptions, DepthKind, OutputOptions, VisRange
from video_depth_anything.outputs.point_clouds import Intrinsics, PointClouds
from video_depth_anything.outputs.registry import FORMATS
from video_depth_anything.outputs.videos import ColorVideo, SourceVideo
from video_depth_anything.video.frame import Frame
from video_depth_anything.video.writer import VideoWriter

RNG = np.random.default_rng(0)
DEPTHS = RNG.random((5, 12, 18)).astype(np.float32) * 9 + 1
IMAGES = np.repeat(np.repeat(RNG.integers(0, 256, (5, 2, 3, 3)).astype(np.uint8), 6, axis=1), 6, axis=2)
FRAMES = [Frame(image, i / 24, 1 / 24, depth=depth) for i, (image, depth) in enumerate(zip(IMAGES, DEPTHS))]


def info(folder: Path, kind: DepthKind = "disparity", camera: CameraOptions | None = None, **options: Any) -> RunInfo:
    run = RunInfo(folder, "clip", "clip.mp4", kind, (12, 18), (24, 36), Fraction(24))
    return replace(run, options=OutputOptions(**options), camera=camera or CameraOptions())


def write(writer: OutputWriter, frames: list[Frame] = FRAMES) -> None:
    for frame in frames:
        writer.write(frame)
    writer.close()


def late_vis(run: RunInfo) -> OutputWriter:
    """The depth video over the range of the whole video."""
    return LateOutputs(run, [FORMATS["vis"]])


def late_mkv16(run: RunInfo) -> OutputWriter:
    return LateOutputs(run, [FORMATS["mkv16"]])


def decoded(path: Path, pixels: str, dtype: npt.DTypeLike, channels: int, size: tuple[int, int]) -> npt.NDArray[Any]:
    """Raw frames of a file as the ffmpeg program reads it."""
    command = [imageio_ffmpeg.get_ffmpeg_exe(), "-v", "error", "-i", str(path), "-f", "rawvideo", "-pix_fmt", pixels]
    result = subprocess.run([*command, "-fps_mode", "passthrough", "pipe:1"], capture_output=True, check=True)
    return np.frombuffer(result.stdout, dtype).reshape(-1, channels, *size)


def test_npz(tmp_path: Path) -> None:
    writer = NpzArchive(info(tmp_path, "depth_metres"))
    write(writer)
    assert [path.name for path in tmp_path.iterdir()] == ["clip_depths.npz"]
    with np.load(tmp_path / "clip_depths.npz", allow_pickle=False) as archive:
        assert archive["depths"].dtype == np.float32
        np.testing.assert_array_equal(archive["depths"], DEPTHS)
        assert str(archive["kind"]) == "depth_metres"
        assert float(archive["fps"]) == 24
        np.testing.assert_allclose(archive["timestamps"], np.arange(5) / 24)
        assert archive["source_size"].tolist() == [24, 36]


def test_npz_is_deflated(tmp_path: Path) -> None:
    flat = [replace(frame, depth=np.ones((12, 18), np.float32)) for frame in FRAMES]
    write(NpzArchive(info(tmp_path)), flat)
    listing = subprocess.run(
        [sys.executable, "-m", "zipfile", "-t", tmp_path / "clip_depths.npz"],
        capture_output=True,
        check=True,
        text=True,
    )
    assert "Done testing" in listing.stdout
    assert (tmp_path / "clip_depths.npz").stat().st_size < DEPTHS.nbytes / 2


@pytest.mark.parametrize("lengths", [(0, 0), (128, 1), (3, 100_003)])
def test_checksums_of_two_pieces(lengths: tuple[int, int]) -> None:
    first, second = (RNG.bytes(length) for length in lengths)
    assert joined_crc(zlib.crc32(first), zlib.crc32(second), len(second)) == zlib.crc32(first + second)


def test_exr(tmp_path: Path) -> None:
    import OpenEXR

    write(ExrFrames(info(tmp_path, "depth_metres", CameraOptions(focal_x=20))))
    folder = tmp_path / "clip_depths_exr"
    assert sorted(path.name for path in folder.iterdir()) == [f"frame_{i:05d}.exr" for i in range(5)]
    for plane in decoded(folder / "frame_00003.exr", "gbrpf32le", np.float32, 3, (12, 18))[0]:
        np.testing.assert_array_equal(plane, DEPTHS[3])
    file = OpenEXR.File(str(folder / "frame_00003.exr"), separate_channels=True)
    assert set(file.channels()) == set("RGBZ")
    np.testing.assert_array_equal(file.channels()["Z"].pixels, DEPTHS[3])
    header = file.header()
    assert (header["kind"], header["source"], header["fps"]) == ("depth_metres", "clip.mp4", 24)
    assert header["focal_x"] == 10  # of frames half as wide
    assert "timeCode" not in header
    assert header["time"] == pytest.approx(3 / 24)
    assert header["compression"] == OpenEXR.ZIP_COMPRESSION


@pytest.mark.parametrize(("kind", "error"), [("disparity", 9 / 65535), ("depth_metres", 0.0006)])
def test_png16(tmp_path: Path, kind: DepthKind, error: float) -> None:
    write(Png16Frames(info(tmp_path, kind)))
    mapping = json.loads((tmp_path / "clip_depths_png16" / "mapping.json").read_text())
    assert mapping["kind"] == kind
    assert len(mapping["files"]) == 5
    for (name, values), depth in zip(mapping["files"].items(), DEPTHS):
        levels = np.array(Image.open(tmp_path / "clip_depths_png16" / name))
        assert levels.dtype == np.uint16
        assert np.abs(levels * values["scale"] + values["offset"] - depth).max() <= error


@pytest.mark.parametrize(("kind", "error"), [("disparity", 10 / 65535), ("depth_metres", 0.0006)])
def test_mkv16_is_lossless(tmp_path: Path, kind: DepthKind, error: float) -> None:
    write(late_mkv16(info(tmp_path, kind)))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["clip_depths16.json", "clip_depths16.mkv"]
    mapping = json.loads((tmp_path / "clip_depths16.json").read_text())
    levels = decoded(tmp_path / "clip_depths16.mkv", "gray16le", np.uint16, 1, (12, 18))[:, 0]
    assert "ffv1" in ffmpeg_header(tmp_path / "clip_depths16.mkv")
    assert np.abs(levels * mapping["scale"] + mapping["offset"] - DEPTHS).max() <= error


def blocks(value: float, other: float) -> list[Frame]:
    """Two frames, left half one value and right half the other."""
    depth = np.full((12, 18), value, np.float32)
    depth[:, 9:] = other
    return [Frame(IMAGES[0], i / 24, 1 / 24, depth=depth) for i in range(2)]


@pytest.mark.parametrize(("kind", "near"), [("disparity", slice(9, 18)), ("depth_metres", slice(0, 9))])
@pytest.mark.parametrize("span", [VisRange(), VisRange("fixed", 1, 5), VisRange("percentile")])
def test_near_is_bright_in_relative_and_metric_videos(
    tmp_path: Path, kind: DepthKind, near: slice, span: VisRange
) -> None:
    run = info(tmp_path, kind, grayscale=True, vis_range=span)
    output = late_vis(run) if span.kind == "video" else ColorVideo(run)
    write(output, blocks(1, 5))
    frames, _ = read_video_frames(tmp_path / "clip_vis.mp4")
    far = slice(0, 9) if near.start else slice(9, 18)
    assert frames[1][:, near].mean() > 200
    assert frames[1][:, far].mean() < 50


def test_range_of_the_whole_video(tmp_path: Path) -> None:
    frames = blocks(0, 1)[:1] + blocks(2, 4)[:1]
    write(late_vis(info(tmp_path, grayscale=True)), frames)
    gray, _ = read_video_frames(tmp_path / "clip_vis.mp4")
    means = [gray[0][:, :8].mean(), gray[0][:, 10:].mean(), gray[1][:, :8].mean(), gray[1][:, 10:].mean()]
    np.testing.assert_allclose(means, (0, 64, 128, 255), atol=6)


@pytest.mark.parametrize("span", [VisRange(), VisRange("percentile")])
def test_side_by_side(tmp_path: Path, span: VisRange) -> None:
    run = info(tmp_path, vis_range=span, layout="compare")
    output = late_vis(run) if span.kind == "video" else ColorVideo(run)
    write(output)
    frames, _ = read_video_frames(tmp_path / "clip_vis.mp4")
    assert frames.shape == (5, 12, 36, 3)
    assert np.abs(frames[:, 1:5, 1:5].astype(int).mean(axis=(1, 2)) - IMAGES[:, 0, 0]).max() < 16


def test_frames_of_variable_duration_play_as_long_as_they_did(tmp_path: Path) -> None:
    times = [0.0, 0.04, 0.08, 1.0, 1.04]
    frames = [replace(f, time=t, duration=d) for f, t, d in zip(FRAMES, times, [0.04, 0.04, 0.92, 0.04, 0.04])]
    for output in (
        SourceVideo(info(tmp_path)),
        ColorVideo(info(tmp_path, vis_range=VisRange("percentile"))),
        late_mkv16(info(tmp_path)),
    ):
        write(output, frames)
    for name in ("clip_src.mp4", "clip_vis.mp4", "clip_depths16.mkv"):
        header = ffmpeg_header(tmp_path / name)
        seconds = header.split("Duration: ")[1].split(",")[0].split(":")[-1]
        assert float(seconds) == pytest.approx(1.08, abs=0.11), name
    assert not [path for path in tmp_path.iterdir() if path.name.startswith(".")]


def test_intrinsics() -> None:
    intrinsics = Intrinsics.centered(470.4, 400.0, (1080, 1920)).scaled((1080, 1920), (540, 960))
    assert intrinsics == Intrinsics(235.2, 200.0, 480.0, 270.0)
    points = intrinsics.unproject(np.full((540, 960), 2.0, dtype=np.float32)).reshape(540, 960, 3)
    np.testing.assert_allclose(points[270, 480], (0, 0, 2))
    np.testing.assert_allclose(points[0, 0], (-480 / 235.2 * 2, -270 / 200 * 2, 2), rtol=1e-6)
    wide = Intrinsics.from_fov(90, (100, 200))
    assert wide.focal_x == wide.focal_y == pytest.approx(100)
    left = wide.unproject(np.ones((100, 200), np.float32))[0]
    assert np.degrees(np.arctan2(-left[0], left[2])) == pytest.approx(45)


def read_ply(path: Path) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.uint8]]:
    header, _, body = path.read_bytes().partition(b"end_header\n")
    assert b"format binary_little_endian" in header
    kinds = [line.split()[1:] for line in header.decode().splitlines() if line.startswith("property")]
    sizes = {"double": "<f8", "float": "<f4", "uchar": "u1"}
    vertices = np.frombuffer(body, dtype=[(name, sizes[kind]) for kind, name in kinds])
    points = np.stack([vertices[axis] for axis in "xyz"], axis=1)
    return points, np.stack([vertices[name] for name in ("red", "green", "blue")], axis=1)


def test_ply_is_binary_and_gives_the_points_back(tmp_path: Path) -> None:
    intrinsics = Intrinsics.centered(20, 20, (12, 18))
    write(PointClouds(info(tmp_path, "depth_metres", CameraOptions(focal_x=40))))
    assert sorted(path.name for path in tmp_path.iterdir()) == [f"clip_point{i:04d}.ply" for i in range(5)]
    points, colors = read_ply(tmp_path / "clip_point0004.ply")
    np.testing.assert_array_equal(points.astype(np.float32), intrinsics.unproject(DEPTHS[4]))
    np.testing.assert_array_equal(colors, IMAGES[4].reshape(-1, 3))


def test_fewer_points(tmp_path: Path) -> None:
    intrinsics = Intrinsics.centered(20, 20, (12, 18))
    camera = CameraOptions(focal_x=40, every=2, stride=3, max_depth=5.0)
    writer = PointClouds(info(tmp_path, "depth_metres", camera))
    write(writer)
    assert sorted(path.name for path in tmp_path.iterdir()) == [f"clip_point{i:04d}.ply" for i in (0, 2, 4)]
    points, colors = read_ply(tmp_path / "clip_point0002.ply")
    kept = DEPTHS[2][::3, ::3] <= 5
    full = intrinsics.unproject(DEPTHS[2]).reshape(12, 18, 3)[::3, ::3]
    np.testing.assert_array_equal(points.astype(np.float32), full[kept])
    np.testing.assert_array_equal(colors, IMAGES[2][::3, ::3][kept])


def test_late_outputs_have_no_file_that_could_be_left_behind(tmp_path: Path) -> None:
    """And they get the frames as they came."""
    output = LateOutputs(info(tmp_path, depth="normalized"), [FORMATS["npz"], FORMATS["exr"]])
    for index, frame in enumerate(FRAMES):
        output.write(replace(frame, number=1001 + index, source_time=60 + frame.time))
    assert list(tmp_path.iterdir()) == []
    output.close()
    with np.load(tmp_path / "clip_depths.npz") as archive:
        low, high = DEPTHS.min(), DEPTHS.max()
        np.testing.assert_allclose(archive["depths"], (DEPTHS - low) / (high - low), atol=1e-6)
        np.testing.assert_allclose(archive["timestamps"], 60 + np.arange(5) / 24)
    assert (tmp_path / "clip_depths_exr" / "frame_01005.exr").is_file()


def test_a_file_that_was_not_finished_leaves_nothing(tmp_path: Path) -> None:
    (tmp_path / "old.txt").write_text("old")

    def fail() -> None:
        with whole_file(tmp_path / "old.txt") as partial:
            partial.write_text("new, half")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fail()
    assert [path.read_text() for path in tmp_path.iterdir()] == ["old"]


def test_nothing_is_left_of_outputs_that_were_given_up(tmp_path: Path) -> None:
    writers: list[OutputWriter] = [NpzArchive(info(tmp_path)), SourceVideo(info(tmp_path))]
    writers += [late_vis(info(tmp_path)), late_mkv16(info(tmp_path))]
    for writer in writers:
        writer.write(FRAMES[0])
        writer.abort()
    assert list(tmp_path.iterdir()) == []
    video = VideoWriter(tmp_path / "nowhere" / "a.mp4", (16, 16), Fraction(24))
    with pytest.raises(OutputError, match=r"cannot write .*nowhere"):
        video.close()


@pytest.mark.skipif(sys.platform != "linux", reason="other systems have no such names")
def test_folders_whose_names_are_no_text(tmp_path: Path) -> None:
    folder = tmp_path / os.fsdecode(b"caf\xe9")
    folder.mkdir()
    for make in (ExrFrames, Png16Frames, late_mkv16, NpzArchive):
        write(make(info(folder)))
    with (folder / "clip_depths_exr" / "frame_00003.exr").open("rb") as file:
        exr = OpenEXR.File(io.BytesIO(file.read()))
    np.testing.assert_array_equal(exr.channels()["Z"].pixels, DEPTHS[3])
