"""Uploads of strangers: what the page refuses, and that a decoder's failure is one upload's."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
import wave
from contextlib import closing
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import cv2
import imageio.v3 as iio
import numpy as np
import pytest
from conftest import MakeVideo
from imageio_ffmpeg import get_ffmpeg_exe as ffmpeg_program

from video_depth_anything.outputs.stereo_tags import LEFT_RIGHT, tag_stereo
from video_depth_anything.video.source import Selection
from video_depth_anything.web.confinement import DecoderLimits
from video_depth_anything.web.picture_headers import check_picture
from video_depth_anything.web.uploads import Decoder, UploadError, UploadSource, add_sound

ROOT = Path(__file__).resolve().parents[1]
LIMITS = DecoderLimits()
pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="signals and limits of Unix")


def refused(video: Path, limits: DecoderLimits = LIMITS) -> UploadError:
    """Why an upload is not taken."""

    def read() -> None:
        with closing(UploadSource(video, Selection(), limits)) as source:
            list(source.timed())

    with pytest.raises(UploadError) as caught:
        read()
    assert str(video.parent) not in str(caught.value)  # the visitor knows the name, not the place
    assert str(caught.value).startswith(video.name)
    return caught.value


def test_frames_are_those_of_the_file(make_video: MakeVideo) -> None:
    video = make_video(count=12)
    source = UploadSource(video, Selection(target_fps=None), LIMITS)
    frames = list(source.timed())
    source.close()
    expected = iio.imread(video, plugin="pyav")
    assert (source.size, source.expected) == (expected.shape[1:3], len(expected))
    np.testing.assert_allclose([frame.image for frame in frames], expected, atol=3)
    times = [frame.time for frame in frames]
    np.testing.assert_allclose(np.diff(times), 1 / float(source.fps), atol=1e-3)
    thinned = UploadSource(video, Selection(32, source.source_fps / 2, 3), LIMITS)
    few = list(thinned.timed())
    thinned.close()
    assert [frame.image.shape for frame in few] == [(24, 32, 3)] * 3
    np.testing.assert_allclose([frame.time for frame in few], [times[0], times[2], times[4]], atol=1e-3)


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("list.m3u8", "#EXTM3U\n#EXT-X-TARGETDURATION:9\n#EXTINF:9,\n{secret}\n#EXT-X-ENDLIST\n"),
        ("clip.mp4", "#EXTM3U\n#EXT-X-TARGETDURATION:9\n#EXTINF:9,\n{secret}\n#EXT-X-ENDLIST\n"),
        ("clip.mp4", "\ufeff\n#EXTM3U\n#EXTINF:9,\nfile://{secret}\n"),
        ("clip.avi", "ffconcat version 1.0\nfile '{secret}'\n"),
        ("clip.mkv", "<?xml version='1.0'?><MPD><BaseURL>{secret}</BaseURL></MPD>"),
        ("clip.sdp", "v=0\nm=video 5004 RTP/AVP 96\nc=IN IP4 127.0.0.1\n"),
    ],
)
def test_a_list_of_other_files_is_refused(make_video: MakeVideo, tmp_path: Path, name: str, text: str) -> None:
    secret = make_video("secret.mp4", count=3)
    upload = tmp_path / "upload" / name
    upload.parent.mkdir()
    upload.write_text(text.format(secret=secret.resolve()))
    assert str(refused(upload)) == f"{name} is a list that names other files, not a video. Upload the video itself."


def test_what_is_no_video_is_refused_in_a_sentence(tmp_path: Path) -> None:
    files = {"noise.mp4": os.urandom(5000), "empty.mp4": b"", "page.webm": b"<html>hello</html>" * 50}
    for name, content in files.items():
        (tmp_path / name).write_bytes(content)
        assert "cannot be read: it is not a video, or it is damaged." in str(refused(tmp_path / name))
    with wave.open(str(tmp_path / "sound.wav"), "wb") as sound:
        sound.setparams((1, 2, 8000, 0, "NONE", ""))
        sound.writeframes(bytes(16000))
    assert refused(tmp_path / "sound.wav").reason in ("no picture", "unreadable")
    with pytest.raises(UploadError, match="Convert it to MP4"):
        UploadSource(tmp_path / "gone.mp4", Selection(), LIMITS)


def test_pictures_beyond_the_budget_are_refused_from_the_header(make_video: MakeVideo) -> None:
    video = make_video("large.mp4", count=2)
    assert refused(video, replace(LIMITS, max_pixels=64 * 48 - 1)).reason == "too large"
    UploadSource(video, Selection(), replace(LIMITS, max_pixels=64 * 48)).close()


def test_a_decoder_that_crashes_ends_one_upload(make_video: MakeVideo) -> None:
    video = make_video("clip.mp4", count=30, height=480, width=640)
    for number in (signal.SIGSEGV, signal.SIGKILL):
        source = UploadSource(video, Selection(), LIMITS)
        frames = source.timed()
        next(frames)
        os.kill(source.process.pid, number)
        with pytest.raises(UploadError, match="made the decoder fail: it is probably damaged"):
            list(frames)
        source.close()


def test_a_decoder_that_hangs_is_given_up(make_video: MakeVideo) -> None:
    source = UploadSource(make_video(count=30, height=480, width=640), Selection(), replace(LIMITS, patience=2.0))
    frames = source.timed()
    next(frames)
    os.kill(source.process.pid, signal.SIGSTOP)
    start = time.monotonic()
    with pytest.raises(UploadError, match="gave no frame for 2 seconds"):
        list(frames)
    assert time.monotonic() - start < 10
    source.close()


def test_a_decoder_has_so_much_memory(make_video: MakeVideo) -> None:
    video = make_video("clip.mp4", count=4, height=1080, width=1920)
    assert refused(video, replace(LIMITS, memory_mb=250)).reason in ("memory", "crashed", "unreadable")
    source = UploadSource(video, Selection(), LIMITS)
    assert sum(1 for _ in source.timed()) == 4
    source.close()


def test_sound_goes_along_from_the_first_frame_on(make_video: MakeVideo, tmp_path: Path) -> None:
    """A tone that begins half a second after the pictures still does, in the result of a decoder of its own."""
    pictures = make_video("pictures.mp4", count=48)  # 2 seconds
    tone, upload = tmp_path / "tone.wav", tmp_path / "upload.mkv"
    rate = 16000
    samples = np.zeros(2 * rate, np.int16)
    samples[rate // 2 :] = (12000 * np.sin(np.arange(rate * 3 // 2) * 2 * np.pi * 440 / rate)).astype(np.int16)
    with wave.open(str(tone), "wb") as file:
        file.setparams((1, 2, rate, 0, "NONE", ""))
        file.writeframes(samples.tobytes())
    command = [ffmpeg_program(), "-loglevel", "error", "-i", str(pictures), "-i", str(tone)]
    subprocess.run([*command, "-c:v", "copy", "-c:a", "pcm_s16le", str(upload)], check=True)
    made, result = make_video("made.mp4", count=48), tmp_path / "result.mp4"
    command = [ffmpeg_program(), "-loglevel", "error", "-i", str(made), "-c", "copy", "-movflags", "+faststart"]
    subprocess.run([*command, str(result)], check=True)
    tag_stereo(result, LEFT_RIGHT)
    stereo = b"st3d\0\0\0\0\2"
    assert stereo in result.read_bytes()
    before = iio.imread(result, plugin="pyav")
    assert add_sound(upload, [result], 0.0)
    np.testing.assert_array_equal(iio.imread(result, plugin="pyav"), before)
    assert stereo in result.read_bytes()  # players show it to both eyes still
    raw = [ffmpeg_program(), "-loglevel", "error", "-i", str(result), "-f", "s16le", "-ac", "1", "-ar", str(rate), "-"]
    heard = np.frombuffer(subprocess.run(raw, capture_output=True, check=True).stdout, np.int16)
    assert len(heard) == pytest.approx(2 * rate, abs=rate // 10)
    assert np.abs(heard[: rate * 4 // 10]).max() < 200
    assert np.abs(heard[rate * 6 // 10 :]).max() > 8000
    # No sound, or none that can be used: the video stays.
    content = result.read_bytes()
    assert not add_sound(pictures, [result], 0.0)
    (tmp_path / "noise.mp4").write_bytes(os.urandom(5000))
    assert not add_sound(tmp_path / "noise.mp4", [result], 0.0)
    assert result.read_bytes() == content
    assert not list(tmp_path.glob(".sound_*"))


def confined(code: str, allowed: Path, **limits: int) -> subprocess.CompletedProcess[str]:
    """A program that confines itself, then runs the code."""
    made = f"DecoderLimits(**{limits!r})"
    program = (
        "import os, socket, sys\nfrom pathlib import Path\n"
        "from video_depth_anything.web.confinement import DecoderLimits, confine\n"
        f"print(*confine({made}, [Path({str(allowed)!r})]), flush=True)\n{code}"
    )
    return subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=False)


def test_a_confined_process_has_its_file_and_no_other(tmp_path: Path) -> None:
    mine, other = tmp_path / "mine", tmp_path / "other"
    mine.write_text("mine")
    other.write_text("other")
    read = confined(f"print(open({str(mine)!r}).read())", mine)
    assert read.stdout.split()[-1] == "mine", read.stderr
    if "landlock" not in read.stdout:
        pytest.skip("this kernel has no Landlock")
    for code in (
        f"open({str(other)!r})",
        "open('/etc/passwd')",
        f"open({str(mine)!r}, 'w')",
        f"open({str(tmp_path / 'new')!r}, 'w')",
        "socket.create_connection(('127.0.0.1', 9))",
        f"os.kill({os.getpid()}, 0)",
    ):
        result = confined(code, mine)
        assert result.returncode == 1, code
        assert "PermissionError" in result.stderr, (code, result.stderr)
    assert mine.read_text() == "mine"


def test_limits_of_memory_time_and_files_hold(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.touch()
    assert "MemoryError" in confined("bytearray(900 << 20)", file, memory_mb=800).stderr
    files = confined(f"held = [open({str(file)!r}) for _ in range(40)]", file, open_files=32)
    assert "Too many open files" in files.stderr
    assert confined("while True: pass", file, cpu_seconds=1).returncode == -signal.SIGXCPU


def encoded(kind: str, height: int = 48, width: int = 64, channels: int = 3) -> bytes:
    """A picture as OpenCV writes it."""
    shape = (height, width, channels) if channels > 1 else (height, width)
    picture = np.random.default_rng(0).integers(0, 255, shape, np.uint8)
    return bytes(cv2.imencode(kind, picture)[1])


@pytest.mark.parametrize("kind", [".jpg", ".png", ".webp"])
def test_pictures_are_decoded_elsewhere(kind: str) -> None:
    decoder = Decoder("The picture", LIMITS, {})
    for data in (encoded(kind), encoded(kind, 30, 50), encoded(kind, channels=1)):
        expected = np.asarray(cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR))[..., ::-1]
        assert check_picture(data, LIMITS.max_pixels, 8) == expected.shape[:2]
        decoder.ask(data)
        np.testing.assert_array_equal(decoder.answer()[1], expected)
    decoder.ask(encoded(kind)[:60])
    with pytest.raises(UploadError, match="The picture cannot be used"):
        decoder.answer()
    decoder.close()


def test_pictures_are_refused_by_their_headers() -> None:
    pixels = LIMITS.max_pixels
    for kind in (".bmp", ".tiff", ".ppm", ".hdr"):
        data = encoded(kind) if kind != ".hdr" else b"#?RADIANCE\n"
        assert check_picture(data, pixels, 8) is None, kind
    for data in (
        b"",
        b"GIF89a" + bytes(20),
        b"%!PS-Adobe-3.0 EPSF-3.0\n",
        b"<svg/>",
        b"\xff\xd8\xff",
        b"RIFF0000WEBPVP8 ",
    ):
        assert check_picture(data, pixels, 8) is None
    for kind in (".jpg", ".png", ".webp"):
        data = encoded(kind, 40, 60)
        assert check_picture(data, 40 * 60, 8) == (40, 60)
        assert check_picture(data, 40 * 60 - 1, 8) is None
        assert check_picture(encoded(kind, 10, 81), pixels, 8) is None
        for length in range(len(data) - 30 if kind == ".jpg" else 30):
            check_picture(data[:length], pixels, 8)  # cut anywhere, it raises nothing
    jpeg = encoded(".jpg", 40, 60)
    header = jpeg.index(b"\xff\xc0")
    length = int.from_bytes(jpeg[header + 2 : header + 4], "big") + 2
    twice = jpeg[:header] + jpeg[header : header + length] + jpeg[header:]
    assert check_picture(twice, pixels, 8) is None  # which size is meant?


def test_frames_of_one_line_are_refused(tmp_path: Path) -> None:
    video = tmp_path / "thin.avi"
    iio.imwrite(video, np.zeros((2, 2, 900, 3), np.uint8), plugin="pyav", codec="png", out_pixel_format="rgb24")
    assert refused(video).reason == "too narrow"


def test_a_rate_is_exact(make_video: MakeVideo) -> None:
    source = UploadSource(make_video(fps=Fraction(30000, 1001)), Selection(), LIMITS)
    source.close()
    assert source.fps == Fraction(30000, 1001)
