"""Files as cameras, broadcasters and phones make them, against what the ffmpeg program decodes."""

from __future__ import annotations

import logging
from contextlib import closing
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
from ffmpeg import decoded, run_ffmpeg

from video_depth_anything.errors import InputError
from video_depth_anything.video.containers import Limits
from video_depth_anything.video.source import open_video

MEDIA = Path(__file__).parent / "media"
STATUS = Path("/proc/self/statm")


def read(path: Path | str) -> npt.NDArray[np.uint8]:
    with closing(open_video(path)) as source:
        return np.stack(list(source))


def difference(found: npt.NDArray[np.uint8], right: npt.NDArray[np.uint8]) -> int:
    assert found.shape == right.shape
    return int(np.abs(found.astype(int) - right).max())


@pytest.mark.parametrize("path", sorted((MEDIA / "interlaced").iterdir()), ids=lambda path: path.name)
def test_interlaced_frames_are_deinterlaced_one_for_one(path: Path) -> None:
    found = read(path)
    assert len(found) == 13
    right = decoded(path, "bwdif=mode=send_frame:deint=interlaced")
    # The program's FFmpeg is a newer one: its bwdif begins otherwise, and it spreads the colours of 10 bits otherwise.
    assert np.abs(found.astype(int) - right).mean() < 3
    if path.name == "x264_10.mp4":
        weights = np.array([0.299, 0.587, 0.114])
        assert np.abs(found[1:] @ weights - right[1:] @ weights).mean() < 0.5
    else:
        assert difference(found[1:], right[1:]) <= 2
    assert found.std() > 40


def test_interlaced_video_beside_another_shows_its_own_picture(tmp_path: Path) -> None:
    """A refused conversion once left the last clip's picture."""
    red, blue = tmp_path / "red.mp4", tmp_path / "blue.mp4"
    run_ffmpeg("-f", "lavfi", "-i", "color=red:s=64x48:d=0.2", red)
    fields = ("-flags", "+ilme+ildct", "-x264opts", "tff=1")
    run_ffmpeg("-f", "lavfi", "-i", "color=blue:s=64x48:d=0.2", *fields, blue)
    assert read(red)[0, 24, 32, 0] > 200
    assert read(blue)[0, 24, 32].tolist()[2] > 200


@pytest.mark.parametrize("name", ["tag_colorspace_bt2020c", "tag_colorspace_smpte2085", "tag_colorspace_ycgco"])
def test_an_unusual_matrix_is_replaced_by_that_of_the_primaries(name: str, caplog: pytest.LogCaptureFixture) -> None:
    path = MEDIA / "colour" / f"{name}.mp4"
    assert difference(read(path), decoded(path, "setparams=colorspace=bt709")) <= 1
    assert caplog.text.count("its colour matrix is not supported; BT.709 is used") == 1


@pytest.mark.parametrize("name", ["bt601_tv_360p", "bt709_tv_360p", "bt709_pc", "bt709_444", "smpte240m"])
def test_matrices_and_ranges(name: str) -> None:
    path = MEDIA / "colour" / f"{name}.mp4"
    assert difference(read(path), decoded(path)) <= 1


def test_full_range_of_motion_jpeg() -> None:
    path = MEDIA / "colour" / "mjpeg_full.avi"
    assert difference(read(path), decoded(path)) <= 1


def test_an_unusual_transfer_is_left_alone() -> None:
    path = MEDIA / "colour" / "tag_trc_log316.mp4"
    assert difference(read(path), decoded(path, "setparams=color_trc=bt709")) <= 1


@pytest.mark.parametrize("path", sorted((MEDIA / "hdr").glob("[ph][ql]*")), ids=lambda path: path.name)
def test_hdr_with_full_and_partial_tags_is_tone_mapped(path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO):
        found = read(path)
    assert len(found) == 6
    assert "tone mapped" in caplog.text
    # Its white bars and its black ones are both there.
    assert found.max() > 230
    assert found.min() < 25


@pytest.mark.parametrize("name", ["sdr_title.mp4", "sdr_dm.mp4"])
def test_a_title_with_the_name_of_an_hdr_curve_makes_no_hdr(name: str) -> None:
    path = MEDIA / "hdr" / name
    assert difference(read(path), decoded(path)) <= 1


@pytest.mark.parametrize(("name", "width"), [("a.mp4", 228), ("b.vob", 228), ("hdv.ts", 192)])
def test_pixels_that_are_not_square_are_widened(name: str, width: int) -> None:
    path = MEDIA / "sar" / name
    source = open_video(path)
    found = np.stack(list(source))
    stored = decoded(path)
    assert source.source_size == (stored.shape[1], width)
    assert source.pixel_aspect == 1
    right = decoded(path, f"scale={width}:{stored.shape[1]}:flags=bicubic")
    # Brightness and colour of 4:2:0 are stretched one by one here and together there, which shows at hard edges alone.
    assert np.abs(found.astype(int) - right).mean() < 4


def roundness(picture: npt.NDArray[np.uint8]) -> float:
    """Width over height of what is bright, by its second moments."""
    rows, columns = np.nonzero(picture.mean(axis=2) > 128)
    return float(columns.std() / rows.std())


