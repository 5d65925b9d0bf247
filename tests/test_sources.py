"""What --input_video may be."""

from __future__ import annotations

import io
import subprocess
import threading
from collections.abc import Iterator
from fractions import Fraction
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import imageio.v3 as iio
import imageio_ffmpeg
import numpy as np
import pytest
from conftest import MakeVideo
from PIL import Image
from recipes import synthetic_frames

from video_depth_anything.errors import InputError
from video_depth_anything.video.inputs import Input, expand_inputs, natural_key
from video_depth_anything.video.names import printable
from video_depth_anything.video.samples import sample_frames
from video_depth_anything.video.source import Selection

FRAMES = synthetic_frames(12, 24, 36, seed=0)
ALL = Selection()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    path = tmp_path / "shots"
    path.mkdir()
    for index, frame in enumerate(FRAMES):
        Image.fromarray(frame).save(path / f"frame{index + 1}.png")
    (path / "notes.txt").write_text("not an image")
    (path / ".hidden.png").write_bytes(b"not an image either")
    return path


def only(arguments: list[str]) -> Input:
    (one,) = expand_inputs(arguments)
    return one


def test_folder_of_images_in_natural_order(folder: Path) -> None:
    one = only([str(folder)])
    assert one.name == "shots"
    source = one.open(Selection(image_fps=12))
    frames = list(source.timed())
    assert (source.fps, source.expected, source.size) == (12, 12, (24, 36))
    np.testing.assert_array_equal(np.stack([frame.image for frame in frames]), FRAMES)
    np.testing.assert_allclose([frame.time for frame in frames], np.arange(12) / 12)


def test_patterns(folder: Path, make_video: MakeVideo) -> None:
    one = only([str(folder / "frame1*.png")])
    assert [path.name for path in one.images] == ["frame1.png", "frame10.png", "frame11.png", "frame12.png"]
    for name in ("c2.mp4", "c10.mp4", "c1.mp4"):
        make_video(name, count=2)
    videos = expand_inputs([str(folder.parent / "*.mp4")])
    assert [video.name for video in videos] == ["c1", "c2", "c10"]
    with pytest.raises(InputError, match=r"no file matches .*\*\.avi"):
        expand_inputs([str(folder / "*.avi")])


def test_names_never_collide() -> None:
    inputs = expand_inputs(["a/clip.mp4", "b/clip.mp4", "clip.mkv", "http://host/clip.mp4?x=1", "rtsp://camera"])
    assert [one.name for one in inputs] == ["clip", "clip_2", "clip_3", "clip_4", "camera"]


def test_list_on_standard_input(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO("a.mp4\n\n b c.mp4 \n"))
    assert [one.location for one in expand_inputs(["-"])] == ["a.mp4", "b c.mp4"]
    monkeypatch.setattr("sys.stdin", io.StringIO(""))
    with pytest.raises(InputError, match="no inputs"):
        expand_inputs(["-"])


@pytest.mark.parametrize("mark", [b"", b"\xef\xbb\xbf"])
def test_lists_of_bytes(monkeypatch: pytest.MonkeyPatch, mark: bytes) -> None:
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(mark + b"a.mp4\r\n-b.mp4\r\n\xe9.mp4\n")))
    assert [one.location for one in expand_inputs(["-"])] == ["a.mp4", "-b.mp4", "\udce9.mp4"]


def test_a_video_in_place_of_a_list_of_names(make_video: MakeVideo, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(make_video().read_bytes())))
    with pytest.raises(
        InputError, match="standard input is not a list of names; to read a video from it, pass /dev/stdin"
    ):
        expand_inputs(["-"])


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "utf-16-be"])
def test_lists_of_powershell(monkeypatch: pytest.MonkeyPatch, encoding: str) -> None:
    data = "a.mp4\r\n\u00fc \U0001f600.mp4\r\n".encode(encoding)
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(data)))
    assert [one.location for one in expand_inputs(["-"])] == ["a.mp4", "\u00fc \U0001f600.mp4"]


def test_any_name_is_shown_in_one_line() -> None:
    assert printable("a\nb\t\x1b[2J\udce9\u00fc.mp4") == r"a\x0ab\x09\x1b[2J\xe9" + "\u00fc.mp4"


def test_natural_order() -> None:
    names = ["f10.png", "f9.png", "F1.png", "f1b.png", "2.png", "10.png"]
    assert [p.name for p in sorted(map(Path, names), key=natural_key)] == [
        "2.png",
        "10.png",
        "F1.png",
        "f1b.png",
        "f9.png",
        "f10.png",
    ]


@pytest.mark.parametrize("mode", ["L", "RGBA", "I;16", "P"])
def test_kinds_of_images(tmp_path: Path, mode: str) -> None:
    gray = Image.fromarray(FRAMES[0]).convert("L")
    if mode == "I;16":
        image = Image.fromarray(np.asarray(gray).astype(np.uint16) * 257)
    else:
        image = gray if mode == "L" else Image.fromarray(FRAMES[0]).convert(mode)
    image.save(tmp_path / "a.png")
    (frame,) = only([str(tmp_path / "a.png")]).open(ALL).timed()
    assert frame.image.shape == (24, 36, 3)
    if mode in ("L", "I;16"):
        assert np.abs(frame.image.astype(int) - np.asarray(gray)[..., None]).max() <= 1
    elif mode == "RGBA":
        np.testing.assert_array_equal(frame.image, FRAMES[0])


