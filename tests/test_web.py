"""The web page's parts without a browser: its jobs, cameras, relief and messages."""

from __future__ import annotations

import errno
import json
import math
import struct
import threading
import zipfile
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
import pytest
from conftest import MakeVideo

from video_depth_anything import DepthStream
from video_depth_anything.cli.arguments import options_in, run_parser
from video_depth_anything.config import MODEL_CONFIGS
from video_depth_anything.errors import CheckpointError, InputError, OutputError, UsageError
from video_depth_anything.pipelines.driver import READ_AHEAD
from video_depth_anything.pipelines.options import ModelOptions, RunOptions
from video_depth_anything.video.frame import Frame
from video_depth_anything.web.camera import DECODER_BYTES, MOST_OF_VISITOR, Cameras, stream_bytes
from video_depth_anything.web.handlers import target_fps_of
from video_depth_anything.web.jobs import Job
from video_depth_anything.web.messages import Refusal, message_of
from video_depth_anything.web.networks import Networks
from video_depth_anything.web.relief import FARTHEST, ReliefFrames, glb, mesh, relative_depth, view_from
from video_depth_anything.web.uploads import UploadError, UploadSource
from video_depth_anything.web.visitors import Visitor


@pytest.fixture(scope="module")
def networks(checkpoint: Path) -> Networks:
    found = Networks(ModelOptions("vits", checkpoint=checkpoint, device="cpu", precision="fp32", backend="torch"))
    found.offers.append(found.begin.__class__("vits", True, checkpoint, False))
    return found


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    path = tmp_path / "job"
    path.mkdir()
    return path


def options(folder: Path, *words: str) -> RunOptions:
    """Those that the command would have of these words."""
    parser = run_parser("vda run", None)
    words = ("--encoder=vits", "--input_size=28", *words, "--output_dir", str(folder))
    return options_in(RunOptions, parser.parse_args(list(words)))


def test_a_job_is_a_run_of_the_command(networks: Networks, make_video: MakeVideo, folder: Path) -> None:
    video = make_video("a [1] clip.mp4", count=36)
    words = ["--max_len=34", "--save", "vis", "compare", "npz", "exr", "png16"]
    job = Job(video, options(folder, *words))
    job.run(networks, 40)
    assert job.state == "done", job.line
    assert list(job.files) == [
        "Depth video (MP4)", "Side by side (MP4)", "16-bit PNG (ZIP)", "OpenEXR (ZIP)", "NumPy (NPZ)"
    ]  # fmt: skip
    with zipfile.ZipFile(job.files["OpenEXR (ZIP)"]) as archive:
        assert len(archive.namelist()) == 34
        assert archive.testzip() is None
    with np.load(job.files["NumPy (NPZ)"]) as archive:
        assert archive["depths"].shape == (34, 48, 64)
    shape = {words: cv2.VideoCapture(str(job.files[f"{words} (MP4)"])).read()[1].shape[:2] for words in
             ("Depth video", "Side by side")}  # fmt: skip
    assert shape == {"Depth video": (48, 64), "Side by side": (48, 128)}
    assert job.share == 1.0
    assert job.line.startswith("Done: 34 frames in ")
    assert job.relief is not None
    assert job.relief.glb(1.0)[0].name == "relief_000033.glb"


def test_a_metric_job_has_point_clouds(networks: Networks, make_video: MakeVideo, folder: Path) -> None:
    job = Job(make_video(count=13), options(folder, "--metric", "--fov=60", "--save", "vis", "compare", "ply"))
    job.run(networks, 40)
    assert job.state == "done", job.line
    with zipfile.ZipFile(job.files["Point clouds (PLY, ZIP)"]) as archive:
        numbers = [int(name[-8:-4]) for name in sorted(archive.namelist())]
    assert numbers == [0, 3, 6, 9, 12]


