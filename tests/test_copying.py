"""The source's video as copied packets, and the quality of what is encoded, against PyAV alone."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from fractions import Fraction
from pathlib import Path
from typing import Any, cast

import av
import cv2
import numpy as np
import pytest
from ffmpeg import ffmpeg_header, run_ffmpeg

from video_depth_anything.errors import OutputError
from video_depth_anything.outputs.colormap import color_table
from video_depth_anything.outputs.options import CameraOptions, OutputOptions
from video_depth_anything.outputs.plan import OutputPlan
from video_depth_anything.video.frame import Image
from video_depth_anything.video.source import Selection, open_video
from video_depth_anything.video.writer import VideoWriter

BOX = Path(__file__).parents[1] / "assets" / "example_videos" / "box.mp4"
WHOLE = Selection()
EVEN = [index * 3 for index in range(12)]
UNEVEN = [0, 3, 4, 9, 10, 11, 15, 20, 21, 24, 29, 30]


def box_frames(count: int, size: tuple[int, int]) -> list[Image]:
    """The example's first frames, scaled."""
    with av.open(str(BOX)) as container:
        pictures = [frame.to_ndarray(format="rgb24") for frame, _ in zip(container.decode(video=0), range(count))]
    return [cv2.resize(picture, size[::-1], interpolation=cv2.INTER_AREA).astype(np.uint8) for picture in pictures]


def make_clip(path: Path, stamps: Sequence[int], codec: str = "libx264", rotation: int = 0, tff: int = 0) -> Path:
    """Frames of 64x96 at stamps in 1/72 s; x264 stores them out of order."""
    with av.open(str(path), "w") as output:
        options = {"bf": "2", "x264-params": f"tff={tff}"}
        stream = cast("av.VideoStream", output.add_stream(codec, rate=24, options=options))
        stream.width, stream.height, stream.pix_fmt = 96, 64, "yuv420p"
        stream.time_base = stream.codec_context.time_base = Fraction(1, 72)
        if rotation:
            stream.set_display_rotation(rotation)
        for stamp, picture in zip(stamps, box_frames(len(stamps), (64, 96))):
            frame = av.VideoFrame.from_ndarray(picture, format="rgb24")
            frame.pts, frame.time_base, frame.duration = stamp, Fraction(1, 72), 3
            output.mux(stream.encode(frame))
        output.mux(stream.encode(None))
    return path


def decoded(path: Path) -> Iterator[tuple[float, Image]]:
    """Times and pictures in YUV."""
    with av.open(str(path)) as container:
        for frame in container.decode(video=0):
            assert frame.time is not None
            yield frame.time, np.asarray(frame.to_ndarray(), dtype=np.uint8)


def write_source(clip: Path, folder: Path, selection: Selection = WHOLE, stop_after: int | None = None) -> Path:
    """What is written as `_src.mp4`."""
    with closing(open_video(clip, selection)) as source:
        plan = OutputPlan(OutputOptions(folder, ("src",)), CameraOptions(), metric=False)
        outputs = plan.open(source)
        for index, frame in enumerate(source.timed()):
            if index == stop_after:
                break
            frame.depth = np.zeros(source.size, np.float32)
            outputs.write(frame)
        outputs.close(interrupted=stop_after is not None)
        return outputs.files()[0]


@pytest.mark.parametrize("stamps", [EVEN, UNEVEN])
@pytest.mark.parametrize("ending", ["mp4", "mkv"])
def test_kept_frames_are_copied(tmp_path: Path, stamps: list[int], ending: str) -> None:
    clip = make_clip(tmp_path / f"clip.{ending}", stamps)
    given, written = list(decoded(clip)), list(decoded(write_source(clip, tmp_path / "out")))
    assert len(written) == len(stamps)
    assert all(np.array_equal(one, other) for (_, one), (_, other) in zip(given, written))
    times = np.array([time for time, _ in written])
    assert times - times[0] == pytest.approx(np.array(stamps) / 72, abs=2e-3)


