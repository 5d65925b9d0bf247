"""Live sources: paced servers on this machine, whose frames carry their numbers."""

from __future__ import annotations

import io
import os
import threading
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest
from ffmpeg import frame_times, run_ffmpeg
from PIL import Image
from test_run_streaming import SMALL, run, text

from video_depth_anything.video.inputs import expand_inputs
from video_depth_anything.video.names import printable, public_location
from video_depth_anything.video.options import Selection
from video_depth_anything.video.reader import ArrayReader
from video_depth_anything.video.realtime import Newest, is_live
from video_depth_anything.video.source import VideoSource, open_video
from video_depth_anything.video.writer import VideoWriter

BITS, SIDE = 10, 8


def picture(number: int) -> bytes:
    """A JPEG that shows a number in binary."""
    pixels = np.zeros((32, BITS * SIDE, 3), np.uint8)
    for bit in range(BITS):
        pixels[:, bit * SIDE : (bit + 1) * SIDE] = 255 * (number >> bit & 1)
    data = io.BytesIO()
    Image.fromarray(pixels).save(data, "JPEG", quality=90)
    return data.getvalue()


def number_in(image: np.ndarray) -> int:
    return sum(1 << bit for bit in range(BITS) if image[16, bit * SIDE + SIDE // 2, 0] > 128)


@contextmanager
def camera(fps: float, frames: int, begun: list[float] | None = None, path: str = "") -> Iterator[str]:
    """The address of an HTTP camera that gives so many frames to each client."""

    class Handler(BaseHTTPRequestHandler):
        def log_message(self, *_: object) -> None: ...

        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("Content-Type", "multipart/x-mixed-replace; boundary=frame")
            self.end_headers()
            start = time.monotonic()
            if begun is not None:
                begun.append(start)
            try:
                for index in range(frames):
                    time.sleep(max(start + index / fps - time.monotonic(), 0))
                    data = picture(index)
                    head = f"--frame\r\nContent-Type: image/jpeg\r\nContent-Length: {len(data)}\r\n\r\n"
                    self.wfile.write(head.encode() + data + b"\r\n")
            except OSError:
                pass
            self.close_connection = True

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        server.daemon_threads = True
        threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
        try:
            yield f"http://127.0.0.1:{server.server_port}/{path}"
        finally:
            server.shutdown()


@pytest.mark.parametrize("fps", [5, 30, 50])
def test_realtime_is_never_more_than_one_frame_behind(fps: int) -> None:
    begun: list[float] = []
    computing = 0.15
    few = Selection(max_len=fps * 3)
    with camera(fps, fps * 4, begun) as address, closing(open_video(address, few)) as source:
        assert source.live
        found = []
        for frame in Newest(source.timed(), paced=False):
            newest = int((time.monotonic() - begun[-1]) * fps)
            found.append(newest - number_in(frame.image))
            time.sleep(computing)
    assert len(found) >= 10
    # The last one stays when there is no newer one.
    assert max(found[3:-1]) <= computing * fps + 1


@pytest.mark.parametrize("fps", [5, 50])
def test_frames_of_a_camera_without_a_clock_are_stamped_as_they_come(fps: int, tmp_path: Path) -> None:
    count = fps * 2
    with camera(fps, count + fps) as address, closing(open_video(address, Selection(max_len=count))) as source:
        writer = VideoWriter(tmp_path / "a.mp4", source.size, source.fps)
        frames = list(source.timed())
    for frame in frames:
        writer.write(frame.image, frame.time, frame.duration)
    writer.close()
    assert [number_in(frame.image) for frame in frames] == list(range(count))
    seconds = (count - 1) / fps
    assert frames[-1].time == pytest.approx(seconds, abs=0.5)  # the first ones come together
    assert frame_times(tmp_path / "a.mp4")[-1] == pytest.approx(frames[-1].time, abs=0.005)
    times = [frame.time for frame in frames]
    assert np.diff(times)[count // 2 :] == pytest.approx(1 / fps, abs=0.1)


def test_a_source_that_went_away_is_opened_again(caplog: pytest.LogCaptureFixture) -> None:
    begun: list[float] = []
    with camera(20, 10, begun) as address, closing(open_video(address, Selection(reconnect=True))) as source:
        frames = []
        for frame in source.timed():
            frames.append(frame)
            if len(frames) == 15:
                break
    assert [number_in(frame.image) for frame in frames] == [*range(10), *range(5)]
    assert len(begun) == 2
    assert 0.9 < frames[10].time - frames[9].time < 3
    assert "reopening in 1 seconds" in caplog.text
    assert "is back" in caplog.text


def test_pictures_that_change_their_size_are_scaled_with_a_line(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Within a stream, and after it was opened again."""
    pictures = [Image.new("RGB", (side, 32), (200, 200, 200)) for side in (32, 32, 64, 64)]
    with (tmp_path / "camera.mjpeg").open("wb") as file:
        for one in pictures:
            one.save(file, "JPEG")
    stream, reopened = open_video(tmp_path / "camera.mjpeg"), ArrayReader(map(np.asarray, pictures), 10)
    for source in (stream, VideoSource("camera", Selection(), reopened)):
        with closing(source):
            assert [image.shape for image in source] == [(32, 32, 3)] * 4
    assert caplog.text.count("its frames change from 32x32 to 64x32 pixels; they are scaled to the first size") == 2


def test_what_is_live(tmp_path: Path) -> None:
    clip = tmp_path / "clip.mp4"
    run_ffmpeg("-f", "lavfi", "-i", "testsrc2=s=32x32:d=0.2", clip)
    assert not is_live(str(clip), has_length=False)
    assert not is_live("http://host/clip.mp4", has_length=True)
    for location in ("0", "rtsp://host/a", "RTSP://host/a", "rtsps://host/a", "srt://host:1", "tcp://host:1"):
        assert is_live(location, has_length=False)
    assert is_live("http://host/camera", has_length=False)
    assert not is_live("http://host/camera", has_length=False, chosen=False)
    assert is_live(str(clip), has_length=True, chosen=True)
    with closing(open_video(clip)) as source:
        assert not source.live
    with closing(open_video(clip, Selection(live=True))) as source:
        assert source.live
        assert len(list(source)) == 5


def test_a_pipe_is_live_and_keeps_the_clock_that_it_states(tmp_path: Path) -> None:
    pipe, clip = tmp_path / "pipe", tmp_path / "clip.y4m"
    os.mkfifo(pipe)
    run_ffmpeg("-f", "lavfi", "-i", "testsrc2=s=32x32:r=10:d=1", "-f", "yuv4mpegpipe", clip)
    writing = threading.Thread(target=lambda: pipe.write_bytes(clip.read_bytes()), daemon=True)
    writing.start()
    with closing(open_video(pipe)) as source:
        assert source.live
        assert source.fps == 10
        assert [frame.time for frame in source.timed()] == pytest.approx(np.arange(10) / 10)


def test_secrets_of_an_address_are_not_shown() -> None:
    address = "http://admin:s3cretPW@host:80/cam/a.mjpg?token=X#y"
    assert public_location(address) == printable(address) == "http://host:80/cam/a.mjpg"
    assert public_location("rtsp://u:p@ss@host/a") == "rtsp://host/a"
    assert public_location("a@b?c.mp4") == "a@b?c.mp4"
    assert expand_inputs([address])[0].shown == "http://host:80/cam/a.mjpg"


def test_vis_of_a_camera_is_written_as_it_comes(checkpoint: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    with camera(5, 50, path="a.mjpg?token=X") as address:
        secret = address.replace("http://", "http://admin:s3cretPW@")
        flags = ("--checkpoint", checkpoint, "-o", out, "--save", "vis", "exr", "--latency", "--max_len", "8", *SMALL)
        result = text(run("--input_video", secret, *flags))
    assert result.returncode == 0, result.stderr
    assert "from when it was captured" in result.stderr
    assert "spool" not in result.stderr
    assert "8 frames" in result.stderr
    assert "s3cretPW" not in result.stderr
    assert "token" not in result.stderr
    written = [path for path in out.rglob("*") if path.is_file()]
    assert any(path.suffix == ".exr" for path in written)
    for path in written:
        assert b"s3cretPW" not in path.read_bytes()
        assert b"token" not in path.read_bytes()
