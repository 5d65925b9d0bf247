"""Images as people have them: odd delays, numbers, HDR, windows, sizes that a header only claims."""

from __future__ import annotations

import logging
from pathlib import Path

import cv2
import numpy as np
import OpenEXR
import pytest
from PIL import Image

from video_depth_anything.errors import InputError
from video_depth_anything.video.frame import Frame
from video_depth_anything.video.inputs import expand_inputs
from video_depth_anything.video.options import USUAL_LIMITS, Limits, Selection

MEDIA = Path(__file__).parent / "media"


def read(argument: str | Path, limits: Limits = USUAL_LIMITS) -> list[Frame]:
    return list(expand_inputs([str(argument)])[0].open(Selection(), limits).timed())


@pytest.mark.parametrize("ending", ["webp", "png"])
def test_delays_of_animations_are_those_that_browsers_show(tmp_path: Path, ending: str) -> None:
    """A delay of up to 10 ms is taken for a mistake and shown as 100 ms."""
    path = tmp_path / f"a.{ending}"
    pictures = [Image.fromarray(np.full((16, 16, 3), 20 * index, np.uint8)) for index in range(6)]
    delays = [40, 0, 1000, 10, 20, 40]
    pictures[0].save(path, save_all=True, append_images=pictures[1:], duration=delays)
    frames = read(path)
    shown = [0.04, 0.1, 1.0, 0.1, 0.02, 0.04]
    np.testing.assert_allclose([frame.time for frame in frames], np.cumsum([0, *shown[:-1]]), atol=1e-6)
    np.testing.assert_allclose([frame.duration for frame in frames], shown, atol=1e-6)


def test_numbers_of_ten_digits_and_their_gap(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    for number in (173, 174, 181, 182):
        Image.new("RGB", (8, 8)).save(tmp_path / f"{number:010d}.png")
    assert [frame.number for frame in read(tmp_path)] == [173, 174, 181, 182]
    assert "skip the numbers 175 to 180" in caplog.text


@pytest.mark.parametrize("pattern", ["plate.####.png", "plate.@@@@.png", "plate.%04d.png"])
def test_patterns_of_studios(tmp_path: Path, pattern: str) -> None:
    for name in ("plate.1001", "plate.1002", "plate.99", "other.1001"):
        Image.new("RGB", (8, 8)).save(tmp_path / f"{name}.png")
    assert [frame.number for frame in read(tmp_path / pattern)] == [1001, 1002]


def test_addresses_and_homes_of_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "a b.png"
    Image.new("RGB", (8, 8)).save(path)
    monkeypatch.setenv("HOME", str(tmp_path))
    for argument in (path.as_uri(), "~/a b.png"):
        (found,) = expand_inputs([argument])
        assert (found.name, Path(found.location)) == ("a b", path)


def test_hdr_images_are_tone_mapped_as_videos_are() -> None:
    """The same ramp in PQ."""
    image, video = (read(MEDIA / "hdr" / f"ramp.{ending}")[0].image.astype(int) for ending in ("avif", "mp4"))
    assert np.ptp(video) > 200
    assert np.abs(image - video).max() <= 2


def write_exr(path: Path, display: tuple[int, int], data: tuple[int, int, int, int]) -> None:
    left, top, width, height = data
    header = {
        "displayWindow": ((0, 0), (display[0] - 1, display[1] - 1)),
        "dataWindow": ((left, top), (left + width - 1, top + height - 1)),
    }
    pixels = np.full((height, width, 3), 0.5, np.float32)
    with OpenEXR.File(header, {"RGB": OpenEXR.Channel(pixels)}) as file:
        file.write(str(path))


def test_what_lies_outside_the_display_window_is_left_out_with_a_line(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    for number in (1, 2):
        write_exr(tmp_path / f"over.{number}.exr", (32, 24), (-4, -4, 40, 32))
    frames = read(tmp_path / "over.%d.exr")
    assert [frame.image.shape for frame in frames] == [(24, 32, 3)] * 2
    assert caplog.text.count("pixels outside its display window (32x24) are ignored") == 1
    caplog.clear()
    write_exr(tmp_path / "under.exr", (32, 24), (4, 4, 8, 8))
    assert read(tmp_path / "under.exr")[0].image[0, 0].max() == 0
    assert "window" not in caplog.text


def test_sizes_are_refused_before_anything_is_decoded(tmp_path: Path) -> None:
    """Every file but the first claims far more than it holds."""
    few = Limits(max_pixels=10_000)
    write_exr(tmp_path / "a.exr", (16, 16), (0, 0, 200, 200))
    (tmp_path / "b.hdr").write_bytes(b"#?RADIANCE\nFORMAT=32-bit_rle_rgbe\n\n-Y 10000 +X 15000\n")
    (tmp_path / "c.pfm").write_bytes(b"PF\n15000 10000\n-1.0\n")
    for name in ("a.exr", "b.hdr", "c.pfm"):
        with pytest.raises(InputError, match="see --max_pixels"):
            read(tmp_path / name, few)


def test_pages_of_a_deep_tiff_are_read_one_by_one(tmp_path: Path) -> None:
    pages = [np.full((8, 12), 9000 * index, np.uint16) for index in range(5)]
    cv2.imwritemulti(str(tmp_path / "a.tiff"), pages)
    frames = read(tmp_path / "a.tiff")
    assert [int(frame.image.mean()) for frame in frames] == [round(9000 * index / 257) for index in range(5)]
