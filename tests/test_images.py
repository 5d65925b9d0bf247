"""Image sequences and animations: the right pictures, in order, with their numbers."""

from __future__ import annotations

import logging
import os
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import OpenEXR
import pytest
from PIL import Image
from recipes import synthetic_frames

from video_depth_anything.errors import InputError
from video_depth_anything.video.colorspaces import displayed
from video_depth_anything.video.containers import Limits
from video_depth_anything.video.frame import Frame
from video_depth_anything.video.inputs import Input, expand_inputs
from video_depth_anything.video.source import Selection, open_video

IMAGES = Path(__file__).parent / "media" / "images"
FRAME = synthetic_frames(1, 24, 36, seed=0)[0]


def only(*arguments: str | Path) -> Input:
    (one,) = expand_inputs(map(str, arguments))
    return one


def frames_of(*arguments: str | Path, **options: Any) -> list[Frame]:
    return list(only(*arguments).open(Selection(**options)).timed())


def right(index: int = 0) -> npt.NDArray[np.uint8]:
    """The picture that all of the test images show, as Pillow reads it."""
    with Image.open(sorted((IMAGES / "gap").iterdir())[index]) as image:
        return np.asarray(image.convert("RGB"))


@pytest.mark.parametrize(("kind", "most"), [("exr", 0), ("dpx", 1), ("jp2", 2), ("tga", 0), ("tiff32", 0)])
def test_a_folder_of_plates_is_one_sequence(kind: str, most: int) -> None:
    frames = frames_of(IMAGES / kind)
    assert [frame.number for frame in frames] == [1001, 1002, 1003, 1004, 1005]
    np.testing.assert_allclose([frame.time for frame in frames], np.arange(5) / 24)
    for index, frame in enumerate(frames):
        assert np.abs(frame.image.astype(int) - right(index)).max() <= most


def test_avif_plates() -> None:
    frames = frames_of(IMAGES / "avif")
    assert [frame.number for frame in frames] == [1001, 1002, 1003, 1004, 1005]
    with Image.open(IMAGES / "avif" / "plate.1001.avif") as image:
        np.testing.assert_array_equal(frames[0].image, np.asarray(image.convert("RGB")))


def test_gaps_are_said_and_numbers_kept(caplog: pytest.LogCaptureFixture) -> None:
    frames = frames_of(IMAGES / "gap", image_fps=10.0)
    assert [frame.number for frame in frames] == [1001, 1002, 1003, 1104, 1105]
    np.testing.assert_allclose([frame.time for frame in frames], np.arange(5) / 10)
    assert "skip the numbers 1004 to 1103" in caplog.text


@pytest.mark.parametrize("name", ["anim.webp", "anim.png", "anim.gif", "multi.tiff"])
def test_animations_give_all_their_frames(name: str) -> None:
    source = only(IMAGES / name).open(Selection())
    frames = list(source.timed())
    assert (len(frames), source.expected) == (5, 5)
    assert source.fps == (24 if name == "multi.tiff" else 10)
    if name != "anim.gif":  # a palette of 256
        for index, frame in enumerate(frames):
            np.testing.assert_array_equal(frame.image, right(index))


def test_animated_avif() -> None:
    path = IMAGES.parent / "formats" / "anim.avif"
    assert len(frames_of(path)) == 13
    assert len(list(open_video(path))) == 13


def test_a_damaged_image_ends_the_sequence(caplog: pytest.LogCaptureFixture) -> None:
    frames = frames_of(IMAGES / "bad")
    assert [frame.number for frame in frames] == [1001, 1002, 1003, 1004]
    assert "cannot read the image" in caplog.text
    assert "p_1005.png" in caplog.text


def test_patterns_with_numbers_and_brackets(tmp_path: Path) -> None:
    folder = tmp_path / "seq [v2]"
    shutil.copytree(IMAGES / "gap", folder)
    (folder / "p_99.png").write_bytes((folder / "p_1001.png").read_bytes())
    for pattern in ("p_1*.png", "p_%04d.png", "p_1???.png", "p_1[01]*.png"):
        one = only(folder / pattern)
        assert [path.name for path in one.images][::4] == ["p_1001.png", "p_1105.png"], pattern
        assert one.name == "p"
    assert len(only(folder).images) == 6
    with pytest.raises(InputError, match="no file matches"):
        expand_inputs([str(folder / "q_%04d.png")])


