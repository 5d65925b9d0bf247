"""Both eyes' views against a loop over pixels and arithmetic, and their files as ffmpeg reads them."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from conftest import MakeVideo
from ffmpeg import ffmpeg_header, run_ffmpeg, sound_of

from video_depth_anything.outputs.base import RunInfo
from video_depth_anything.outputs.options import CameraOptions, OutputOptions
from video_depth_anything.outputs.plan import OutputPlan
from video_depth_anything.outputs.stereo import EyeViews, StereoVideo, disparity_of
from video_depth_anything.video.frame import Frame
from video_depth_anything.video.source import open_video

H, W = 24, 120
RNG = np.random.default_rng(0)
TEXTURE = RNG.integers(0, 256, (H, W, 3)).astype(np.uint8)
NEAR = slice(40, 70)
Pixels = npt.NDArray[np.uint8]


def planes() -> npt.NDArray[np.float32]:
    """Something near, before what is far."""
    disparity = np.zeros((H, W), np.float32)
    disparity[:, NEAR] = 1
    return disparity


def views(image: Pixels, disparity: npt.NDArray[np.float32], pixels: float, plane: float = 0.5) -> tuple[Pixels, ...]:
    """With so many pixels of parallax."""
    return seen(EyeViews(image.shape[:2], disparity.shape, pixels / image.shape[1], plane), image, disparity)


def seen(eyes: EyeViews, image: Pixels, disparity: npt.NDArray[np.float32]) -> tuple[Pixels, ...]:
    """The left and the right view."""
    left, right = np.empty((2, *disparity.shape, 3), np.uint8)
    eyes(image, disparity, (left, right))
    return left, right


def coordinates(height: int = H, width: int = 250) -> Pixels:
    """An image whose values are its columns."""
    return np.broadcast_to(np.arange(width, dtype=np.uint8)[None, :, None], (height, width, 3)).copy()


@pytest.mark.parametrize(("pixels", "plane"), [(16, 0.5), (8, 0.0), (8, 1.0)])
def test_two_planes_are_shifted_exactly_and_the_hole_shows_the_far_one(pixels: int, plane: float) -> None:
    near, far = round(pixels / 2 * (1 - plane)), round(-pixels / 2 * plane)
    expected = np.zeros((H, W, 3), np.uint8)
    begin, end = NEAR.start - 1, NEAR.stop + 1  # what is in front is a pixel wider on either side
    for x in range(W):
        if not begin <= x < end and 0 <= x + far < W:
            expected[:, x + far] = TEXTURE[:, x]
    expected[:, begin + far : begin + near] = TEXTURE[:, begin - 1 : begin]  # as wide as the difference
    for x in range(begin, end):
        expected[:, x + near] = TEXTURE[:, x]
    inside = slice(max(far, 0), W + min(far, 0))
    left, right = views(TEXTURE, planes(), pixels, plane)
    np.testing.assert_array_equal(left[:, inside], expected[:, inside])
    mirrored, _ = views(TEXTURE[:, ::-1].copy(), planes()[:, ::-1].copy(), pixels, plane)
    np.testing.assert_array_equal(right, mirrored[:, ::-1])


def test_something_thin_in_front_covers_what_is_far_and_no_more() -> None:
    """Farther apart from the background than it is wide, so the order of pixels changes."""
    disparity = np.zeros((H, W), np.float32)
    disparity[:, 60:62] = 1
    left, _ = views(TEXTURE, disparity, 40, 0.0)
    np.testing.assert_array_equal(left[:, 79:83], TEXTURE[:, 59:63])
    np.testing.assert_array_equal(left[:, 63:79], TEXTURE[:, 63:79])
    np.testing.assert_array_equal(left[:, 59:63], np.repeat(TEXTURE[:, 58:59], 4, axis=1))


def test_slanted_planes_stay_straight() -> None:
    rows = np.repeat(np.linspace(0, 1, H, dtype=np.float32)[:, None], 250, axis=1)
    left, right = (view[..., 0].astype(float) for view in views(coordinates(), rows, 10))
    shift = 5 * (np.linspace(0, 1, H) - 0.5)
    inside = slice(10, 240)
    expected = np.arange(250)[None] - shift[:, None]
    assert np.abs(left - expected)[:, inside].max() <= 0.55  # half of it by rounding to levels of gray
    assert np.abs(right + left - 2 * np.arange(250))[:, inside].max() <= 1
    columns = np.repeat(np.linspace(0, 1, 250, dtype=np.float32)[None], H, axis=0)
    left = views(coordinates(), columns, 20)[0][..., 0].astype(float)
    x = np.arange(250)
    origin = np.interp(x, x + 10 * (np.linspace(0, 1, 250) - 0.5), x)
    assert np.abs(left - origin)[:, inside].max() <= 1.05
    assert (np.diff(left[:, inside], axis=1) >= 0).all()


def test_parallax_is_never_above_the_limit() -> None:
    disparity = RNG.random((H, 250)).astype(np.float32).repeat(5, axis=1)[:, :250] * 3 - 1  # beyond both ends too
    disparity[3, 7] = np.nan
    for view in views(coordinates(), disparity, 12, 0.5):
        found = view[:, 20:230, 0].astype(float) - np.arange(20, 230)
        # Holes repeat a pixel of the far side, which is as far away as they are wide.
        assert np.abs(found).max() <= 3 + 6 + 1
    flat = np.full((H, 250), 2, np.float32)
    left, right = (view[:, 20:230, 0].astype(float) - np.arange(20, 230) for view in views(coordinates(), flat, 12))
    assert (left == -3).all()
    assert (right == 3).all()


def test_a_picture_that_stands_still_does_not_flicker() -> None:
    eyes = EyeViews((H, W), (H, W // 2), 0.05, 0.5)
    disparity = RNG.random((H, W // 2)).astype(np.float32)
    first = seen(eyes, TEXTURE, disparity)
    seen(eyes, TEXTURE[::-1].copy(), 1 - disparity)
    for one, other in zip(first, seen(eyes, TEXTURE, disparity)):
        np.testing.assert_array_equal(one, other)


def test_squeezed_views_are_means_of_two_columns() -> None:
    eyes = EyeViews((H, W), (H, W // 2), 0.0, 0.5)
    squeezed = TEXTURE.reshape(H, W // 2, 2, 3).astype(float).mean(axis=2)
    for view in seen(eyes, TEXTURE, np.zeros((H, W // 2), np.float32)):
        assert np.abs(view - squeezed).max() <= 0.51


def test_disparity_of_metres() -> None:
    depth = np.array([[1.0, 2.0, 4.0, 0.5, np.nan]], np.float32)
    found = disparity_of(depth, "depth_metres", (1.0, 4.0))
    np.testing.assert_allclose(found[0, :4], (1, 1 / 3, 0, 1), atol=1e-6)
    np.testing.assert_allclose(disparity_of(depth, "disparity", (1.0, 4.0))[0, :4], (0, 1 / 3, 1, -1 / 6), atol=1e-6)


@pytest.mark.parametrize(
    ("layout", "name", "size", "words"),
    [
        ("half", "clip_sbs_LR.mp4", "64x48", "Stereo 3D: side by side"),
        ("full", "clip_sbs_LR.mp4", "128x48", "Stereo 3D: side by side"),
        ("tab", "clip_sbs_TB.mp4", "64x48", "Stereo 3D: top and bottom"),
        ("anaglyph", "clip_sbs_anaglyph.mp4", "64x48", ""),
    ],
)
def test_files(make_video: MakeVideo, tmp_path: Path, layout: Any, name: str, size: str, words: str) -> None:
    source = open_video(make_video("clip.mp4", count=6))
    options = OutputOptions(tmp_path, ("sbs",), stereo=layout, stereo_depth=10.0)
    with OutputPlan(options, CameraOptions(), False).open(source) as outputs:
        for index, frame in enumerate(source.timed()):
            frame.depth = np.full(source.size, index, np.float32)
            outputs.write(frame)
        outputs.close()
    header = ffmpeg_header(tmp_path / name)
    assert size in header
    assert words in header
    assert ("Stereo" in header) == bool(words)
    assert len(list(open_video(tmp_path / name))) == 6  # the data is where the index says


def test_sound_is_that_of_the_source(tmp_path: Path) -> None:
    """The box that is added moves the places of both streams."""
    clip = tmp_path / "clip.mp4"
    run_ffmpeg("-f", "lavfi", "-i", "testsrc=s=64x48:r=25:d=2", "-f", "lavfi", "-i", "sine=d=2", "-c:a", "aac", clip)
    options = OutputOptions(tmp_path / "out", ("src", "sbs"), keep_audio=True)
    source = open_video(clip)
    with OutputPlan(options, CameraOptions(), False).open(source) as outputs:
        for frame in source.timed():
            frame.depth = np.full(source.size, 1, np.float32)
            outputs.write(frame)
        outputs.close()
    heard = sound_of(tmp_path / "out" / "clip_sbs_LR.mp4")
    assert np.abs(heard).max() > 0.05
    np.testing.assert_array_equal(heard, sound_of(tmp_path / "out" / "clip_src.mp4"))


def test_an_anaglyph_has_the_left_view_in_red(tmp_path: Path) -> None:
    """And a running range, as of a live source."""
    run = RunInfo(tmp_path, "clip", "clip.mp4", "disparity", (48, 96), (48, 96), Fraction(24), ends=(0.0, 1.0))
    options = OutputOptions(stereo="anaglyph", stereo_depth=20.0, stereo_plane=0.0)
    image = np.zeros((48, 96, 3), np.uint8)
    image[:, 44:52] = 255
    video = StereoVideo(RunInfo(**{**vars(run), "options": options}))
    video.write(Frame(image, 0.0, 1 / 24, depth=np.ones((48, 96), np.float32)))
    video.close()
    picture = next(iter(open_video(tmp_path / "clip_sbs_anaglyph.mp4"))).astype(int)
    right_of_it, left_of_it = picture[24, 55], picture[24, 40]
    assert right_of_it[0] > right_of_it[1] + 50
    assert left_of_it[1] > left_of_it[0] + 50