def test_cancelling_ends_a_job_at_the_next_frame(
    networks: Networks, make_video: MakeVideo, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    timed, taken = UploadSource.timed, []

    def watched(self: UploadSource) -> Iterator[Frame]:
        for frame in timed(self):
            taken.append(frame)
            if len(taken) == 3:
                job.stop.set("cancelled")
            yield frame

    monkeypatch.setattr(UploadSource, "timed", watched)
    job = Job(make_video(count=40), options(folder, "--save", "vis", "compare"))
    job.run(networks, 40)
    assert job.state == "cancelled"
    assert len(taken) <= 3 + READ_AHEAD + 1
    assert not folder.exists()
    assert job.line == "Cancelled. Nothing was kept."


def test_limits_and_mistakes(networks: Networks, make_video: MakeVideo, folder: Path, tmp_path: Path) -> None:
    long = make_video("long.mp4", count=41)
    bad = tmp_path / "<b>bad.mp4"
    bad.write_bytes(b"no video")
    for video, words, disk, said in (
        (long, [], math.inf, "41 frames or more, and this page takes 40"),
        (long, ["--max_len=3"], 1000.0, "you have 1 kB left"),
        (long, ["--max_len=3", "--colormap", "none"], math.inf, "matplotlib has no colour map"),
        (bad, [], math.inf, "&lt;b&gt;bad.mp4 cannot be read: it is not a video, or it is damaged. Convert it to MP4"),
    ):
        job = Job(video, options(folder, "--save", "vis", "compare", *words), disk=disk)
        job.run(networks, 40)
        assert job.state == "failed"
        assert said in job.line
        assert str(tmp_path) not in job.line
        assert not folder.exists()


def test_a_wrong_frame_count_does_not_pass_the_limit(
    networks: Networks, make_video: MakeVideo, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    take = UploadSource._take
    monkeypatch.setattr(UploadSource, "_take", lambda self, facts, most: take(self, {**facts, "expected": 5}, most))
    job = Job(make_video(count=12), options(folder, "--save", "vis", "compare"))
    job.run(networks, 10)
    assert job.state == "failed"
    assert "takes 10 at most" in job.line


def test_errors_are_sentences_that_give_nothing_away() -> None:
    full = OutputError("cannot write to /srv/page")
    full.__cause__ = OSError(errno.ENOSPC, "No space left on device", "/srv/page/x")
    for error, said in (
        (OutputError("clip needs up to 3 GB on disk, 1 GB are free in /srv/page; choose another folder"), "no room"),
        (OutputError("cannot write to /srv/free space/page: Permission denied"), "could not write"),
        (full, "no room"),
        (OSError(errno.ENOSPC, "No space left on device", "/srv/page/x"), "no room"),
        (PermissionError(errno.EACCES, "Permission denied", "/srv/spaceship/x"), "could not write"),
        (InputError("cannot read /srv/page/clip.mp4: not a video"), "cannot be read"),
        (CheckpointError("checkpoint /srv/vits.pth cannot be read"), "The model cannot be used"),
        (MemoryError(), "Choose less detail"),
        (UsageError("--colormap: there is no such map"), "A setting cannot be used: colormap: there is no such map."),
        (Refusal("Wait <b>."), "Wait &lt;b&gt;."),
        (ZeroDivisionError("/srv/secret"), "Something went wrong on the server"),
    ):
        message = message_of(error)
        assert said in message
        assert message.endswith(".")
        assert "/srv" not in message
        assert "--" not in message


def test_rates_that_make_no_sense_are_refused() -> None:
    for rate in (1e-9, 0.05, 1000, -3):
        with pytest.raises(Refusal, match=r"choose 0\.1 to 240 frames a second"):
            target_fps_of(rate)
    assert target_fps_of(0) is None
    assert target_fps_of(29.97) == pytest.approx(29.97)


@pytest.fixture
def visitor(tmp_path: Path) -> Visitor:
    return Visitor(tmp_path)


def picture(height: int = 48, width: int = 64, seed: int = 0) -> bytes:
    pixels = np.random.default_rng(seed).integers(0, 255, (height, width, 3), np.uint8)
    return bytes(cv2.imencode(".png", pixels)[1])


def test_a_camera_is_a_stream(networks: Networks, visitor: Visitor) -> None:
    streams: list[DepthStream] = []

    def new_stream(model: ModelOptions) -> DepthStream:
        streams.append(networks.get(model).new_stream())
        return streams[-1]

    cameras = Cameras(new_stream, 10**9)
    settings = ModelOptions("vits", input_size=56), "magma"
    shown = [cameras.step(visitor, "page", *settings, picture(seed=seed)) for seed in range(3)]
    assert [stream.frames_seen for stream in streams] == [3]
    depth = cv2.imdecode(np.frombuffer(shown[-1], np.uint8), cv2.IMREAD_COLOR)
    assert depth is not None and depth.shape == (48, 64, 3)
    cameras.step(visitor, "page", *settings, picture(64, 48))  # another size: another video
    cameras.step(visitor, "other", *settings, picture())
    assert [stream.frames_seen for stream in streams] == [3, 1, 1]
    with pytest.raises(UploadError):
        cameras.step(visitor, "page", *settings, b"%!PS-Adobe-3.0 EPSF-3.0")
    cameras.step(visitor, "other", *settings, picture())
    with pytest.raises(UploadError):
        cameras.step(visitor, "other", *settings, picture()[:200])
    cameras.step(visitor, "other", *settings, picture())  # by a new process, and as a new video
    assert [stream.frames_seen for stream in streams] == [3, 1, 2, 1]
    cameras.sweep(0)
    cameras.step(visitor, "page", *settings, picture(64, 48))
    assert len(streams) == 5
    cameras.sweep(0)


def test_cameras_share_one_budget(networks: Networks, visitor: Visitor) -> None:
    settings = ModelOptions("vits", input_size=56), "magma"
    need = stream_bytes((*settings, (48, 64))) + DECODER_BYTES
    cameras = Cameras(lambda model: networks.get(model).new_stream(), 2 * need)
    for page in ("one", "two", "one"):
        cameras.step(visitor, page, *settings, picture())
    with pytest.raises(Refusal, match="Choose less detail, or wait"):
        cameras.step(visitor, "three", *settings, picture())
    with pytest.raises(Refusal):  # more detail for a camera that is there
        cameras.step(visitor, "one", ModelOptions("vits", input_size=196), "magma", picture())
    cameras.sweep(0)
    cameras.step(visitor, "three", *settings, picture())
    cameras.sweep(0)


def test_a_visitor_with_many_cameras_leaves_room(networks: Networks, visitor: Visitor, tmp_path: Path) -> None:
    settings = ModelOptions("vits", input_size=56), "magma"
    need = stream_bytes((*settings, (48, 64))) + DECODER_BYTES
    cameras = Cameras(lambda model: networks.get(model).new_stream(), (MOST_OF_VISITOR + 1) * need)
    for page in range(MOST_OF_VISITOR + 2):
        cameras.step(visitor, str(page), *settings, picture())
    cameras.step(Visitor(tmp_path), "one", *settings, picture())
    cameras.sweep(0)


@pytest.mark.parametrize("size", [(48, 64), (480, 640), (640, 360)])
def test_what_a_stream_keeps_is_estimated(networks: Networks, size: tuple[int, int]) -> None:
    model = ModelOptions("vits", input_size=98)
    stream = networks.get(model).new_stream()
    stream.step(np.zeros((*size, 3), np.uint8))
    estimate = stream_bytes((model, "magma", size))
    assert stream.state_bytes <= estimate <= 1.25 * stream.state_bytes
    assert set(MODEL_CONFIGS) == {"vits", "vitb", "vitl"}


def test_one_picture_of_a_page_is_computed_at_a_time(networks: Networks, visitor: Visitor) -> None:
    begun, release = threading.Event(), threading.Event()

    def slow(model: ModelOptions) -> DepthStream:
        begun.set()
        release.wait(20)
        return networks.get(model).new_stream()

    cameras = Cameras(slow, 10**9)
    settings = ModelOptions("vits", input_size=28), "magma"
    thread = threading.Thread(target=cameras.step, args=(visitor, "page", *settings, picture()))
    thread.start()
    assert begun.wait(20)
    with pytest.raises(Refusal, match="still being computed"):
        cameras.step(visitor, "page", *settings, picture())
    cameras.sweep(0)  # a camera at work stays
    release.set()
    thread.join(20)
    cameras.step(visitor, "page", *settings, picture())
    cameras.sweep(0)


def test_a_relief_is_the_scene_that_a_camera_saw() -> None:
    """A plane and a nearer square: points project to their pixels, and the mesh is torn around the square."""
    depth = np.full((30, 40), 4, np.float32)
    depth[10:20, 15:25] = 2
    depth[0, 0], depth[0, 1] = np.nan, 0
    points, coordinates, triangles = mesh(depth, 60)
    focal = 20 / math.tan(math.radians(30))
    z = -points[:, 2]
    rows, columns = np.divmod(np.arange(1200), 40)
    np.testing.assert_allclose(points[:, 0] / z * focal + 19.5, columns, atol=1e-3)
    np.testing.assert_allclose(14.5 - points[:, 1] / z * focal, rows, atol=1e-3)
    np.testing.assert_allclose(coordinates[:, 0] * 40 - 0.5, columns, atol=1e-4)
    near = z[triangles] < 3
    assert (near.all(axis=1) | ~near.any(axis=1)).all()
    assert near.all(axis=1).sum() == 2 * 9 * 9
    assert not {0, 1} & set(triangles.ravel().tolist())
    normals = np.cross(
        points[triangles[:, 1]] - points[triangles[:, 0]], points[triangles[:, 2]] - points[triangles[:, 0]]
    )
    assert (normals[:, 2] > 0).all()  # towards the camera


def test_the_relief_is_seen_from_the_cameras_place() -> None:
    points = np.array([[-1, 0, -3], [3, 2, -1]], np.float32)
    around, down, distance = view_from(points)
    direction = np.cos(np.radians(around)), np.sin(np.radians(around))
    flat = distance * np.sin(np.radians(down))
    camera = flat * direction[0], distance * np.cos(np.radians(down)), flat * direction[1]
    np.testing.assert_allclose(camera, (-1, -1, 2), atol=1e-6)  # the origin, from the middle (1, 1, -2)


def test_relative_depth_is_bounded_and_keeps_the_order() -> None:
    disparity = np.linspace(0, 7, 1000, dtype=np.float32).reshape(20, 50)
    depth = relative_depth(disparity).ravel()
    assert depth.min() == 1 and depth.max() == pytest.approx(FARTHEST)
    assert (np.diff(depth) <= 0).all()
    assert np.isfinite(relative_depth(np.ones((3, 3), np.float32))).all()


def test_a_glb_file_is_whole() -> None:
    depth = np.full((5, 7), 2, np.float32)
    jpeg = bytes(cv2.imencode(".jpg", np.full((10, 14, 3), 99, np.uint8))[1])
    points, coordinates, triangles = mesh(depth, 60)
    data = glb((points, coordinates, triangles), jpeg)
    magic, version, length = struct.unpack_from("<4sII", data)
    assert (magic, version, length) == (b"glTF", 2, len(data))
    size, kind = struct.unpack_from("<I4s", data, 12)
    content = json.loads(data[20 : 20 + size])
    binary_size, binary_kind = struct.unpack_from("<I4s", data, 20 + size)
    binary = data[28 + size :]
    assert (kind, binary_kind, binary_size) == (b"JSON", b"BIN\0", len(binary))
    parts = [binary[view["byteOffset"] :][: view["byteLength"]] for view in content["bufferViews"]]
    np.testing.assert_array_equal(np.frombuffer(parts[0], np.float32).reshape(-1, 3), points)
    np.testing.assert_array_equal(np.frombuffer(parts[2], np.uint32).reshape(-1, 3), triangles)
    assert parts[3] == jpeg
    assert [part["count"] for part in content["accessors"]] == [35, 35, 2 * 4 * 6 * 3]
    assert all(view["byteOffset"] % 4 == 0 for view in content["bufferViews"])


def test_frames_for_the_relief_are_few_and_evenly_spaced(tmp_path: Path) -> None:
    frames = ReliefFrames(tmp_path / "relief", 900, None, metric=True)
    for number in range(900):
        image, depth = np.full((4, 6, 3), number % 256, np.uint8), np.full((4, 6), 1 + number, np.float32)
        frames.write(Frame(image, number / 24, 1 / 24, depth=depth))
    assert len(list((tmp_path / "relief").iterdir())) == 300
    assert frames.glb(0.5)[0] == tmp_path / "relief" / "relief_000450.glb"
    assert frames.glb(1.0)[0].read_bytes().startswith(b"glTF")
    assert [path.name for path in (tmp_path / "relief").glob("*.glb")] == ["relief_000897.glb"]