def test_two_sequences_in_a_folder_are_told(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    for name in ("50%_1", "50%_2", "right_1", "right_2"):
        Image.fromarray(FRAME).save(tmp_path / f"{name}.png")
    assert len(frames_of(tmp_path)) == 4
    assert "not one numbered sequence; all are read as one video" in caplog.text
    caplog.clear()
    assert [frame.number for frame in frames_of(tmp_path / "50%_%d.png")] == [1, 2]
    assert caplog.text == ""


def test_numbered_images_named_one_by_one_are_one_input(caplog: pytest.LogCaptureFixture) -> None:
    paths = sorted((IMAGES / "gap").iterdir())
    with caplog.at_level(logging.INFO):
        one = only(*paths)
    assert len(one.images) == 5
    assert "5 numbered images" in caplog.text
    assert len(expand_inputs([str(paths[0]), str(IMAGES / "anim.webp"), str(paths[1])])) == 3


def test_a_single_numbered_image_keeps_its_number() -> None:
    assert frames_of(IMAGES / "exr" / "plate.1003.exr")[0].number == 1003


def write_exr(path: Path, channels: dict[str, npt.NDArray[Any]], **header: Any) -> None:
    OpenEXR.File({"compression": OpenEXR.ZIP_COMPRESSION, "type": OpenEXR.scanlineimage, **header}, channels).write(
        str(path)
    )


def srgb(linear: npt.NDArray[Any]) -> npt.NDArray[Any]:
    return np.where(linear <= 0.0031308, linear * 12.92, 1.055 * linear ** (1 / 2.4) - 0.055) * 255


@pytest.mark.parametrize("layer", ["", "beauty.", "view.rgba."])
@pytest.mark.parametrize("dtype", [np.float16, np.float32])
def test_exr_of_many_channels(tmp_path: Path, layer: str, dtype: type) -> None:
    """Half and float, in layers beside others; beyond white is white, what is no number is black."""
    path = tmp_path / "a.1001.exr"
    linear: npt.NDArray[Any] = np.random.default_rng(0).random((16, 20, 3)).astype(dtype)
    linear[0, 0], linear[0, 1] = 7, np.nan
    planes = {f"{layer}{name}": np.ascontiguousarray(linear[..., i]) for i, name in enumerate("RGB")}
    planes |= {"depth.Z": np.full((16, 20), 5, np.float32), "normal.X": np.zeros((16, 20), np.float32)}
    write_exr(path, planes)
    (frame,) = frames_of(path)
    assert frame.image[0, 0].tolist() == [255] * 3
    assert frame.image[0, 1].tolist() == [0] * 3
    expected = srgb(linear.astype(np.float64))
    assert np.abs(frame.image.astype(float) - expected)[1:].max() <= 0.51


def test_exr_of_gray_and_of_pixels_that_are_not_square(tmp_path: Path) -> None:
    path = tmp_path / "a.exr"
    write_exr(path, {"Y": np.full((10, 12), 0.5, np.float32)}, pixelAspectRatio=2.0)
    (frame,) = frames_of(path)
    assert frame.image.shape == (10, 24, 3)
    assert np.unique(frame.image).tolist() == [188]
    write_exr(path, {"left": np.zeros((4, 4), np.float32), "right": np.zeros((4, 4), np.float32)})
    with pytest.raises(InputError, match="it has no channels R, G, B or Y, only left, right"):
        frames_of(path)


def test_what_numbers_mean_can_be_said(tmp_path: Path) -> None:
    path = tmp_path / "a.exr"
    values = np.array([[0.0, 0.18, 0.5, 1.0]], np.float32)
    write_exr(path, dict.fromkeys("RGB", values))
    assert frames_of(path, colorspace="srgb")[0].image[0, :, 0].tolist() == [0, 46, 128, 255]
    np.testing.assert_allclose(frames_of(path)[0].image[0, :, 0], srgb(values[0].astype(float)), atol=0.51)
    # Cineon: code 685 of 1023 is white and 95 is black; 445 is gray of 10**-0.8, of which black's 10**-1.967 is taken.
    log = displayed(np.array([95, 445, 685]) / 1023, "log")
    assert log.tolist() == [0, 108, 255]
    assert displayed(np.array([0.0, 0.5, 1.0]), "rec709").tolist() == [0, 139, 255]


def test_16_bits_and_gray_floats(tmp_path: Path) -> None:
    import cv2

    deep = FRAME.astype(np.uint16) * 257
    for name in ("a.png", "a.tif"):
        assert cv2.imwrite(str(tmp_path / name), deep[..., ::-1])
        np.testing.assert_array_equal(frames_of(tmp_path / name)[0].image, FRAME)
    Image.fromarray(FRAME[..., 0].astype(np.float32) / 255).save(tmp_path / "gray.tif")
    np.testing.assert_array_equal(frames_of(tmp_path / "gray.tif")[0].image[..., 1], FRAME[..., 0])


def test_a_camera_s_turn_is_undone(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(FRAME).save(tmp_path / "a.png", exif=exif)
    np.testing.assert_array_equal(frames_of(tmp_path / "a.png")[0].image, np.rot90(FRAME, -1))


def test_a_log_plate_says_so_in_its_header(tmp_path: Path) -> None:
    data = bytearray((IMAGES / "dpx" / "plate.1001.dpx").read_bytes())
    data[801] = 3
    (tmp_path / "a.dpx").write_bytes(data)
    log, plain = frames_of(tmp_path / "a.dpx")[0].image, frames_of(IMAGES / "dpx")[0].image
    assert np.abs(log.astype(int) - displayed(plain / 255, "log")).max() <= 3
    assert np.abs(log.astype(int) - plain).max() > 20


def test_images_too_large_are_refused() -> None:
    with pytest.raises(InputError, match=r"it has 96x64 pixels; 0\.001 million are allowed"):
        only(IMAGES / "gap").open(Selection(), limits=Limits(max_pixels=1000))


@pytest.mark.skipif(os.name != "posix", reason="other systems have no such names")
@pytest.mark.parametrize("ending", ["exr", "png", "dpx"])
def test_names_that_are_no_unicode(tmp_path: Path, ending: str) -> None:
    folder = tmp_path / os.fsdecode(b"caf\xe9")
    folder.mkdir()
    source = {"exr": IMAGES / "exr" / "plate.1001.exr", "dpx": IMAGES / "dpx" / "plate.1001.dpx"}
    shutil.copy(source.get(ending, IMAGES / "gap" / "p_1001.png"), folder / f"p.1001.{ending}")
    one = only(folder)
    assert one.name == "café"
    assert len(list(one.open(Selection()))) == 1
