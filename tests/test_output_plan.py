"""What a plan writes and refuses, and what numeric outputs hold; read back with Pillow, numpy, OpenEXR and ffmpeg."""

from __future__ import annotations

import io
import json
import os
import subprocess
from collections.abc import Callable
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import imageio_ffmpeg
import numpy as np
import numpy.typing as npt
import OpenEXR
import pytest
from conftest import MakeVideo
from PIL import Image

from video_depth_anything.errors import OutputError, UsageError
from video_depth_anything.outputs.base import Finished, RunInfo
from video_depth_anything.outputs.display import RawOutput
from video_depth_anything.outputs.options import CameraOptions, OutputOptions, VisRange
from video_depth_anything.outputs.plan import OutputPlan
from video_depth_anything.outputs.point_clouds import Intrinsics, processed_intrinsics
from video_depth_anything.outputs.registry import FORMATS
from video_depth_anything.video.frame import Frame
from video_depth_anything.video.inputs import expand_inputs
from video_depth_anything.video.source import VideoSource, open_images, open_video

SIZE = (12, 18)
# Nearer from frame to frame, so that each has a range of its own.
DEPTHS = (np.random.default_rng(0).random((5, *SIZE)) * 9 + np.arange(1, 6)[:, None, None]).astype(np.float32)
LOW, HIGH = float(DEPTHS.min()), float(DEPTHS.max())
PROVENANCE = {
    "software": "Video Depth Anything 1.0",
    "checkpoint": "some_vits.pth",
    "checkpoint_sha256": "ab" * 32,
}
NUMERIC = ("npz", "exr", "png16", "mkv16")
Frames = npt.NDArray[Any]


@pytest.fixture
def source(make_video: MakeVideo) -> VideoSource:
    return open_video(make_video("clip.mp4", height=SIZE[0], width=SIZE[1]))


def plan(
    folder: Path, *save: str, metric: bool = False, camera: CameraOptions | None = None, **given: Any
) -> OutputPlan:
    options = OutputOptions(folder=folder, save=save or None, **given)
    return OutputPlan(options, camera or CameraOptions(), metric, 0.0, PROVENANCE)


def frames(first: int | None = None) -> list[Frame]:
    image = np.full((*SIZE, 3), 90, np.uint8)
    return [
        Frame(image, i / 24, 1 / 24, None if first is None else first + 2 * i, depth=depth)
        for i, depth in enumerate(DEPTHS)
    ]


def write(planned: OutputPlan, source: VideoSource, given: list[Frame] | None = None) -> list[str]:
    with planned.open(source) as outputs:
        for frame in given or frames():
            outputs.write(frame)
        outputs.close()
    assert all(path.exists() for path in outputs.files())
    return outputs.written()


def shown(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir() if not path.name.startswith(".")}


def read(folder: Path) -> dict[str, Frames]:
    """The numbers of every format, (N, H, W)."""
    with np.load(folder / "clip_depths.npz") as archive:
        found: dict[str, Frames] = {"npz": archive["depths"]}
    exr = sorted((folder / "clip_depths_exr").iterdir())
    found["exr"] = np.stack([OpenEXR.File(str(p), separate_channels=True).channels()["Z"].pixels for p in exr])
    files = json.loads((folder / "clip_depths_png16" / "mapping.json").read_text())["files"]
    found["png16"] = np.stack(
        [
            np.array(Image.open(folder / "clip_depths_png16" / name), np.float64) * m["scale"] + m["offset"]
            for name, m in files.items()
        ]
    )
    command = [imageio_ffmpeg.get_ffmpeg_exe(), "-v", "error", "-i", str(folder / "clip_depths16.mkv")]
    raw = subprocess.run([*command, "-f", "rawvideo", "-pix_fmt", "gray16le", "-"], capture_output=True, check=True)
    mapping = json.loads((folder / "clip_depths16.json").read_text())
    levels = np.frombuffer(raw.stdout, np.uint16).reshape(-1, *SIZE)
    found["mkv16"] = levels * mapping["scale"] + mapping["offset"]
    return found