@pytest.mark.parametrize(
    ("aspect", "size", "ending", "codec"),
    [
        ("64/45", "96x96", "mp4", "libx264"),
        ("16/15", "96x96", "avi", "mpeg4"),
        ("8/9", "96x96", "mkv", "ffv1"),
        ("4/3", "96x96", "ts", "libx264"),
        ("1/2", "180x96", "mov", "prores_ks"),
        ("2/1", "48x96", "webm", "libvpx-vp9"),
    ],
)
@pytest.mark.parametrize("turned", [0, 90])
def test_a_circle_stays_a_circle(tmp_path: Path, aspect: str, size: str, ending: str, codec: str, turned: int) -> None:
    path = tmp_path / f"a.{ending}"
    circle = f"geq=lum='255*lt(hypot((X-W/2)*{aspect},Y-H/2),40)':cb=128:cr=128,setsar={aspect}"
    pixels = ("-pix_fmt", "yuv422p10" if codec == "prores_ks" else "yuv420p")
    run_ffmpeg("-f", "lavfi", "-i", f"color=black:s={size}:r=25:d=0.12,{circle}", *pixels, "-c:v", codec, path)
    if turned:
        stored, path = path, tmp_path / f"turned.{'mp4' if codec == 'libvpx-vp9' else 'mov'}"
        run_ffmpeg("-display_rotation", str(turned), "-i", stored, "-c:v", "copy", path)
    with closing(open_video(path)) as source:
        picture = next(iter(source))
    assert roundness(picture) == pytest.approx(1, abs=0.015)
    stored_rows, stored_columns = (96, int(size.partition("x")[0]))
    sides = sorted(picture.shape[:2])
    assert sides[0] >= min(stored_rows, stored_columns)
    assert sides[1] >= max(stored_rows, stored_columns)  # none is squeezed


def test_a_palette_is_no_unusual_matrix(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = tmp_path / "a.mkv"
    run_ffmpeg("-f", "lavfi", "-i", "testsrc=s=64x48:d=0.2", "-c:v", "png", "-pix_fmt", "pal8", path)
    assert difference(read(path), decoded(path)) <= 1
    assert caplog.text == ""


@pytest.mark.parametrize("name", ["cover_last.mp4", "cover_mkv.mkv"])
def test_a_cover_is_no_video(name: str) -> None:
    path = MEDIA / "containers" / name
    assert difference(read(path), decoded(path)) <= 1
    assert read(path).shape == (25, 64, 96, 3)


def test_a_cover_as_the_first_stream_is_no_video(tmp_path: Path) -> None:
    path, cover = tmp_path / "a.mp4", tmp_path / "cover.jpg"
    run_ffmpeg("-f", "lavfi", "-i", "color=red:s=300x300", "-frames:v", "1", cover)
    streams = ("-map", "0", "-map", "1:v", "-c", "copy", "-disposition:v:0", "attached_pic")
    run_ffmpeg("-i", cover, "-i", MEDIA / "containers" / "meta_audio.mp4", *streams, path)
    assert read(path).shape == (25, 64, 96, 3)


def test_sound_with_a_cover_is_sound_alone() -> None:
    with pytest.raises(InputError, match=r"song\.m4a: .* it has sound but no video stream"):
        open_video(MEDIA / "containers" / "song.m4a")


@pytest.mark.parametrize("name", ["long_audio_mkv.mkv", "long_audio_webm.webm", "long_audio_flv.flv", "x.flv"])
def test_longer_sound_is_nothing_to_complain_about(name: str, caplog: pytest.LogCaptureFixture) -> None:
    path = MEDIA / "containers" / name
    assert difference(read(path), decoded(path)) <= 1
    assert caplog.text == ""


@pytest.mark.parametrize(("name", "said"), [("cutstart.ts", ""), ("res.ts", "joined"), ("z_c.mkv", "damaged")])
def test_damaged_files_give_what_ffmpeg_decodes(name: str, said: str, caplog: pytest.LogCaptureFixture) -> None:
    path = MEDIA / "damage" / name
    found, right = read(path), decoded(path, "scale=192:108")
    assert len(found) == len(right)
    assert np.abs(found.astype(int) - right).mean() < 3
    assert said in caplog.text
    assert bool(said) == bool(caplog.text)


@pytest.mark.parametrize("share", [0.3, 0.5, 0.8])
def test_a_file_cut_off_keeps_its_last_frames(tmp_path: Path, share: float, caplog: pytest.LogCaptureFixture) -> None:
    """With several decoding threads, those on their way when the broken packet came were once lost."""
    path = tmp_path / "a.mp4"
    run_ffmpeg("-f", "lavfi", "-i", "testsrc2=s=192x108:d=2", "-movflags", "+faststart", path)
    path.write_bytes(path.read_bytes()[: int(path.stat().st_size * share)])
    found, right = read(path), decoded(path)
    assert len(found) == len(right)
    assert difference(found, right) <= 1
    assert "but its header says 50: it is truncated or damaged" in caplog.text


def test_raw_dv_has_the_rate_of_its_system(tmp_path: Path) -> None:
    path = tmp_path / "a.dv"
    run_ffmpeg("-f", "lavfi", "-i", "testsrc2=s=720x576:d=0.2:r=25", "-target", "pal-dv", path)
    source = open_video(path)
    assert (source.fps, source.expected, len(list(source))) == (25, 5, 5)
    assert source.source_size == (576, 768)


def test_frames_too_large_are_refused_before_decoding() -> None:
    path = MEDIA / "hdr" / "sdr_dm.mp4"
    with pytest.raises(InputError, match=r"has frames of 192x108 pixels; the limit is 0\.01 million pixels"):
        open_video(path, limits=Limits(max_pixels=10_000))


@pytest.mark.skipif(not STATUS.exists(), reason="this system does not tell memory there")
def test_memory_does_not_grow_with_the_video(tmp_path: Path) -> None:
    path = tmp_path / "a.mp4"
    run_ffmpeg("-f", "lavfi", "-i", "testsrc2=s=480x270:d=80:r=25", "-preset", "ultrafast", path)
    pages: list[int] = []
    with closing(open_video(path)) as source:
        for count, _ in enumerate(source):
            if count in (300, 1999):
                pages.append(int(STATUS.read_text().split()[1]))
    assert (pages[1] - pages[0]) * 4096 < 20e6
