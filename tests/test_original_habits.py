"""Habits of programs for the original: streams reset by attribute, frames of any kind, videos saved by suffix."""

from __future__ import annotations

import json
import logging
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import imageio_ffmpeg
import numpy as np
import numpy.typing as npt
import pytest
import torch
from recipes import golden_json, synthetic_frames

from utils.dc_utils import ensure_even, save_video
from video_depth_anything import video_depth
from video_depth_anything.device import Execution
from video_depth_anything.errors import OutputError
from video_depth_anything.offline import RawWindows, infer_depth
from video_depth_anything.transform import preprocess
from video_depth_anything.video_depth_stream import DepthStream, VideoDepthAnything

Frames = npt.NDArray[np.uint8]


@pytest.fixture(scope="module")
def streaming_model(golden_model: video_depth.VideoDepthAnything) -> VideoDepthAnything:
    with torch.device("meta"):
        model = VideoDepthAnything("vits").eval()
    model.load_state_dict(golden_model.state_dict(), strict=True, assign=True)
    return model.requires_grad_(False)


def reset_as_programs_do(model: Any) -> None:
    for name, start in (("transform", None), ("frame_cache_list", []), ("frame_id_list", []), ("id", -1)):
        if hasattr(model, name):
            setattr(model, name, start)


@pytest.mark.parametrize(
    "reset",
    [
        reset_as_programs_do,
        lambda model: setattr(model, "id", -1),
        lambda model: setattr(model, "frame_id_list", []),
        lambda model: setattr(model, "frame_cache_list", []),
        lambda model: setattr(model, "transform", None),
        lambda model: setattr(model, "frame_height", None),
    ],
)
def test_a_second_video_of_another_size(streaming_model: VideoDepthAnything, reset: Callable[[Any], None]) -> None:
    streaming_model.reset_stream()
    for frame in synthetic_frames(3, 28, 42, seed=1):
        streaming_model.infer_video_depth_one(frame, input_size=28, device="cpu", fp32=True)
    reset(streaming_model)
    fresh = DepthStream(streaming_model, 28, Execution(torch.device("cpu"), None, 1))
    for frame in synthetic_frames(3, 48, 36, seed=2):
        depth = streaming_model.infer_video_depth_one(frame, input_size=28, device="cpu", fp32=True)
        np.testing.assert_array_equal(depth, fresh.step(frame))


def test_state_can_be_read(streaming_model: VideoDepthAnything) -> None:
    model: Any = streaming_model
    model.reset_stream()
    state = ("transform", "id", "frame_id_list", "frame_cache_list", "frame_height", "frame_width")
    assert [getattr(model, name) for name in state] == [None, -1, [], [], None, None]
    frame = synthetic_frames(1, 28, 42, seed=3)[0]
    for number in range(15):
        model.infer_video_depth_one(frame, 28, fp32=True)
        assert (model.id, model.frame_height, model.frame_width) == (number, 28, 42)
    image = model.transform({"image": frame.astype(np.float32) / 255.0})["image"]
    np.testing.assert_allclose(image, preprocess(frame, (28, 42)), atol=2e-6)
    assert len(model.frame_cache_list) == len(model.frame_id_list) == 42
    assert model.gap == 41


def test_frames_remembered_are_the_originals(streaming_model: VideoDepthAnything) -> None:
    """The context of each frame is the list's first two and last 29 entries before it."""
    golden = {int(number): context for number, context in golden_json("streaming_schedule").items()}
    streaming_model.reset_stream()
    frame = synthetic_frames(1, 14, 14, seed=3)[0]
    for number in range(max(golden) + 1):
        if number in golden:
            held = streaming_model.frame_id_list
            assert [*held[:2], *held[-29:]] == golden[number]
        streaming_model.infer_video_depth_one(frame, 14, fp32=True)


KINDS: dict[str, Callable[[Frames], Any]] = {
    "float32": lambda frames: frames.astype(np.float32),
    "float64": lambda frames: frames.astype(np.float64),
    "int64": lambda frames: frames.astype(np.int64),
    "list of arrays": list,
    "nested lists": lambda frames: frames.tolist(),
    "tensor": torch.from_numpy,
    "float tensors": lambda frames: [torch.from_numpy(frame).float() for frame in frames],
    "iterator": iter,
}


@pytest.mark.parametrize("kind", KINDS)
def test_frames_of_any_kind(
    golden_model: video_depth.VideoDepthAnything, kind: str, caplog: pytest.LogCaptureFixture
) -> None:
    frames = synthetic_frames(3, 28, 42, seed=4)
    expected, fps = golden_model.infer_video_depth(frames, input_size=28, fp32=True)
    found, _ = golden_model.infer_video_depth(KINDS[kind](frames), 24, 28, "cpu", True)
    np.testing.assert_array_equal(found, expected)
    assert fps == -1
    assert not caplog.records


def test_frames_from_0_to_1_are_said(
    golden_model: video_depth.VideoDepthAnything, caplog: pytest.LogCaptureFixture, fp32: Execution
) -> None:
    frames = synthetic_frames(3, 28, 42, seed=4)
    with caplog.at_level(logging.WARNING):
        list(infer_depth(golden_model, frames * np.float32(0), 28, fp32))  # black is not a mistake
    assert not caplog.records
    with caplog.at_level(logging.WARNING):
        list(infer_depth(golden_model, frames / np.float32(frames.max()), 28, fp32))
    assert [record.message for record in caplog.records] == [
        "the first frame's largest value is 1; frames are expected to range from 0 to 255"
    ]


