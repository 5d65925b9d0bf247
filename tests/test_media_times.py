"""Times and sound: what is shown and heard together stays together, whatever clock the file has."""

from __future__ import annotations

import logging
import time
from contextlib import closing
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from ffmpeg import beeps, decoded, ffmpeg_header, flashes, frame_times, run_ffmpeg

from video_depth_anything.video.frame import Frame
from video_depth_anything.video.realtime import Newest
from video_depth_anything.video.sound import AudioTrack
from video_depth_anything.video.source import Selection, open_video
from video_depth_anything.video.timing import as_rate
from video_depth_anything.video.writer import VideoWriter

MEDIA = Path(__file__).parent / "media"
TIMING = MEDIA / "timing"


def rewritten(path: Path, out: Path, start: float = 0.0, sound: bool = True) -> Path:
    """The video as a run writes it."""
    with closing(open_video(path, Selection(start=start))) as source:
        audio = AudioTrack(str(path), lambda: source.first_time) if sound else None
        writer = VideoWriter(out, source.size, source.fps, audio=audio)
        for frame in source.timed():
            writer.write(frame.image, frame.time, frame.duration)
    writer.close()
    return out


@pytest.fixture(scope="module")
def flashing(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Six seconds at 25 frames a second, black; white frames and beeps of 0.1 s at 2 and 4 seconds."""
    path = tmp_path_factory.mktemp("flashing") / "plain.mkv"
    white = "between(T,1.99,2.09)+between(T,3.99,4.09)"
    video = f"color=black:s=64x48:r=25:d=6,geq=lum='16+219*({white})':cb=128:cr=128"
    sound = "aevalsrc='0.5*sin(6283*t)*(between(t,2,2.1)+between(t,4,4.1))':s=48000:d=6"
    run_ffmpeg("-f", "lavfi", "-i", video, "-f", "lavfi", "-i", sound, "-c:a", "pcm_s16le", path)
    return path


def assert_together(path: Path, times: list[float]) -> None:
    np.testing.assert_allclose(flashes(path), times, atol=0.021)
    np.testing.assert_allclose(beeps(path), times, atol=0.04)


@pytest.mark.parametrize("ending", ["mp4", "ts", "mkv", "mov", "avi", "flv"])
def test_flash_and_beep_stay_together(flashing: Path, tmp_path: Path, ending: str) -> None:
    path = tmp_path / f"a.{ending}"
    kind = {"avi": "mp3", "mov": "pcm_s16le", "mkv": "ac3", "ts": "mp2"}.get(ending, "aac")
    run_ffmpeg("-i", flashing, "-c:v", "libx264", "-c:a", kind, "-ar", "44100", path)
    assert_together(rewritten(path, tmp_path / "out.mp4"), [2, 4])


@pytest.mark.parametrize(("late", "left"), [("picture", [0.5, 2.5]), ("sound", [2.0, 4.0])])
def test_a_late_start_of_one_of_them(flashing: Path, tmp_path: Path, late: str, left: list[float]) -> None:
    path = tmp_path / "late.mkv"
    cut = ("-ss", "1.5", "-copyts")
    inputs = (*cut, "-i", flashing, "-i", flashing) if late == "picture" else ("-i", flashing, *cut, "-i", flashing)
    run_ffmpeg(*inputs, "-map", "0:v", "-map", "1:a", "-c:a", "pcm_s16le", "-avoid_negative_ts", "disabled", path)
    out = rewritten(path, tmp_path / "out.mp4")
    assert_together(out, left)
    with closing(open_video(path)) as source:
        first = next(iter(source.timed()))
        assert first.time == 0
        assert source.first_time == first.source_time == pytest.approx(1.5 if late == "picture" else 0.0, abs=0.03)


def test_a_start_between_two_frames(flashing: Path, tmp_path: Path) -> None:
    """At one frame a second the first one from 1.1 s on is at 2 s, and there the sound begins too."""
    path = tmp_path / "slow.mkv"
    run_ffmpeg("-i", flashing, "-vf", "select=not(mod(n\\,25))", "-r", "1", "-c:a", "copy", path)
    assert_together(rewritten(path, tmp_path / "out.mp4", start=1.1), [0, 2])


def test_variable_rates_keep_their_times(tmp_path: Path) -> None:
    path = TIMING / "vfr.mp4"
    for sound in (True, False):
        out = rewritten(path, tmp_path / "out.mp4", sound=sound)
        np.testing.assert_allclose(flashes(out), [1.0, 3.5, 5.0], atol=0.02)
        np.testing.assert_allclose(frame_times(out), frame_times(path), atol=0.001)
        assert "Duration: 00:00:06.0" in ffmpeg_header(out)
    np.testing.assert_allclose(beeps(rewritten(path, tmp_path / "out.mp4")), [1.0, 3.5, 5.0], atol=0.04)


@pytest.mark.parametrize(("name", "joints"), [("jump.ts", 1), ("same.ts", 1), ("wrap.ts", 0)])
def test_joined_recordings_play_on(name: str, joints: int, caplog: pytest.LogCaptureFixture) -> None:
    source = open_video(TIMING / name)
    frames = list(source.timed())
    assert source.fps == 25
    assert source.expected is None or source.expected <= len(frames)
    assert len(frames) == len(decoded(TIMING / name))
    np.testing.assert_allclose([frame.time for frame in frames], np.arange(len(frames)) / 25, atol=1e-6)
    np.testing.assert_allclose([frame.duration for frame in frames], 0.04, atol=1e-6)
    assert caplog.text.count("its timestamps jump by") == joints


def test_a_slide_show_is_no_joint(caplog: pytest.LogCaptureFixture) -> None:
    source = open_video(TIMING / "slow.mp4")
    assert [frame.time for frame in source.timed()] == [0, 60, 120]
    assert source.fps == Fraction(1, 60)
    assert caplog.text == ""


@pytest.mark.parametrize("rate", ["30.004", "29.9955"])
def test_rates_near_a_standard_one_last_as_long(tmp_path: Path, rate: str) -> None:
    """6,000 frames at 30.004 are 0.8 frames shorter than at 30."""
    path = tmp_path / "a.mp4"
    count = 6000
    tiny = ("-f", "lavfi", "-i", f"color=gray:s=16x16:r={rate}", "-frames:v", str(count), "-preset", "ultrafast")
    run_ffmpeg(*tiny, "-video_track_timescale", "90000", path)
    with closing(open_video(path)) as source:
        assert source.fps != 30
        assert abs(float(count / source.fps) - count / float(rate)) < 0.5 / 30
        out = tmp_path / "out.mp4"
        writer = VideoWriter(out, source.size, source.fps)
        for frame in source.timed():
            writer.write(frame.image, frame.time, frame.duration)
    writer.close()
    times = frame_times(out)
    assert len(times) == count
    assert times[-1] == pytest.approx((count - 1) / float(rate), abs=0.5 / 30)


@pytest.mark.parametrize("hours", [1, 24, 24 * 8, 24 * 20])
def test_frames_that_a_damaged_header_shows_for_days_are_written(tmp_path: Path, hours: int) -> None:
    fps = Fraction(1, 3600 * hours + 51)
    writer = VideoWriter(tmp_path / "long.mp4", (16, 16), fps)
    for number in range(4):
        writer.write(np.zeros((16, 16, 3), np.uint8), float(number / fps), float(1 / fps))
    writer.close()
    with av.open(str(tmp_path / "long.mp4")) as container:
        stream = container.streams.video[0]
        shown = [packet.pts or 0 for packet in container.demux(stream) if packet.size]
        assert stream.time_base is not None
        assert [ticks * stream.time_base * fps for ticks in shown] == [0, 1, 2, 3]


def test_standard_rates_by_length() -> None:
    assert as_rate(30.004) == 30
    assert as_rate(30.004, 3000) == 30
    assert as_rate(30.004, 18000) == Fraction("30.004")
    assert as_rate(29.97, 18000) == Fraction(30000, 1001)


@pytest.mark.parametrize("name", ["x.flv", "a_21.avi", "long_audio_flv.flv"])
def test_unusual_sound_is_kept(tmp_path: Path, name: str) -> None:
    path = MEDIA / "containers" / name
    assert AudioTrack(str(path)).check() is None
    header = ffmpeg_header(rewritten(path, tmp_path / "out.mp4"))
    assert "Audio: aac" in header


def test_unusable_sound_never_costs_the_picture(tmp_path: Path) -> None:
    path = MEDIA / "containers" / "a_empty.mkv"
    assert AudioTrack(str(path)).check() == "it is empty"
    out = rewritten(path, tmp_path / "out.mp4")
    assert len(decoded(out)) == 25
    path = MEDIA / "containers" / "meta_audio.mp4"  # a comment speaks of " Audio: "
    assert AudioTrack(str(path)).check() == "it has no sound"
    assert len(decoded(rewritten(path, tmp_path / "out.mp4"))) == 25
    assert sorted(tmp_path.iterdir()) == [out]


def test_damaged_sound_ends_early_and_says_so(tmp_path: Path) -> None:
    path, broken = tmp_path / "a.mkv", tmp_path / "b.mkv"
    run_ffmpeg("-f", "lavfi", "-i", "testsrc2=s=96x64:d=2", "-f", "lavfi", "-i", "sine=d=2", "-c:a", "flac", path)
    data = bytearray(path.read_bytes())
    data[len(data) // 2 : len(data) // 2 + 3000] = bytes(3000)
    broken.write_bytes(data)
    frames = len(decoded(broken))
    assert len(decoded(rewritten(broken, tmp_path / "out.mp4"))) == frames


def test_chapters_and_other_streams_stay_behind(tmp_path: Path) -> None:
    meta, path = tmp_path / "chapters.txt", tmp_path / "a.mp4"
    chapter = "[CHAPTER]\nTIMEBASE=1/1\nSTART={}\nEND={}\ntitle=x\n"
    meta.write_text(";FFMETADATA1\n" + chapter.format(0, 3) + chapter.format(3, 6))
    made = ("-f", "lavfi", "-i", "testsrc2=s=96x64:d=6", "-f", "lavfi", "-i", "sine=d=6")
    run_ffmpeg(*made, "-i", meta, "-map_metadata", "2", path)
    with closing(open_video(path, Selection(end=1.0))) as source:
        writer = VideoWriter(tmp_path / "out.mp4", source.size, source.fps, audio=AudioTrack(str(path)))
        for frame in source.timed():
            writer.write(frame.image, frame.time, frame.duration)
    writer.close()
    header = ffmpeg_header(tmp_path / "out.mp4")
    assert "Duration: 00:00:01.0" in header
    assert "Chapter" not in header


def test_sound_of_what_is_read_once_is_left_out(tmp_path: Path) -> None:
    assert AudioTrack("rtsp://host/camera").check() == "its source can be read only once"
    assert AudioTrack(str(MEDIA)).check() == "it has no sound"  # a folder of images
    assert AudioTrack(str(tmp_path / "seq" / "*.png")).check() == "it has no sound"


def test_an_encoder_that_is_not_there_is_replaced(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = tmp_path / "a.mp4"
    with caplog.at_level(logging.WARNING):
        writer = VideoWriter(path, (48, 64), Fraction(24), codec="h264_nonsense")
    writer.write(np.zeros((48, 64, 3), np.uint8))
    writer.close()
    assert "h264_nonsense is not available" in caplog.text
    assert "h264" in ffmpeg_header(path)


def paused(times: list[float]) -> list[Frame]:
    return [Frame(np.zeros((2, 2, 3), np.uint8), at, 1.0) for at in times]


def test_a_paced_source_is_left_at_once() -> None:
    """Frames that are an hour apart, as joined recordings once had them."""
    begun = time.monotonic()
    for _ in Newest(paused([0, 3600]), paced=True):
        break
    assert time.monotonic() - begun < 1


def test_a_paced_source_is_ended_from_outside() -> None:
    begun = time.monotonic()
    frames = list(Newest(paused([0, 3600]), paced=True, wait=lambda _: time.monotonic() - begun > 0.2))
    assert len(frames) == 1
    assert time.monotonic() - begun < 2


@pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="this system does not tell what is open")
def test_a_run_that_is_broken_off_leaves_nothing(tmp_path: Path) -> None:
    """Neither files nor open descriptors."""
    counts: list[int] = []
    for count in range(5):
        writer = VideoWriter(tmp_path / "a.mp4", (48, 64), Fraction(24), audio=AudioTrack(str(TIMING / "vfr.mp4")))
        for _ in range(count):
            writer.write(np.zeros((48, 64, 3), np.uint8))
        writer.abort()
        with closing(open_video(TIMING / "vfr.mp4")) as source:
            next(iter(source))
        counts.append(len(list(Path("/proc/self/fd").iterdir())))
    assert list(tmp_path.iterdir()) == []
    assert counts[-1] <= counts[0]
