"""Extraction of each dataset from its own layout: right pairs, colours, units and sizes, and what it says when not."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
import pytest
from benchmark_miniatures import (
    BONN_SCENE,
    KITTI_SCENE,
    NYUV2_SCENE,
    SCANNET_SCENE,
    SCENES,
    SINTEL_SCENE,
    camera,
    frame_of_bonn,
    run_script,
)
from hypothesis import given
from hypothesis import strategies as st

from benchmark.dataset_extract.extraction import extract, sintel_png
from benchmark.datasets import DATASETS, EVALUATION_SETS, TAE_SETS, indices_of
from benchmark.index import Frame, scenes_of
from benchmark.raw_datasets.bonn import bonn_scenes, pair_by_time, read_times
from benchmark.raw_datasets.kitti import find_depth_root, kitti_scenes
from benchmark.raw_datasets.nyuv2 import nyuv2_scenes
from benchmark.raw_datasets.rgbd import rgbd_scenes
from benchmark.raw_datasets.scannet import scannet_scenes
from benchmark.raw_datasets.scenes import RawScene
from benchmark.raw_datasets.sintel import read_cam, read_dpt, sintel_scenes
from training.clips import Clip
from video_depth_anything.errors import InputError

Array = npt.NDArray[Any]


def listed(extracted: Path, dataset: str, index: str | None = None) -> tuple[Frame, ...]:
    path = extracted / dataset / (index or f"{dataset}_video.json")
    (scene,) = scenes_of(path, dataset)
    assert scene.name == SCENES[dataset]
    for frame in scene.frames:
        assert (path.parent / frame.image).is_file() and (path.parent / frame.gt_depth).is_file()
    return scene.frames


def read(extracted: Path, dataset: str, frame: Frame) -> tuple[Array, Array]:
    """Image (RGB) and depth in metres."""
    image = cv2.imread(str(extracted / dataset / frame.image))
    depth = cv2.imread(str(extracted / dataset / frame.gt_depth), cv2.IMREAD_UNCHANGED)
    assert image is not None and depth is not None and depth.dtype == np.uint16
    return image[..., ::-1].astype(int), depth / frame.factor


@pytest.mark.parametrize(
    ("dataset", "index", "expected", "tolerance"),
    [
        ("sintel", "sintel_video.json", list(range(12)), 0.005),
        ("kitti", "kitti_video.json", list(range(2, 12)), 0.002),
        ("kitti", "kitti_video_500.json", list(range(2, 12)), 0.002),
        ("bonn", "bonn_video.json", [frame_of_bonn(k, 12) for k in (31, 32, 33)], 0.0002),
        ("scannet", "scannet_video.json", [0, 3, 6, 9], 0.001),
        ("scannet", "scannet_video_500.json", list(range(12)), 0.001),
        ("scannet", "scannet_video_tae.json", list(range(12)), 0.001),
        ("nyuv2", "nyuv2_video_500.json", list(range(12)), 0.0001),
        ("rgbd", "rgbd_video.json", list(range(12)), 0.0005),
    ],
)
def test_frames_have_their_image_and_depth(
    extracted_sets: Path, benchmark_clip: Clip, dataset: str, index: str, expected: list[int], tolerance: float
) -> None:
    frames = listed(extracted_sets, dataset, index)
    assert len(frames) == len(expected)
    crops = {"scannet": (slice(8, -8), slice(11, -11)), "nyuv2": (slice(45, 471), slice(41, 601))}
    even = (slice(62), slice(78))
    image_crop = even if dataset == "kitti" else crops.get(dataset, (slice(None),) * 2)
    if index.endswith("_tae.json"):
        image_crop = (slice(None),) * 2
    for frame, k in zip(frames, expected):
        image, depth = read(extracted_sets, dataset, frame)
        wanted = benchmark_clip.images[k][image_crop].astype(int)
        assert image.shape == wanted.shape
        # Swapped colours, or the neighbouring frame, would be off by far more than JPEG is.
        assert np.abs(image - wanted).mean() < (6 if frame.image.endswith(".jpg") else 0.01)
        true = benchmark_clip.depth[k][even if dataset == "kitti" else slice(None)]
        known = depth > 0
        assert depth.shape == true.shape and known.mean() > 0.45
        assert np.abs(depth - true)[known].max() < tolerance * 1.01


def test_colours_of_the_clip_tell_red_from_blue(benchmark_clip: Clip) -> None:
    swapped = benchmark_clip.images[..., ::-1].astype(int)
    assert np.abs(swapped - benchmark_clip.images).mean() > 20


def test_cameras(extracted_sets: Path, benchmark_clip: Clip) -> None:
    assert benchmark_clip.poses is not None
    for dataset in TAE_SETS:
        frames = listed(extracted_sets, dataset, TAE_SETS[dataset].index)
        for frame, pose in list(zip(frames, benchmark_clip.poses))[1:]:
            assert np.array(frame.pose) == pytest.approx(pose, abs=1e-8)
            assert np.array(frame.intrinsics)[:3, :3] == pytest.approx(benchmark_clip.intrinsics, abs=1e-8)
    lost = listed(extracted_sets, "scannet")[0].pose
    assert lost is not None and not np.isfinite(lost).any()


def test_scripts_are_repeatable_and_link(native_sets: Path, extracted_sets: Path, tmp_path: Path) -> None:
    command = ("--root", native_sets / "bonn", "--scenes", BONN_SCENE, "--link")
    for _ in range(2):
        result = run_script("dataset_extract/dataset_extract_bonn.py", "--out", tmp_path, *command)
        assert result.returncode == 0, result.stderr
    for index in indices_of("bonn"):
        assert (tmp_path / "bonn" / index).read_text() == (extracted_sets / "bonn" / index).read_text()
    frame = listed(tmp_path, "bonn")[0]
    assert (tmp_path / "bonn" / frame.image).is_symlink() and (tmp_path / "bonn" / frame.gt_depth).is_symlink()
    assert not (extracted_sets / "bonn" / frame.image).is_symlink()


def test_corrected_scannet_crops_larger_images_by_the_same_share(native_sets: Path, tmp_path: Path) -> None:
    root = tmp_path / "scannet"
    shutil.copytree(native_sets / "scannet", root)
    for path in (root / SCANNET_SCENE / "color").iterdir():
        image = cv2.imread(str(path))
        assert image is not None
        cv2.imwrite(str(path), cv2.resize(image, None, fx=2, fy=2))
    for proportional, size in ((False, (128 - 16, 160 - 22, 3)), (True, (128 - 32, 160 - 44, 3))):
        extract("scannet", scannet_scenes(root), tmp_path / "out", proportional_crop=proportional)
        extracted = cv2.imread(str(tmp_path / "out" / "scannet" / listed(tmp_path / "out", "scannet")[0].image))
        assert extracted is not None and extracted.shape == size


READERS: dict[str, Callable[[Path], Iterator[RawScene]]] = {
    "sintel": sintel_scenes,
    "kitti": lambda root: kitti_scenes(root, find_depth_root(root)),
    "bonn": lambda root: bonn_scenes(root, None),
    "scannet": scannet_scenes,
    "nyuv2": lambda root: nyuv2_scenes(root, [NYUV2_SCENE]),
    "rgbd": rgbd_scenes,
}


@pytest.mark.parametrize(
    ("dataset", "removed", "message"),
    [
        ("sintel", f"training/camdata_left/{SINTEL_SCENE}/frame_0002.cam", "frame_0002.cam"),
        ("sintel", "training/depth", "training/depth not found; it should hold MPI-Sintel-depth-training"),
        ("kitti", f"{KITTI_SCENE[:10]}/{KITTI_SCENE}/image_02/data/0000000004.png", "1 files are missing: "),
        ("kitti", "val", "pass it with --depth_root"),
        ("bonn", f"{BONN_SCENE}/depth.txt", "depth.txt not found"),
        ("bonn", BONN_SCENE, "is empty"),
        ("scannet", f"{SCANNET_SCENE}/pose/5.txt", "5.txt"),
        ("scannet", f"{SCANNET_SCENE}/intrinsic", "intrinsic_depth.txt"),
        ("nyuv2", f"{NYUV2_SCENE}/depth/3.png", "depth/3.png"),
        ("nyuv2", NYUV2_SCENE, f"lacks {NYUV2_SCENE}; select others with --scenes"),
        ("rgbd", f"{SCENES['rgbd']}/depth", "no images there"),
    ],
)
def test_what_is_missing_is_named(native_sets: Path, tmp_path: Path, dataset: str, removed: str, message: str) -> None:
    root = tmp_path / "root"
    shutil.copytree(native_sets / dataset, root)
    target = root / removed
    if target.is_dir():
        shutil.rmtree(target)
    else:
        target.unlink()
    with pytest.raises((InputError, FileNotFoundError), match=re.escape(message)):
        extract(dataset, READERS[dataset](root), tmp_path / "out")
    # An index that lists what is not there would make trouble later.
    assert not list((tmp_path / "out").rglob("*.json"))


def test_a_recording_lacking_one_depth_is_extracted_in_right_pairs(native_sets: Path, tmp_path: Path) -> None:
    shutil.copytree(native_sets / "rgbd", tmp_path / "root")
    (tmp_path / "root" / SCENES["rgbd"] / "depth" / "00003.png").unlink()
    (scene,) = rgbd_scenes(tmp_path / "root")
    assert [frame.image.stem for frame in scene.frames] == [f"{n:05d}" for n in range(12) if n != 3]
    assert all(frame.image.stem == frame.depth.stem for frame in scene.frames)


def test_the_scenes_of_the_protocol_are_asked_for_in_one_line(native_sets: Path, tmp_path: Path) -> None:
    result = run_script("dataset_extract/dataset_extract_nyuv2.py", "--root", native_sets / "nyuv2", "--out", tmp_path)
    assert result.returncode == 2 and result.stderr.count("\n") == 1
    assert "lacks basement_0001a, bookstore_0001a" in result.stderr and "--scenes" in result.stderr


def test_damaged_files_are_named(native_sets: Path, benchmark_clip: Clip, tmp_path: Path) -> None:
    source = native_sets / "sintel" / "training" / "depth" / SINTEL_SCENE / "frame_0001.dpt"
    assert read_dpt(source) == pytest.approx(benchmark_clip.depth[0])
    short = tmp_path / "short.dpt"
    short.write_bytes(source.read_bytes()[:-1])
    with pytest.raises(InputError, match=r"short\.dpt: not a Sintel"):
        read_dpt(short)
    assert benchmark_clip.poses is not None
    short.write_bytes(b"\0\0\0\0" + camera(benchmark_clip, benchmark_clip.poses[0]))
    with pytest.raises(InputError, match=r"short\.dpt: not a Sintel \.cam"):
        read_cam(short)
    times = tmp_path / "rgb.txt"
    times.write_text("# comment\n1.0 rgb/1.png\nnever\n")
    with pytest.raises(InputError, match="a time and a file name"):
        read_times(times)
    index = tmp_path / "index.json"
    index.write_text('{"sintel": [{"a": [{"image": "x"}]}]}')
    with pytest.raises(InputError, match="not an index file"):
        scenes_of(index, "sintel")


def test_sintel_depth_is_scaled_and_far_depth_stays_far() -> None:
    assert sintel_png(np.array([1, 10.004, 650, 7e4], dtype=np.float32)).tolist() == [101, 1009, 65535, 65535]


@given(st.lists(st.integers(0, 400), unique=True), st.lists(st.integers(0, 400), unique=True))
def test_pairs_by_time_are_near_and_used_once(images: list[int], depths: list[int]) -> None:
    lists = [sorted((t / 100, str(t)) for t in times) for times in (images, depths)]
    pairs = [(int(a), int(b)) for a, b in pair_by_time(lists[0], lists[1], 0.0201)]
    assert all(abs(a - b) <= 2 for a, b in pairs)
    assert [a for a, _ in pairs] == sorted({a for a, _ in pairs})
    assert len({b for _, b in pairs}) == len(pairs)
    # Nobody is left who could have been paired.
    alone = set(depths) - {b for _, b in pairs}
    assert not any(abs(a - b) <= 2 for a in set(images) - {a for a, _ in pairs} for b in alone)


def test_index_files_can_be_read_by_the_original_evaluation(extracted_sets: Path) -> None:
    content = json.loads((extracted_sets / "scannet" / "scannet_video_tae.json").read_text())
    entry = content["scannet"][0][SCANNET_SCENE][1]
    assert set(entry) == {"image", "gt_depth", "factor", "K", "pose"}
    assert entry["image"] == f"{SCANNET_SCENE}/color_origin/1.jpg" and entry["factor"] == 1000


def test_table_is_the_protocol() -> None:
    assert DATASETS == ("sintel", "kitti", "bonn", "scannet", "nyuv2", "rgbd")
    assert EVALUATION_SETS["bonn"].frames == slice(30, 140, 1)
    assert EVALUATION_SETS["scannet"].frames == slice(0, 270, 3)
    assert EVALUATION_SETS["kitti_500"].num_frames == 500 and EVALUATION_SETS["sintel"].max_depth == 70
    tae = TAE_SETS["scannet"]
    assert (tae.first, tae.last, tae.num_frames, tae.num_scenes, tae.hard_crop) == (10, 180, 192, 20, True)
