"""What an input may ask for, what it may be called, and how long it may say nothing."""

from __future__ import annotations

import io
import os
import shutil
import sys
import threading
import time
from pathlib import Path

import pytest
from conftest import MakeVideo
from ffmpeg import run_ffmpeg

from video_depth_anything.errors import InputError
from video_depth_anything.video.containers import Limits, is_address
from video_depth_anything.video.inputs import expand_inputs
from video_depth_anything.video.names import output_name, printable
from video_depth_anything.video.source import Selection, open_video

STRANGER = Limits(trusted=False)
posix = pytest.mark.skipif(os.name != "posix", reason="other systems have no such files")


def playlist(folder: Path, segment: str) -> Path:
    path = folder / "list.m3u8"
    head = "#EXTM3U\n#EXT-X-VERSION:3\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\n"
    path.write_text(f"{head}{segment}\n#EXT-X-ENDLIST\n")
    return path


def test_a_local_playlist_may_name_local_files(tmp_path: Path) -> None:
    run_ffmpeg("-f", "lavfi", "-i", "testsrc2=s=96x64:d=1", tmp_path / "part.ts")
    path = playlist(tmp_path, "part.ts")
    assert len(list(open_video(path))) == 25
    with pytest.raises(InputError, match="not a video, or damaged"):
        open_video(path, limits=STRANGER)
    shutil.move(path, tmp_path / "list.mp4")
    with pytest.raises(InputError, match="not a video, or damaged"):
        open_video(tmp_path / "list.mp4", limits=STRANGER)


def test_a_local_playlist_may_name_no_address(tmp_path: Path) -> None:
    asked: list[bytes] = []
    import socket

    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(1)

        def listen() -> None:
            try:
                connection, _ = server.accept()
                asked.append(connection.recv(100))
                connection.close()
            except TimeoutError:
                pass

        thread = threading.Thread(target=listen)
        thread.start()
        with pytest.raises(InputError):
            open_video(playlist(tmp_path, f"http://127.0.0.1:{server.getsockname()[1]}/part.ts"))
        thread.join()
    assert asked == []


@pytest.mark.parametrize("content", ["ffconcat version 1.0\nfile part.mp4\n", "v=0\nm=video 5004 RTP/AVP 96\n"])
def test_a_stranger_s_file_may_not_name_others(tmp_path: Path, make_video: MakeVideo, content: str) -> None:
    make_video("part.mp4")
    for name in ("a.mp4", "a.ffconcat", "a.sdp"):
        (tmp_path / name).write_text(content)
        with pytest.raises(InputError, match="cannot read"):
            open_video(tmp_path / name, limits=STRANGER)


def test_a_stranger_s_video_is_read(make_video: MakeVideo, tmp_path: Path) -> None:
    path = make_video()
    for ending in ("mp4", "mov", "mkv", "webm", "avi", "ts", "flv", "gif", "mpg", "mxf"):
        copy = tmp_path / f"copy.{ending}"
        run_ffmpeg("-i", path, "-r", "25", copy)
        assert len(list(open_video(copy, limits=STRANGER))) >= 5, ending
    with pytest.raises(InputError, match="is an address; only files are read here"):
        open_video("http://127.0.0.1/clip.mp4", limits=STRANGER)


@posix
def test_a_pipe_is_read_and_a_silent_one_given_up(tmp_path: Path, make_video: MakeVideo) -> None:
    video = tmp_path / "a.ts"
    run_ffmpeg("-i", make_video(count=24), "-c", "copy", video)
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    begun = time.monotonic()
    with pytest.raises(InputError, match=r"pipe: nothing came for 0\.3 seconds"):
        open_video(pipe, limits=Limits(timeout=0.3))
    assert time.monotonic() - begun < 2

    def feed() -> None:
        time.sleep(0.2)
        pipe.write_bytes(video.read_bytes())

    thread = threading.Thread(target=feed)
    thread.start()
    assert len(list(open_video(pipe, limits=Limits(timeout=10)))) == 24
    thread.join()
    with pytest.raises(InputError, match="is not a file"):
        open_video(pipe, limits=STRANGER)


def test_a_silent_address_is_given_up() -> None:
    import socket

    with socket.create_server(("127.0.0.1", 0)) as server:
        begun = time.monotonic()
        with pytest.raises(InputError, match=r"nothing came for 0\.5 seconds"):
            open_video(f"http://127.0.0.1:{server.getsockname()[1]}/a.mp4", limits=Limits(timeout=0.5))
        assert time.monotonic() - begun < 5


@posix
def test_names_of_every_kind(make_video: MakeVideo, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = make_video()
    names = {"12:30:05": "12:30:05", "x" * 246: "x" * 200, "ä" * 123: "ä" * 100, "a [v2]": "a [v2]", "http:": "http:"}
    names |= {os.fsdecode(b"caf\xe9"): "café", "50%d": "50%d", "-": "-"}
    monkeypatch.chdir(tmp_path)
    for name, expected in names.items():
        shutil.copy(path, f"{name}.mp4")
        (one,) = expand_inputs([f"{name}.mp4"])
        assert one.name == expected
        assert len(list(one.open(Selection()))) == 5
    with pytest.raises(InputError) as caught:
        open_video(os.fsdecode(b"no\xff.mp4"))
    assert str(caught.value) == "input video no\\xff.mp4 not found"


def test_names_for_people_and_files() -> None:
    assert printable("ä.mp4") == "ä.mp4"
    assert output_name("a" * 300) == "a" * 200
    assert is_address("rtsp://host/a")
    assert not is_address("C:/videos/a.mp4")
    assert not is_address("file:///a.mp4")


@pytest.mark.parametrize("mark", ["\ufeff".encode(), b""])
def test_a_list_with_a_byte_order_mark(mark: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    def given(data: bytes) -> list[str]:
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(data), encoding="utf-8"))
        return [one.location for one in expand_inputs(["-"])]

    assert given(mark + "ä.mp4\r\nb.mp4\r\n".encode()) == ["ä.mp4", "b.mp4"]
    assert given("\ufeffä.mp4\r\nb.mp4\r\n".encode("utf-16-le")) == ["ä.mp4", "b.mp4"]
    assert given(mark + b"caf\xe9.mp4\n") == [os.fsdecode(b"caf\xe9.mp4")]
