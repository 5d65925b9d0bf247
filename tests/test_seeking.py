"""`--start` seeks, and gives the very frames that decoding everything gives."""

from __future__ import annotations

import time
from contextlib import closing
from pathlib import Path

import pytest
from ffmpeg import run_ffmpeg

from video_depth_anything.video import files
from video_depth_anything.video.source import Selection, open_video

X264 = ("-c:v", "libx264", "-preset", "ultrafast", "-bf", "2", "-g", "25")
KINDS: dict[str, tuple[str, tuple[str, ...]]] = {
    "plain": ("mp4", X264),
    "open groups": ("mkv", ("-c:v", "libx264", "-preset", "fast", "-g", "30", "-x264-params", "open-gop=1:bframes=3")),
    "hevc": ("mp4", ("-c:v", "libx265", "-preset", "ultrafast", "-x265-params", "keyint=25:log-level=none")),
    "refresh without key frames": ("mp4", ("-c:v", "libx264", "-x264-params", "intra-refresh=1:keyint=30")),
    "interlaced": ("mp4", (*X264, "-flags", "+ilme+ildct", "-vf", "interlace")),
    "mpeg4": ("mkv", ("-c:v", "mpeg4", "-bf", "2", "-g", "50")),
    "vp9": ("webm", ("-c:v", "libvpx-vp9", "-deadline", "realtime", "-cpu-used", "8", "-g", "40")),
    "variable": ("mp4", (*X264, "-vf", "select='lt(mod(n,7),4)'", "-fps_mode", "vfr")),
    "late picture": ("mkv", (*X264, "-output_ts_offset", "2.5")),
    "transport stream": ("ts", X264),
    "avi": ("avi", ("-c:v", "mpeg4", "-bf", "2", "-g", "50")),
}


def read(path: Path, start: float) -> list[tuple[float, float | None, bytes]]:
    with closing(open_video(path, Selection(start=start, max_len=20))) as source:
        return [(frame.time, frame.source_time, frame.image.tobytes()) for frame in source.timed()]


@pytest.mark.parametrize("name", KINDS)
def test_frames_are_those_of_decoding_everything(tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    ending, options = KINDS[name]
    path = tmp_path / f"a.{ending}"
    run_ffmpeg("-f", "lavfi", "-i", "testsrc2=s=64x48:r=25:d=6", *options, path)
    for start in (0.02, 3.17, 5.0):
        found = read(path, start)
        with monkeypatch.context() as patched:
            patched.setattr(files, "SEEKABLE", set())
            right = read(path, start)
        assert len(found) == len(right) > 3
        assert found == right


@pytest.mark.parametrize("start", [0.2, 3.0])
def test_whole_files_are_not_called_damaged(tmp_path: Path, start: float, caplog: pytest.LogCaptureFixture) -> None:
    path = tmp_path / "a.mp4"
    run_ffmpeg("-f", "lavfi", "-i", "testsrc2=s=64x48:r=25:d=5", *X264, path)
    with closing(open_video(path, Selection(start=start))) as source:
        assert len(list(source)) == round((5 - start) * 25)
    assert "truncated" not in caplog.text


def test_a_late_start_costs_little(tmp_path: Path) -> None:
    path = tmp_path / "a.mp4"
    run_ffmpeg("-f", "lavfi", "-i", "testsrc2=s=320x240:r=25:d=60", *X264, path)
    took = []
    for start in (0.0, 55.0):
        begun = time.process_time()
        assert len(read(path, start)) == 20
        took.append(time.process_time() - begun)
    assert took[1] < 4 * took[0] + 0.2