@pytest.mark.parametrize("path", ["clip.mp4", Path("clip.mp4")])
def test_a_path_is_no_video(streaming_model: VideoDepthAnything, path: Any) -> None:
    streaming_model.reset_stream()
    for call in (streaming_model.infer_video_depth, streaming_model.infer_video_depth_one):
        with pytest.raises(TypeError, match=r"not a path \(.*clip.mp4.*read_video_frames"):
            call(path)
    with pytest.raises(TypeError, match="not a path"):
        infer_depth(streaming_model, path)  # at once, not with the first frame


def test_inference_with_defaults(golden_model: video_depth.VideoDepthAnything, monkeypatch: pytest.MonkeyPatch) -> None:
    frames = synthetic_frames(2, 14, 28, seed=5)
    sizes: list[tuple[int, int]] = []
    encode = golden_model.encode

    def small(images: torch.Tensor) -> Any:
        sizes.append((images.shape[-2], images.shape[-1]))
        return encode(images[..., :28, :28])

    monkeypatch.setattr(golden_model, "encode", small)
    assert len(list(infer_depth(golden_model, frames))) == 2
    assert set(sizes) == {(462, 924)}  # 518 less what a frame of 2:1 is longer than 16:9, in multiples of 14


def test_a_run_can_be_stopped_between_frames(golden_model: video_depth.VideoDepthAnything, fp32: Execution) -> None:
    read = 0

    def source() -> Iterator[Frames]:
        nonlocal read
        for frame in synthetic_frames(60, 28, 28, seed=6):
            read += 1
            yield frame

    def stopped_after(calls: int) -> int:
        nonlocal read
        left, read = calls, 0

        def check() -> None:
            nonlocal left
            left -= 1
            if left < 0:
                raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            list(infer_depth(golden_model, source(), 28, fp32, check))
        return read

    # Three frames go through the encoder together; after 32 frames the window is decoded, three at a time too.
    assert [stopped_after(calls) for calls in (0, 1, 5, 11, 12, 22, 23)] == [0, 3, 15, 33, 33, 33, 33]
    assert stopped_after(24) == 36


def test_check_reaches_single_windows(golden_model: video_depth.VideoDepthAnything, fp32: Execution) -> None:
    calls = []
    windows = RawWindows(golden_model, synthetic_frames(4, 28, 28, seed=7), 28, fp32, lambda: calls.append(1))
    assert windows.window(0) is not None
    assert len(calls) == 3 + 1 + 2  # two groups and the end, before decoding, after each group


def header(path: Path) -> str:
    command = [imageio_ffmpeg.get_ffmpeg_exe(), "-hide_banner", "-i", str(path)]
    return subprocess.run(command, capture_output=True, text=True, check=False).stderr


@pytest.mark.parametrize(
    ("suffix", "container", "codec"),
    [
        (".mp4", "mov,mp4", "h264"),
        (".mkv", "matroska", "h264"),
        (".avi", "avi", "h264"),
        (".webm", "matroska,webm", "vp9"),
        (".gif", "gif", "gif"),
    ],
)
def test_the_suffix_names_the_container(tmp_path: Path, suffix: str, container: str, codec: str) -> None:
    frames = synthetic_frames(5, 31, 47, seed=8)
    path = tmp_path / f"clip{suffix}"
    save_video(frames, path, fps=20)
    found = header(path)
    assert f"Input #0, {container}" in found, json.dumps(found)
    assert f"Video: {codec}" in found and "48x32" in found and "20 fps" in found
    command = [imageio_ffmpeg.get_ffmpeg_exe(), "-loglevel", "error", "-i", str(path), "-f", "rawvideo"]
    raw = subprocess.run([*command, "-pix_fmt", "rgb24", "-"], capture_output=True, check=True).stdout
    read = np.frombuffer(raw, dtype=np.uint8).reshape(5, 32, 48, 3)
    assert np.abs(read[:, :31, :47].mean(axis=3) - frames.mean(axis=3)).mean() < 6
    assert [p.name for p in tmp_path.iterdir()] == [path.name]


def test_videos_that_cannot_be_saved(tmp_path: Path) -> None:
    frames = synthetic_frames(2, 16, 16, seed=9)
    with pytest.raises(OutputError, match=r"clip.txt: its suffix must be one of .mp4, .*.gif"):
        save_video(frames, tmp_path / "clip.txt")
    with pytest.raises(OutputError, match=r"cannot write .*nowhere"):
        save_video(frames, tmp_path / "nowhere" / "clip.mp4")
    with pytest.raises(ValueError, match="frame rate 0"):
        save_video(frames, tmp_path / "clip.gif", fps=0)

    def broken() -> Iterator[Frames]:
        yield frames[0]
        raise RuntimeError("no more")

    with pytest.raises(RuntimeError, match="no more"):
        save_video(broken(), tmp_path / "clip.mp4")
    assert [path.name for path in tmp_path.iterdir()] == []
    assert [ensure_even(side) for side in (0, 1, 2, 1079, 1080)] == [0, 2, 2, 1080, 1080]