def test_the_video_that_was_read_is_copied_of_several(tmp_path: Path) -> None:
    path = tmp_path / "clip.mkv"
    small = ("-f", "lavfi", "-i", "color=red:s=32x32:d=0.5:r=24")
    streams = ("-map", "0:v", "-map", "1:v", "-c:v:0", "libx264", "-c:v:1", "copy", "-disposition:v:0", "0")
    run_ffmpeg(*small, "-i", make_clip(tmp_path / "clip.mp4", EVEN), *streams, path)
    given, written = list(decoded(tmp_path / "clip.mp4")), list(decoded(write_source(path, tmp_path / "out")))
    assert all(np.array_equal(one, other) for (_, one), (_, other) in zip(given, written, strict=True))


def test_a_run_cut_short_is_encoded(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")
    clip = make_clip(tmp_path / "clip.mp4", EVEN)
    written = list(decoded(write_source(clip, tmp_path / "out", stop_after=5)))
    assert len(written) == 5
    assert "its frames are encoded: not all" in caplog.text
    for (_, one), (time, other), stamp in zip(decoded(clip), written, EVEN):
        assert cv2.PSNR(one, other) > 36
        assert time == pytest.approx(stamp / 72, abs=1e-3)


CHANGED: dict[str, tuple[dict[str, Any], Selection]] = {
    "thinned": ({}, Selection(target_fps=Fraction(8))),
    "scaled": ({}, Selection(max_res=48)),
    "trimmed": ({}, Selection(start=0.2)),
    "first": ({}, Selection(max_len=8)),
    "turned": ({"rotation": 180}, Selection()),
    "interlaced": ({"tff": 1}, Selection()),
    "mpeg4": ({"codec": "mpeg4"}, Selection()),
}


@pytest.mark.parametrize("name", CHANGED)
def test_changed_frames_are_encoded(tmp_path: Path, caplog: pytest.LogCaptureFixture, name: str) -> None:
    caplog.set_level("INFO")
    options, selection = CHANGED[name]
    clip = make_clip(tmp_path / "clip.mp4", EVEN, **options)
    with closing(open_video(clip, selection)) as source:
        frames = list(source)
        assert not source.copyable
    written = write_source(clip, tmp_path / "out", selection)
    assert "copied" not in caplog.text
    with av.open(str(written)) as container:
        shown = [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]
    assert [picture.shape for picture in shown] == [frame.shape for frame in frames]
    assert min(cv2.PSNR(one, other) for one, other in zip(shown, frames)) > 30


def rgb_psnr(path: Path, frames: list[Image]) -> float:
    """Of a video against its frames."""
    with av.open(str(path)) as container:
        shown = [frame.to_ndarray(format="rgb24").astype(np.float32) for frame in container.decode(video=0)]
    return float(10 * np.log10(255**2 / np.mean([np.mean((a - b) ** 2) for a, b in zip(shown, frames)])))


@pytest.mark.parametrize("levels", [False, True])
def test_quality_is_that_of_the_slow_preset(tmp_path: Path, levels: bool) -> None:
    """At more bits, as frames are stored in the order of their times."""
    frames = box_frames(24, (240, 320))
    table = color_table("inferno")
    if levels:
        gray = [cv2.GaussianBlur(frame, (0, 0), 2)[..., 1] for frame in frames]
        frames = [table[one] for one in gray]
    writer = VideoWriter(tmp_path / "ours.mp4", (240, 320), Fraction(24), table=table if levels else None)
    for index, frame in enumerate(frames):
        writer.write(gray[index] if levels else frame)
    writer.close()
    with av.open(str(tmp_path / "slow.mp4"), "w") as output:
        stream = output.add_stream("libx264", rate=24, options={"crf": "18"})
        stream.width, stream.height, stream.pix_fmt = 320, 240, "yuv420p"
        for frame in frames:
            output.mux(stream.encode(av.VideoFrame.from_ndarray(frame, format="rgb24")))
        output.mux(stream.encode(None))
    ours, slow = (tmp_path / name for name in ("ours.mp4", "slow.mp4"))
    assert rgb_psnr(ours, frames) > rgb_psnr(slow, frames) - 0.1
    assert ours.stat().st_size < (1.75 if levels else 1.65) * slow.stat().st_size


@pytest.mark.parametrize("codec", ["no_such_encoder", "h264_nvenc"])
def test_an_encoder_that_is_not_there(tmp_path: Path, caplog: pytest.LogCaptureFixture, codec: str) -> None:
    frames = box_frames(3, (64, 96))
    writer = VideoWriter(tmp_path / "clip.mp4", (64, 96), Fraction(24), codec=codec)
    for frame in frames:
        writer.write(frame)
    writer.close()
    assert rgb_psnr(tmp_path / "clip.mp4", frames) > 30
    said = [record.getMessage() for record in caplog.records]
    assert said == [] or (len(said) == 1 and f"the encoder {codec} is not available" in said[0])
    assert codec == "h264_nvenc" or said


@pytest.mark.parametrize("codec", ["prores_ks", "dnxhd", "libvpx-vp9"])
def test_what_mp4_players_do_not_play_is_refused(tmp_path: Path, codec: str) -> None:
    with pytest.raises(OutputError, match=f"--codec {codec} writes .*; use an H.264 or HEVC encoder"):
        OutputPlan(OutputOptions(tmp_path, ("src",), codec=codec), CameraOptions(), metric=False)


def test_hevc_has_the_tag_that_all_players_take(tmp_path: Path) -> None:
    writer = VideoWriter(tmp_path / "a.mp4", (64, 96), Fraction(24), codec="libx265")
    for frame in box_frames(3, (64, 96)):
        writer.write(frame)
    writer.close()
    assert "hevc" in ffmpeg_header(tmp_path / "a.mp4")
    assert "(hvc1 / " in ffmpeg_header(tmp_path / "a.mp4")
    assert len(list(decoded(tmp_path / "a.mp4"))) == 3


def run_while(clip: Path, folder: Path, change: Callable[[Path], object]) -> tuple[int, list[str]]:
    """A run with a file to which something is done after four frames: of how many frames, and what it wrote."""
    with closing(open_video(clip)) as source:
        outputs = OutputPlan(OutputOptions(folder, ("src", "vis")), CameraOptions(), metric=False).open(source)
        count = 0
        for count, frame in enumerate(source.timed(), start=1):
            if count == 4:
                change(clip)
            frame.depth = np.zeros(source.size, np.float32)
            outputs.write(frame)
        outputs.close()
        return count, sorted(path.name for path in outputs.files())


def test_a_file_that_is_replaced_in_mid_run_is_read_to_its_end(tmp_path: Path) -> None:
    clip, other = make_clip(tmp_path / "clip.mp4", EVEN), make_clip(tmp_path / "other.mp4", EVEN[:5])
    right = [picture for _, picture in decoded(clip)]
    count, _ = run_while(clip, tmp_path, other.replace)
    assert count == len(EVEN)
    for (_, found), picture in zip(decoded(tmp_path / "clip_src.mp4"), right, strict=True):
        np.testing.assert_array_equal(found, picture)


@pytest.mark.parametrize("ending", ["mkv", "mp4"])
def test_a_file_that_grows_in_mid_run(tmp_path: Path, ending: str, caplog: pytest.LogCaptureFixture) -> None:
    def grow(path: Path) -> None:
        with path.open("ab") as file:
            file.write(bytes(100))

    clip = make_clip(tmp_path / f"clip.{ending}", EVEN)
    assert run_while(clip, tmp_path, grow) == (len(EVEN), ["clip_src.mp4", "clip_vis.mp4"])
    assert "changed while it was read" in caplog.text
    assert len(list(decoded(tmp_path / "clip_src.mp4"))) == len(EVEN)


@pytest.mark.parametrize("ending", ["mkv", "mp4"])
def test_a_file_that_is_cut_in_mid_run_costs_only_its_copy(
    tmp_path: Path, ending: str, caplog: pytest.LogCaptureFixture
) -> None:
    clip = make_clip(tmp_path / f"clip.{ending}", EVEN)
    count, files = run_while(clip, tmp_path, lambda path: os.truncate(path, 300))
    assert files == ["clip_vis.mp4"]
    assert "clip_src.mp4 is omitted: cannot read" in caplog.text
    assert len(list(decoded(tmp_path / "clip_vis.mp4"))) == count
