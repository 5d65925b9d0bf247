"""`--fast`: depth of a smaller input, with the edges of the frame."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt
from conftest import MakeVideo
from recipes import synthetic_frames
from test_run import SMALL, run

import video_depth_anything as vda
from video_depth_anything.pipelines.sharpening import sharpen
from video_depth_anything.video_depth import VideoDepthAnything

Map = npt.NDArray[np.float64]


def windows_mean(x: Map) -> Map:
    """Means of 5 x 5 pixels; the border mirrors, its own pixels included."""
    padded = np.pad(x, 2, mode="symmetric")
    return np.lib.stride_tricks.sliding_window_view(padded, (5, 5)).mean((2, 3))


def test_it_is_the_fast_guided_filter() -> None:
    """Four pixels to one, so that area means are means of blocks; bilinear sampling between their centres."""
    rng = np.random.default_rng(0)
    image = rng.integers(0, 256, (112, 168, 3), dtype=np.uint8)
    depth = rng.random((112, 168), dtype=np.float32)
    guide = np.rint(image @ (0.299, 0.587, 0.114)) / 255
    low_guide, low_depth = (x.reshape(56, 2, 84, 2).mean((1, 3)) for x in (guide, depth.astype(np.float64)))
    mean_g, mean_d = windows_mean(low_guide), windows_mean(low_depth)
    slope = (windows_mean(low_guide * low_depth) - mean_g * mean_d) / (windows_mean(low_guide**2) - mean_g**2 + 1e-3)
    offset = mean_d - slope * mean_g
    rows, columns = (np.clip((np.arange(n) + 0.5) / 2 - 0.5, 0, n / 2 - 1) for n in (112, 168))

    def large(x: Map) -> Map:
        along = np.stack([np.interp(columns, np.arange(84), row) for row in x])
        return np.stack([np.interp(rows, np.arange(56), column) for column in along.T], 1)

    expected = np.maximum(large(windows_mean(slope)) * guide + large(windows_mean(offset)), 0)
    # A level of brightness may be rounded the other way.
    np.testing.assert_allclose(sharpen(depth, image, 56), expected, atol=5e-3)


def test_edges_come_from_the_frame() -> None:
    image = np.zeros((168, 224, 3), np.uint8)
    image[:, 101:] = 200
    truth = np.where(image[..., 0] > 0, 3, 1).astype(np.float32)
    smooth = np.asarray(cv2.resize(cv2.resize(truth, (56, 42), interpolation=cv2.INTER_AREA), (224, 168)), np.float32)
    found = sharpen(smooth, image, 42)
    assert np.abs(found - truth).max() < 0.25 < 0.6 < np.abs(smooth - truth).max()
    np.testing.assert_allclose(sharpen(2 * smooth + 5, image, 42), 2 * found + 5, rtol=1e-5)


def test_depth_is_left_alone_where_nothing_can_be_gained() -> None:
    image = synthetic_frames(1, 56, 70, seed=0)[0]
    depth = np.ones((56, 70), np.float32)
    assert sharpen(depth, image, 56) is depth
    depth[3, 4] = np.nan
    assert sharpen(depth, image, 28) is depth


def test_the_command_and_the_call(
    golden_model: VideoDepthAnything, checkpoint: Path, make_video: MakeVideo, tmp_path: Path
) -> None:
    """The depth of an input of three quarters, sharpened: 56 to 42."""
    clip = make_video("clip.mp4", 3, 112, 84)
    flags = ("--checkpoint", checkpoint, "-o", tmp_path, "--save", "npz", *SMALL, "--input_size", 56, "--fast")
    result = run(clip, *map(str, flags))
    assert result.returncode == 0, result.stderr
    found = np.load(tmp_path / f"{clip.stem}_depths.npz")["depths"]
    plain = vda.infer(str(clip), model=golden_model, input_size=42, precision="fp32").depths
    called = vda.infer(str(clip), model=golden_model, input_size=56, precision="fp32", fast=True).depths
    np.testing.assert_allclose(found, called, atol=1e-4)
    capture = cv2.VideoCapture(str(clip))
    image = np.asarray(cv2.cvtColor(capture.read()[1], cv2.COLOR_BGR2RGB), np.uint8)
    np.testing.assert_allclose(found[0], sharpen(plain[0], image, 42), atol=0.02 * plain[0].max())
    assert np.abs(found[0] - plain[0]).max() > 1e-3