@pytest.mark.parametrize("metric", [False, True])
@pytest.mark.parametrize(
    ("form", "expected"),
    [
        ("raw", lambda depths: depths),
        ("normalized", lambda depths: (depths - LOW) / (HIGH - LOW)),
        ("inverted", lambda depths: (HIGH - depths) / (HIGH - LOW)),
    ],
)
def test_numbers_of_every_format(
    tmp_path: Path, source: VideoSource, metric: bool, form: str, expected: Callable[[Frames], Frames]
) -> None:
    written = write(plan(tmp_path / "out", *NUMERIC, metric=metric, depth=form), source)
    assert f"{tmp_path / 'out' / 'clip_depths_exr'}/ (5 files)" in written
    wanted = expected(DEPTHS)
    tolerance = 6e-4 if metric and form == "raw" else (HIGH - LOW if form == "raw" else 1) / 65535
    for name, numbers in read(tmp_path / "out").items():
        assert np.abs(numbers - wanted).max() <= (1e-6 if name in ("npz", "exr") else tolerance), name
    with np.load(tmp_path / "out" / "clip_depths.npz") as archive:
        assert str(archive["depth"]) == form
        if form != "raw":
            assert (float(archive["lowest"]), float(archive["highest"])) == (LOW, HIGH)


@pytest.mark.parametrize(("scale", "scales"), [("video", 1), ("frame", 5)])
def test_png16_has_one_scale_a_video_unless_asked(tmp_path: Path, source: VideoSource, scale: str, scales: int) -> None:
    write(plan(tmp_path, "png16", png16_scale=scale), source)
    files = json.loads((tmp_path / "clip_depths_png16" / "mapping.json").read_text())["files"]
    assert len({(m["scale"], m["offset"]) for m in files.values()}) == scales
    levels = [np.array(Image.open(tmp_path / "clip_depths_png16" / name)) for name in files]
    assert [level.max() == 65535 for level in levels].count(True) == scales


def test_where_the_numbers_come_from_and_standard_attributes(tmp_path: Path, source: VideoSource) -> None:
    write(replace(plan(tmp_path, *NUMERIC), start=3600.5), source, frames(first=1001))
    names = [f"frame_{n:05d}" for n in (1001, 1003, 1005, 1007, 1009)]
    assert [path.stem for path in sorted((tmp_path / "clip_depths_exr").iterdir())] == names
    assert {path.stem for path in (tmp_path / "clip_depths_png16").glob("*.png")} == set(names)
    header = OpenEXR.File(str(tmp_path / "clip_depths_exr" / "frame_01005.exr")).header()
    assert "timeCode" not in header
    assert header["framesPerSecond"] == Fraction(24)
    assert header["pixelAspectRatio"] == 1
    mappings = [tmp_path / "clip_depths16.json", tmp_path / "clip_depths_png16" / "mapping.json"]
    with np.load(tmp_path / "clip_depths.npz") as archive:
        found = [{name: str(archive[name]) for name in PROVENANCE}]
    for told in (header, *(json.loads(path.read_text()) for path in mappings), *found):
        assert {name: told[name] for name in PROVENANCE} == PROVENANCE


def test_numbers_keep_the_pixels_of_a_plate(tmp_path: Path) -> None:
    """Twice as wide as high; pictures for people are stretched."""
    header = {"compression": OpenEXR.ZIP_COMPRESSION, "type": OpenEXR.scanlineimage, "pixelAspectRatio": 2.0}
    plate = np.random.default_rng(2).random((12, 9)).astype(np.float32)
    OpenEXR.File(header, dict.fromkeys("RGB", plate)).write(str(tmp_path / "clip.exr"))
    source = open_images([tmp_path / "clip.exr"])
    assert source.size == SIZE
    write(plan(tmp_path / "out", "src", "vis", *NUMERIC, metric=True), source, frames()[:1])
    expected = DEPTHS[0].reshape(12, 9, 2).mean(axis=2)
    with np.load(tmp_path / "out" / "clip_depths.npz") as archive:
        np.testing.assert_allclose(archive["depths"][0], expected, rtol=1e-6)
        assert float(archive["pixel_aspect"]) == 2
    file = OpenEXR.File(str(tmp_path / "out" / "clip_depths_exr" / "frame_00000.exr"), separate_channels=True)
    np.testing.assert_allclose(file.channels()["Z"].pixels, expected, rtol=1e-6)
    assert file.header()["pixelAspectRatio"] == 2
    assert file.header()["focal_x"] == pytest.approx(470.4 / 2)
    for name, size in (("clip_src.mp4", SIZE), ("clip_vis.mp4", SIZE), ("clip_depths16.mkv", (12, 9))):
        assert open_video(tmp_path / "out" / name).source_size == size