def test_unusable_folders(tmp_path: Path, folder: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match="contains no images"):
        expand_inputs([str(tmp_path / "empty")])
    Image.fromarray(FRAMES[0][:20]).save(folder / "frame3.png")
    with pytest.raises(InputError, match=r"frame3\.png is 36x20, but frame1\.png is 36x24"):
        only([str(folder)]).open(ALL)  # before any depth is computed
    (folder / "frame2.png").write_bytes(b"broken")
    assert len(list(only([str(folder)]).open(ALL))) == 1
    assert "cannot read the image" in caplog.text
    assert "frame2.png" in caplog.text
    (folder / "frame1.png").write_bytes(b"broken")
    with pytest.raises(InputError, match=r"cannot read the image .*frame1\.png"):
        only([str(folder)]).open(ALL)


@pytest.fixture
def server(tmp_path: Path) -> Iterator[str]:
    class Quiet(SimpleHTTPRequestHandler):
        def log_message(self, format: str, *args: object) -> None:
            pass

    httpd = ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(tmp_path)))
    thread = threading.Thread(target=httpd.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{httpd.server_port}"
    httpd.shutdown()
    thread.join()
    httpd.server_close()


def test_address(server: str, make_video: MakeVideo) -> None:
    make_video("clip.mp4", count=7)
    source = only([f"{server}/clip.mp4"]).open(ALL)
    assert (source.name, source.reader, source.fps) == ("clip", "PyAV", 24)
    assert len(list(source)) == 7
    with pytest.raises(InputError, match=r"cannot read http://.*/none\.mp4"):
        only([f"{server}/none.mp4"]).open(ALL)


def test_start_and_end(make_video: MakeVideo) -> None:
    one = only([str(make_video(count=48))])
    source = one.open(Selection(start=0.5, end=1.5, max_len=100, image_fps=24))
    frames = list(source.timed())
    assert source.expected == len(frames) == 24
    assert frames[0].time == 0
    whole = list(one.open(ALL))
    np.testing.assert_array_equal(frames[0].image, whole[12])
    np.testing.assert_array_equal(frames[-1].image, whole[35])
    with pytest.raises(InputError, match="no frame after --start 9 seconds"):
        list(one.open(Selection(start=9, image_fps=24)))


@pytest.mark.parametrize("transfer", ["smpte2084", "arib-std-b67"])
def test_hdr_is_mapped_to_the_ordinary_range(tmp_path: Path, transfer: str) -> None:
    """A gray ramp in PQ or HLG: diffuse white, at 58 % or 75 % of the code range, must come out nearly white."""
    path = tmp_path / "hdr.mp4"
    ramp = np.repeat(np.linspace(64, 940, 8).astype("<u2"), 8)
    raw = b"".join([np.tile(ramp, (48, 1)).tobytes(), np.full((48, 32), 512, "<u2").tobytes()] * 2)
    tags = f"colorprim=bt2020:transfer={transfer}:colormatrix=bt2020nc"
    command = [
        imageio_ffmpeg.get_ffmpeg_exe(),
        "-v",
        "error",
        "-f",
        "rawvideo",
        "-pix_fmt",
        "yuv420p10le",
        "-s",
        "64x48",
    ]
    command += ["-r", "10", "-i", "-", "-c:v", "libx265", "-x265-params", f"log-level=error:crf=4:{tags}"]
    command += ["-pix_fmt", "yuv420p10le", "-color_primaries", "bt2020", "-color_trc", transfer]
    subprocess.run([*command, "-colorspace", "bt2020nc", "-color_range", "tv", str(path)], input=raw, check=True)
    source = only([str(path)]).open(ALL)
    frames = list(source)
    assert (source.reader, len(frames), source.fps) == ("PyAV", 2, Fraction(10))
    levels = frames[0][24, 4::8].astype(int)
    assert np.ptp(levels, axis=1).max() <= 3  # gray stays gray
    assert (np.diff(levels[:, 1]) >= 0).all()
    assert levels[0, 1] <= 2
    assert levels[-1, 1] > 230


def test_samples_lie_at_equal_distances(make_video: MakeVideo) -> None:
    clip = make_video(count=40)
    every = list(iio.imiter(clip, plugin="pyav"))
    for index, found in enumerate(sample_frames(clip, 8)):
        np.testing.assert_allclose(found.astype(int), every[5 * index], atol=1)
    assert index == 7


def test_an_image_is_a_sample(tmp_path: Path) -> None:
    for ending in ("png", "jpg"):
        path = tmp_path / f"image.{ending}"
        Image.fromarray(FRAMES[0]).save(path, quality=100, subsampling=0)
        (found,) = sample_frames(path, 1)
        np.testing.assert_allclose(found.astype(int), FRAMES[0], atol=12)


def test_no_samples_of_what_is_no_file(tmp_path: Path) -> None:
    damaged = tmp_path / "damaged.mp4"
    damaged.write_bytes(b"no video at all" * 100)
    for location in (tmp_path, damaged, tmp_path / "missing.mp4", "http://127.0.0.1:9/clip.mp4"):
        assert list(sample_frames(location, 8)) == []
