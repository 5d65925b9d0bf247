"""Clocks that jump, pause or are in disorder: picture and sound stay together, whatever the file says of them."""

from __future__ import annotations

import re
from contextlib import closing
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from ffmpeg import beeps, decoded, ffmpeg_header, flashes, frame_times, run_ffmpeg

from video_depth_anything.video.sound import AudioTrack
from video_depth_anything.video.source import open_video
from video_depth_anything.video.stream_clock import StreamClock
from video_depth_anything.video.writer import VideoWriter

X264 = ("-c:v", "libx264", "-preset", "ultrafast", "-bf", "2", "-pix_fmt", "yuv420p")


def rewritten(path: Path, out: Path) -> Path:
    """The video with its sound, as a run writes it."""
    with closing(open_video(path)) as source:
        audio = AudioTrack(str(path), lambda: source.first_time, lambda: source.joints)
        writer = VideoWriter(out, source.size, source.fps, audio=audio)
        for frame in source.timed():
            writer.write(frame.image, frame.time, frame.duration)
    writer.close()
    return out


def recording(
    path: Path,
    at: tuple[float, ...] = (1.0,),
    seconds: float = 3,
    late_sound: float = 0.0,
    *options: str,
    rate: str = "25",
) -> Path:
    """White frames and beeps of 0.1 s at the same times; the sound stream may begin later than the picture's."""
    white = "+".join(f"between(T,{time}-0.01,{time}+0.09)" for time in at)
    loud = "+".join(f"between(t+{late_sound},{time},{time}+0.1)" for time in at)
    video = f"color=black:s=64x48:r={rate}:d={seconds},geq=lum='16+219*({white})':cb=128:cr=128"
    sound = f"aevalsrc='0.5*sin(6283*t)*({loud})':s=48000:d={seconds - late_sound}"
    inputs = ("-f", "lavfi", "-i", video, "-itsoffset", str(late_sound), "-f", "lavfi", "-i", sound)
    run_ffmpeg(*inputs, *(options or (*X264, "-c:a", "aac")), path)
    return path


def assert_together(path: Path, times: list[float]) -> None:
    np.testing.assert_allclose(flashes(path), times, atol=0.021)
    np.testing.assert_allclose(beeps(path), times, atol=0.04)


@pytest.mark.parametrize(
    ("rate", "kind", "offset"),
    [("25", "aac", "3600"), ("30000/1001", "aac", "0"), ("50", "ac3", "100"), ("10", "mp2", "5000")],
)
def test_joined_recordings_keep_their_sound(
    tmp_path: Path, rate: str, kind: str, offset: str, caplog: pytest.LogCaptureFixture
) -> None:
    """The second one's sound begins 0.4 s later than its picture, which counting on at the joint would lose."""
    coded = (*X264, "-c:a", kind)
    one = recording(tmp_path / "a.ts", (1.0,), 3, 0.0, *coded, rate=rate)
    two = recording(tmp_path / "b.ts", (1.0,), 3, 0.4, *coded, "-output_ts_offset", offset, rate=rate)
    joined = tmp_path / "joined.ts"
    joined.write_bytes(one.read_bytes() + two.read_bytes() + one.read_bytes())
    out = rewritten(joined, tmp_path / "out.mp4")
    assert len(decoded(out)) == len(decoded(joined))
    length = len(decoded(one)) / Fraction(rate)
    assert_together(out, [1.0, float(1 + length), float(1 + 2 * length)])
    assert caplog.text.count("its timestamps jump by") == 1


@pytest.mark.parametrize("ending", ["mkv", "flv", "ts", "mp4"])
def test_a_still_picture_under_which_sound_plays_is_no_joint(
    tmp_path: Path, ending: str, caplog: pytest.LogCaptureFixture
) -> None:
    """As recordings of screens have it."""
    still = ("-vf", "select='lt(t,2)+gt(t,14)'", "-fps_mode", "vfr", *X264, "-c:a", "aac", "-ar", "44100")
    path = recording(tmp_path / f"a.{ending}", (1.0, 15.0), 16, 0.0, *still)
    assert_together(rewritten(path, tmp_path / "out.mp4"), [1.0, 15.0])
    assert caplog.text == ""


