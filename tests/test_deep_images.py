"""Images of more than 8 bits a channel in every layout, against the picture that they were made of."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
import pytest
from ffmpeg import decoded, run_ffmpeg
from PIL import Image
from PIL.TiffImagePlugin import ImageFileDirectory_v2
from recipes import synthetic_frames
from test_images import frames_of, srgb

from video_depth_anything.errors import InputError

FRAME = synthetic_frames(1, 24, 36, seed=0)[0]
DEEP = FRAME.astype(np.uint16) * 257


def picture(path: Path, **options: Any) -> npt.NDArray[np.int64]:
    (frame,) = frames_of(path, **options)
    return frame.image.astype(int)


def write_tiff(path: Path, planes: npt.NDArray[Any], photometric: int) -> None:
    """A TIFF whose channels (C, H, W) lie one after the other."""
    count, height, width = planes.shape
    tags = ImageFileDirectory_v2()
    tags[256], tags[257], tags[262], tags[277], tags[278] = width, height, photometric, count, height
    tags[284] = 2 if count > 1 else 1
    tags[258] = (planes.itemsize * 8,) * count
    tags[339] = (3 if planes.dtype.kind == "f" else 1,) * count
    size = planes[0].nbytes
    tags[279] = (size,) * count
    tags[273] = tuple(index * size for index in range(count))  # from the header's end on
    path.write_bytes(b"II*\0\x08\0\0\0" + tags.tobytes(8) + planes.tobytes())


@pytest.mark.parametrize("kind", ["uint16", "float32"])
def test_tiff_whose_channels_lie_apart(tmp_path: Path, kind: str) -> None:
    values = DEEP if kind == "uint16" else (FRAME / 255).astype(np.float32)
    write_tiff(tmp_path / "a.tif", np.ascontiguousarray(values.transpose(2, 0, 1)), photometric=2)
    assert np.abs(picture(tmp_path / "a.tif") - FRAME).max() <= 1


def test_tiff_whose_zero_is_white(tmp_path: Path) -> None:
    write_tiff(tmp_path / "a.tif", 65535 - DEEP[None, ..., 0], photometric=0)
    np.testing.assert_array_equal(picture(tmp_path / "a.tif")[..., 1], FRAME[..., 0])


def test_deep_tiff_that_nobody_reads_is_refused(tmp_path: Path) -> None:
    write_tiff(tmp_path / "inks.tif", np.zeros((4, 8, 8), np.uint16), photometric=5)
    with pytest.raises(InputError, match=r"inks\.tif: not an image, or damaged: its colours are not RGB"):
        picture(tmp_path / "inks.tif")
    write_tiff(tmp_path / "half.tif", np.zeros((3, 8, 8), np.float16), photometric=2)
    with pytest.raises(InputError, match=r"half\.tif: .* 16-bit floats; save it with 32 bits, or as EXR"):
        picture(tmp_path / "half.tif")


@pytest.mark.parametrize("bits", [12, 16])
def test_deep_jpeg_2000(tmp_path: Path, bits: int) -> None:
    plain, deep = tmp_path / "a.png", tmp_path / "a.jp2"
    cv2.imwrite(str(plain), DEEP[..., ::-1])
    pixels = "rgb48le" if bits == 16 else "gbrp12le"
    run_ffmpeg("-i", plain, "-c:v", "libopenjpeg", "-numresolution", "3", "-pix_fmt", pixels, deep)
    assert np.abs(picture(deep) - FRAME).max() <= 1


def test_gray_of_a_camera_of_10_bits(tmp_path: Path) -> None:
    gray = (FRAME[..., 0].astype(np.uint32) * 1023 // 255).astype(">u2")
    (tmp_path / "a.pgm").write_bytes(b"P5 36 24 1023\n" + gray.tobytes())
    assert np.abs(picture(tmp_path / "a.pgm")[..., 2] - FRAME[..., 0]).max() <= 1


def test_floats_of_radiance_and_of_portable_maps(tmp_path: Path) -> None:
    values = (FRAME / 255).astype(np.float32)
    for name in ("a.hdr", "a.pfm"):
        assert cv2.imwrite(str(tmp_path / name), values[..., ::-1])
    # Radiance shares one exponent of all three colours, which leaves 8 bits to the largest.
    assert np.abs(picture(tmp_path / "a.hdr") - srgb(values.astype(float)))[FRAME.min(axis=2) > 40].max() <= 3
    assert np.abs(picture(tmp_path / "a.hdr", colorspace="srgb") - FRAME).max() <= 2
    assert np.abs(picture(tmp_path / "a.pfm") - FRAME).max() <= 1


def test_animations_of_16_bits_give_all_their_frames(tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    run_ffmpeg("-f", "lavfi", "-i", "testsrc2=s=96x64:d=0.2:r=25,format=rgb48be", "-f", "apng", path)
    found = np.stack([frame.image for frame in frames_of(path)])
    right = decoded(path)
    assert len(found) == 5
    assert np.abs(found.astype(int) - right).max() <= 1


def test_what_numbers_mean_counts_for_every_frame_of_an_animation(tmp_path: Path) -> None:
    levels = [0, 60, 200]
    first, *others = (Image.new("RGB", (8, 8), (level,) * 3) for level in levels)
    first.save(tmp_path / "a.png", save_all=True, append_images=others, duration=40)
    found = [int(frame.image[4, 4, 0]) for frame in frames_of(tmp_path / "a.png", colorspace="linear")]
    assert found == np.rint(srgb(np.array(levels) / 255)).tolist()