@pytest.mark.parametrize(("name", "size"), [("vis", (2, 16386)), ("src", (30000, 2)), ("compare", (4, 9000))])
def test_frames_that_no_player_shows_are_refused_before_the_work(
    make_video: MakeVideo, tmp_path: Path, name: str, size: tuple[int, int]
) -> None:
    source = open_video(make_video("clip.mp4"))
    source.size = size
    with pytest.raises(OutputError, match=f"{name} cannot hold frames of {size[1]}x{size[0]} pixels .*--max_res"):
        plan(tmp_path / "out", name, "npz").open(source)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("size", [(1, 1), (1, 64), (64, 1), (3, 17)])
def test_frames_of_a_pixel_are_right_or_refused(make_video: MakeVideo, tmp_path: Path, size: tuple[int, int]) -> None:
    source = open_video(make_video("clip.mp4", height=64, width=64))
    source.size = size
    given = [
        Frame(np.full((*size, 3), 90, np.uint8), v / 24, 1 / 24, depth=np.full(size, v, np.float32)) for v in range(3)
    ]
    if min(size) < 2:
        with pytest.raises(OutputError, match=f"mkv16 cannot hold frames of {size[1]}x{size[0]}"):
            plan(tmp_path / "out", "mkv16").open(source)
        assert not (tmp_path / "out").exists()
    else:
        write(plan(tmp_path / "out", "mkv16"), source, given)
    write(plan(tmp_path / "out", "src", "vis", "npz", "exr", "png16"), source, given)
    levels = [np.array(Image.open(tmp_path / "out" / "clip_depths_png16" / f"frame_{i:05d}.png")) for i in range(3)]
    assert [int(level.min()) for level in levels] == [0, 32768, 65535]
    assert levels[0].shape == size
    assert (tmp_path / "out" / "clip_vis.mp4").stat().st_size > 0


@pytest.mark.parametrize(
    ("given", "line"),
    [
        ({"save": ("ply",)}, "--save ply needs depth in metres"),
        ({"save": ("gif",)}, "--save gif: unknown format; choose from src, vis"),
        ({"colormap": "mud"}, "--colormap: matplotlib has no colour map 'mud'"),
        ({"png16_scale": "frame", "depth": "inverted"}, "cannot be combined with --png16_scale frame"),
    ],
)
def test_options_that_make_no_sense(given: dict[str, Any], line: str) -> None:
    with pytest.raises(UsageError, match=line):
        OutputPlan(OutputOptions(**given), CameraOptions(), False)


def test_focal_lengths_of_the_processed_frame_and_of_the_source() -> None:
    source, half = (1080, 1920), (540, 960)
    own, line = processed_intrinsics(CameraOptions(), source, half)
    assert own == Intrinsics.centered(470.4, 470.4, half)
    assert "940.8 pixels of the source times a factor of 0.5" in line
    given, line = processed_intrinsics(
        CameraOptions(focal_x=1000, focal_y=900, principal_point=(900, 500)), source, half
    )
    assert given == Intrinsics(500, 450, 450, 250)
    assert "factor of 0.5" in line
    wide, _ = processed_intrinsics(CameraOptions(fov=90), source, half)
    assert wide.focal_x == pytest.approx(480)


