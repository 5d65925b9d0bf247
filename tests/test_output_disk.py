"""A file system of a megabyte that fills up; only root can mount one."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import OpenEXR
import pytest
from conftest import MakeVideo
from PIL import Image

from video_depth_anything.errors import OutputError
from video_depth_anything.outputs.options import CameraOptions, OutputOptions
from video_depth_anything.outputs.plan import OutputPlan
from video_depth_anything.outputs.run_outputs import RunOutputs
from video_depth_anything.video.frame import Frame
from video_depth_anything.video.source import open_video

SIZE = (64, 96)
DEPTHS = np.random.default_rng(0).random((200, *SIZE)).astype(np.float32)


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    folder = tmp_path / "small"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=1m", "none", str(folder)]
    try:
        subprocess.run(mount, check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("needs the right to mount a file system")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


def fill(outputs: RunOutputs) -> None:
    image = np.random.default_rng(1).integers(0, 256, (*SIZE, 3)).astype(np.uint8)
    with outputs:
        for index, depth in enumerate(DEPTHS):
            outputs.write(Frame(image, index / 24, 1 / 24, depth=depth))
        outputs.close()


@pytest.mark.parametrize("save", [("exr",), ("png16",), ("src", "npz"), ("vis", "exr"), ("mkv16", "png16", "exr")])
def test_full_in_mid_run(make_video: MakeVideo, small_disk: Path, save: tuple[str, ...]) -> None:
    source = open_video(make_video("clip.mp4", height=SIZE[0], width=SIZE[1]))
    source.expected = None  # as of a stream, so that nobody knows beforehand
    plan = OutputPlan(OutputOptions(small_disk, save, png16_scale="frame"), CameraOptions(), False)
    with pytest.raises(OutputError, match=f"{small_disk}.*No space left on device"):
        fill(plan.open(source))
    frames = {"clip_depths_exr", "clip_depths_png16"} & {f"clip_depths_{name}" for name in save}
    assert {path.name for path in small_disk.iterdir() if path.name != ".clip_run.json"} == frames
    for path in small_disk.glob("*/*.exr"):
        file = OpenEXR.File(str(path), separate_channels=True)
        np.testing.assert_array_equal(file.channels()["Z"].pixels, DEPTHS[int(path.stem[6:])])
    for mapping in small_disk.glob("*/mapping.json"):
        files = json.loads(mapping.read_text())["files"]
        assert {path.name for path in mapping.parent.iterdir()} == {*files, "mapping.json"}
        for name, values in files.items():
            levels = np.array(Image.open(mapping.parent / name))
            assert np.abs(levels * values["scale"] + values["offset"] - DEPTHS[int(name[6:11])]).max() < 1e-4
    again = OutputPlan(OutputOptions(small_disk, ("vis",)), CameraOptions(), False)
    with again.open(source) as outputs:
        outputs.abort()
