"""More kinds of video files: cropped, tiny, bare streams, and what their headers claim."""

from __future__ import annotations

from contextlib import closing
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from ffmpeg import decoded, run_ffmpeg
from test_media_files import difference, read

from video_depth_anything.video.source import open_video

MEDIA = Path(__file__).parent / "media"
CLIP = ("-f", "lavfi", "-i", "testsrc2=s=96x64:d=1:r=25")


def test_h264_cropped_at_the_left(tmp_path: Path) -> None:
    path = tmp_path / "a.mp4"
    crop = "h264_metadata=crop_left=8:crop_right=4:crop_top=6:crop_bottom=2"
    run_ffmpeg(*CLIP, "-c:v", "libx264", "-bsf:v", crop, path)
    found = read(path)
    assert found.shape == (25, 56, 84, 3)
    assert difference(found, decoded(path)) <= 1


def test_tiny_interlaced_frames_stay_as_they_are(tmp_path: Path) -> None:
    path = tmp_path / "a.mkv"
    run_ffmpeg(*CLIP, "-vf", "scale=4:2,setfield=tff", "-c:v", "ffv1", "-pix_fmt", "yuv444p", path)
    assert difference(read(path), decoded(path)) <= 1


@pytest.mark.parametrize("ending", ["h264", "h265", "m2v"])
def test_a_bare_stream_has_the_rate_of_its_headers(tmp_path: Path, ending: str) -> None:
    path = tmp_path / f"a.{ending}"
    run_ffmpeg("-f", "lavfi", "-i", "testsrc2=s=96x64:d=0.5:r=30000/1001", "-x265-params", "log-level=none", path)
    source = open_video(path)
    times = [frame.time for frame in source.timed()]
    assert source.fps == Fraction(30000, 1001)
    np.testing.assert_allclose(times, np.arange(15) * 1001 / 30000, atol=1e-3)


@pytest.mark.parametrize(("name", "flags"), [("a.flv", ("-bf", "3")), ("a.mkv", ("-output_ts_offset", "5"))])
def test_a_length_that_counts_from_zero_claims_no_more_frames(
    tmp_path: Path, name: str, flags: tuple[str, ...], caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / name
    run_ffmpeg(*CLIP, "-c:v", "libx264", *flags, path)
    source = open_video(path)
    assert (source.expected, len(list(source))) == (25, 25)
    assert caplog.text == ""


def test_packets_lost_in_a_transport_stream_are_told(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = tmp_path / "a.ts"
    run_ffmpeg(*CLIP, "-c:v", "libx264", path)
    data = bytearray(path.read_bytes())
    data[len(data) // 2 : len(data) // 2 + 2000] = bytes(2000)
    path.write_bytes(data)
    found, right = read(path), decoded(path)
    assert len(found) == len(right) < 25
    assert "a.ts is damaged: some frames are missing or wrong" in caplog.text


def test_parts_of_a_transport_stream_that_follow_each_other_lack_nothing(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path, parts = tmp_path / "a.ts", [tmp_path / "1.ts", tmp_path / "2.ts"]
    for index, part in enumerate(parts):
        run_ffmpeg(*CLIP, "-c:v", "libx264", "-bf", "0", "-output_ts_offset", str(index), part)
    path.write_bytes(b"".join(part.read_bytes() for part in parts))
    assert len(read(path)) == 50
    assert caplog.text == ""


def test_an_ogg_that_breaks_off_is_told(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = tmp_path / "a.ogv"
    run_ffmpeg(*CLIP, "-c:v", "libtheora", "-page_duration", "40000", path)
    data = path.read_bytes()
    # The last page, which tells the length, is there; those before are not.
    last = data.rindex(b"OggS")
    path.write_bytes(data[: last // 2] + bytes(last - last // 2) + data[last:])
    assert len(read(path)) < 24
    assert "but its header says 25: it is truncated or damaged" in caplog.text


def test_a_still_end_lasts_as_long_as_the_file(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Frames like the one before are stored as empty packets, at the end too."""
    path = tmp_path / "a.ogv"
    still = "color=black:s=64x48:r=25:d=3,drawbox=w=20:h=20:color=white:t=fill:enable='gt(t,0.9)'"
    run_ffmpeg("-f", "lavfi", "-i", still, "-c:v", "libtheora", path)
    with closing(open_video(path)) as source:
        frames = list(source.timed())
    assert frames[-1].end == pytest.approx(3, abs=0.05)
    assert len(frames) == len(decoded(path)) < 75
    assert caplog.text == ""


@pytest.mark.parametrize("name", ["clap.mp4", "pixelcrop.mkv"])
def test_cropping_by_the_container(name: str) -> None:
    """Of 160x120, 20 columns at the left and 16 rows above and below are not shown."""
    with closing(open_video(MEDIA / "crop" / name)) as source:
        found = np.stack(list(source))
    assert found.shape[1:] == (88, 140, 3)
    assert not source.copyable
    np.testing.assert_array_equal(found, decoded(MEDIA / "crop" / name))