def test_a_long_step_without_sound_is_a_joint(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Whatever the format, unless the frame before it says that it is shown so long."""
    video = "testsrc2=s=64x48:r=25:d=13,select='lt(t,1)+gte(t,12)'"
    for ending, joints in (("mkv", 1), ("mp4", 0)):
        path = tmp_path / f"a.{ending}"
        run_ffmpeg("-f", "lavfi", "-i", video, "-fps_mode", "vfr", *X264, path)
        caplog.clear()
        with closing(open_video(path)) as source:
            frames = list(source.timed())
        assert len(source.joints) == joints
        assert frames[-1].end == pytest.approx(2 if joints else 13, abs=0.05)
        assert caplog.text.count("its timestamps jump by 11.04 seconds; the parts are joined") == joints
        assert "damaged" not in caplog.text


@pytest.mark.parametrize("kind", ["libx264", "libxvid", "mpeg4"])
def test_the_first_frame_of_avi_is_shown_at_once(tmp_path: Path, kind: str) -> None:
    """AVI knows decoding order alone; a decoder gives the first of reordered frames two packets late, or four."""
    path = recording(tmp_path / "a.avi", (1.0, 2.0), 3, 0.0, "-c:v", kind, "-bf", "2", "-c:a", "pcm_s16le")
    with closing(open_video(path)) as source:
        assert next(iter(source.timed())).source_time == pytest.approx(0, abs=1e-6)
    assert_together(rewritten(path, tmp_path / "out.mp4"), [1.0, 2.0])


def test_a_variable_rate_in_avi(tmp_path: Path) -> None:
    slow = ("-vf", "select='if(lt(t,2),not(mod(n,5)),1)'", "-fps_mode", "vfr", *X264, "-c:a", "pcm_s16le")
    path = recording(tmp_path / "a.avi", (1.0, 3.0), 4, 0.0, *slow)
    assert_together(rewritten(path, tmp_path / "out.mp4"), [1.0, 3.0])


def test_stamps_of_which_some_are_in_disorder(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """ASF gives reordered H.264 the stamps of its packets; two frames at one time once cost the whole run."""
    path = recording(tmp_path / "a.asf", (1.0,), 2, 0.0, "-c:v", "libx264", "-c:a", "wmav2")
    out = rewritten(path, tmp_path / "out.mp4")
    assert (np.diff(frame_times(out)) > 0).all()
    assert len(decoded(out)) == len(decoded(path))
    np.testing.assert_allclose(beeps(out), flashes(out), atol=0.045)
    assert caplog.text == ""


def test_sound_of_very_short_packets_does_not_drift(tmp_path: Path) -> None:
    """TrueHD has 1,200 packets a second, which a clock of milliseconds cannot tell apart."""
    path = recording(tmp_path / "a.mkv", (1.0, 3.0), 4, 0.0, *X264, "-strict", "-2", "-c:a", "truehd")
    assert_together(rewritten(path, tmp_path / "out.mp4"), [1.0, 3.0])


def test_repeated_stamps_are_spread_and_caught_up_with() -> None:
    clock = StreamClock(Fraction(1, 100), 0.04, "a.mkv")
    found = [clock.seconds(stamp, None, 4) for stamp in (0, 4, 4, 4, 12, 16)]
    assert found == pytest.approx([0, 0.04, 0.06, 0.08, 0.12, 0.16])
    assert clock.joints == []


def test_a_file_has_no_two_frames_at_one_time(tmp_path: Path) -> None:
    out = tmp_path / "out.mp4"
    writer = VideoWriter(out, (48, 64), Fraction(2))
    for time in (0.0, 1.0, 1.0, 1.0 + 1e-9, 2.0):
        writer.write(np.zeros((48, 64, 3), np.uint8), time, 0.5)
    writer.close()
    np.testing.assert_allclose(frame_times(out), [0, 1, 1, 1, 2], atol=1e-4)


def test_a_pause_that_no_file_can_hold_does_not_cost_the_video(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """MP4's longest frame is 2^31 - 2 ticks, about six hours here."""
    out = tmp_path / "out.mp4"
    writer = VideoWriter(out, (48, 64), Fraction(25))
    for time in (0.0, 0.04, 90_000.0, 90_000.04):
        writer.write(np.zeros((48, 64, 3), np.uint8), time, 0.04)
    writer.close()
    assert len(decoded(out)) == 4
    assert np.diff(frame_times(out)) == pytest.approx([0.04, 2**31 / 90_000, 0.04], abs=1e-3)
    assert "a pause of 25 hours is shortened" in caplog.text


@pytest.mark.parametrize(("rate", "kind", "kept"), [("8000", "libmp3lame", "aac"), ("44100", "libmp3lame", "mp3")])
def test_sound_is_encoded_where_mp4_demands_it(tmp_path: Path, rate: str, kind: str, kept: str) -> None:
    path = recording(tmp_path / "a.mkv", (1.0,), 2, 0.0, *X264, "-c:a", kind, "-ar", rate)
    out = rewritten(path, tmp_path / "out.mp4")
    assert f"Audio: {kept}" in ffmpeg_header(out)
    assert_together(out, [1.0])
    with av.open(str(out)) as container:
        picture, sound = (float((stream.duration or 0) * (stream.time_base or 0)) for stream in container.streams)
    assert sound == pytest.approx(picture, abs=0.002 if kept == "aac" else 0.03)


def test_broken_packets_of_sound_cost_no_more_than_themselves(tmp_path: Path) -> None:
    path = recording(tmp_path / "a.mkv", (1.0,), 2, 0.0, *X264, "-c:a", "mp2")
    data = bytearray(path.read_bytes())
    headers = [found.start() for found in re.finditer(b"\xff\xfd", data)]
    assert len(headers) > 60
    for at in headers[:5]:
        data[at] = 0
    path.write_bytes(data)
    assert AudioTrack(str(path)).check() is None
    assert_together(rewritten(path, tmp_path / "out.mp4"), [1.0])


def test_sound_of_an_unknown_codec_is_told_from_none(tmp_path: Path) -> None:
    path = recording(tmp_path / "a.mkv", (1.0,), 2)
    path.write_bytes(path.read_bytes().replace(b"A_AAC", b"A_XYZ"))
    assert AudioTrack(str(path)).check() == "its codec is not supported"


def test_sound_that_begins_late_is_found(tmp_path: Path) -> None:
    """FLV has no list of its streams, and five megabytes of picture come before the first sound."""
    noise = "nullsrc=s=320x240:r=25:d=4,geq=lum='random(1)*255':cb=128:cr=128"
    sound = ("-itsoffset", "3", "-f", "lavfi", "-i", "aevalsrc=0.5*sin(6283*t)*between(t\\,0.2\\,0.3):s=44100:d=1")
    path = tmp_path / "late.flv"
    run_ffmpeg("-f", "lavfi", "-i", noise, *sound, "-c:v", "libx264", "-preset", "ultrafast", "-qp", "1", path)
    assert AudioTrack(str(path)).check() is None
    np.testing.assert_allclose(beeps(rewritten(path, tmp_path / "out.mp4")), [3.2], atol=0.06)