def test_outputs_that_would_overwrite_an_input(make_video: MakeVideo, tmp_path: Path) -> None:
    names = ("shot.mp4", "shot_src.mp4", "other.mp4")
    first, second, third = (str(make_video(name)) for name in names)
    there = plan(tmp_path)
    there.check_inputs(expand_inputs([first, third]))
    plan(tmp_path, "npz").check_inputs(expand_inputs([first, second]))
    plan(tmp_path / "out").check_inputs(expand_inputs([first, second]))
    (tmp_path / "link").symlink_to(tmp_path)
    for folder in (tmp_path, tmp_path / "link", Path(os.path.relpath(tmp_path))):
        with pytest.raises(OutputError, match=r"outputs of .*shot\.mp4 would overwrite the input .*shot_src\.mp4"):
            plan(folder, overwrite=True).check_inputs(expand_inputs([first, second]))
    images = tmp_path / "shot_depths_png16"
    images.mkdir()
    Image.new("L", (4, 4)).save(images / "a.png")
    with pytest.raises(OutputError, match="shot_depths_png16"):
        plan(tmp_path, "png16").check_inputs(expand_inputs([first, str(images)]))


def test_bytes_and_the_disk(tmp_path: Path, source: VideoSource) -> None:
    assert set(plan(tmp_path).bytes_per_frame(SIZE)) == {"src", "vis", "spool, removed at the end"}
    running = plan(tmp_path, "npz", "vis", vis_range=VisRange("percentile"))
    assert running.bytes_per_frame((100, 100)) == {"npz": 40000, "vis": 6000}
    compared = plan(tmp_path, "vis", layout="compare").bytes_per_frame((100, 100))
    assert compared["spool, removed at the end"] == 70000
    thin = plan(tmp_path, "ply", metric=True, camera=CameraOptions(every=2, stride=5))
    assert thin.bytes_per_frame((100, 100)) == {"ply": 3000}
    source.expected = 10**15
    line = r"if the length in its header is wrong, 1000000000000000 frames or .* hours, --max_len"
    with pytest.raises(OutputError, match=line):
        plan(tmp_path / "out").open(source)
    assert list((tmp_path / "out").iterdir()) == []


def test_every_format_is_one_entry(tmp_path: Path, source: VideoSource) -> None:
    """All at once, and each writes what its entry says."""
    write(plan(tmp_path / "all", *FORMATS, metric=True), source)
    for name in FORMATS:
        write(plan(tmp_path / name, name, metric=True), source)
        assert shown(tmp_path / name) <= shown(tmp_path / "all")
        assert len(shown(tmp_path / name)) == {"mkv16": 2, "ply": 5}.get(name, 1)


class Gone(io.BytesIO):
    """A pipe whose reader leaves after so many writes."""

    def __init__(self, after: int) -> None:
        super().__init__()
        self._left = after

    def write(self, data: Any) -> int:
        self._left -= 1
        if self._left < 0:
            raise BrokenPipeError
        return super().write(data)


def test_a_reader_that_leaves_ends_only_a_run_without_other_outputs(
    tmp_path: Path, source: VideoSource, caplog: pytest.LogCaptureFixture
) -> None:
    options = OutputOptions(grayscale=True, vis_range=VisRange("fixed", 0, 20))
    info = RunInfo(tmp_path, "clip", "clip.mp4", "disparity", SIZE, SIZE, Fraction(24), options=options)
    stream = Gone(2)
    with plan(tmp_path, "npz").open(source) as outputs:
        outputs.add(RawOutput(info, "gray16le", stream, tmp_path / "times.txt"))
        for frame in frames():
            outputs.write(frame)
        outputs.close()
    assert len(np.load(tmp_path / "clip_depths.npz")["depths"]) == 5
    assert "the other outputs continue" in caplog.text
    got = np.frombuffer(stream.getvalue(), np.uint16).reshape(-1, *SIZE)
    assert np.abs(got / 65535 * 20 - DEPTHS[:2]).max() <= 20 / 65535
    assert (tmp_path / "times.txt").read_text().split() == ["0.000000", "0.041667"]
    with pytest.raises(OutputError, match=r"times.txt: File exists; name a new file"):
        RawOutput(info, "gray16le", stream, tmp_path / "times.txt")
    outputs = OutputPlan(OutputOptions(tmp_path / "none", save=()), CameraOptions(), False).open(source)
    outputs.add(RawOutput(info, "rgb24", Gone(1)))
    outputs.write(frames()[0])
    with pytest.raises(Finished):
        outputs.write(frames()[1])
    assert not (tmp_path / "none").exists()
