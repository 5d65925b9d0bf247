"""Procedural scenes: depth is what geometry says, poses and depth agree between frames, all kinds render."""

from __future__ import annotations

import cv2
import numpy as np
import numpy.typing as npt
import pytest

from starter.scenes import shapes
from starter.scenes.camera_paths import intrinsics, look_at
from starter.scenes.mesh import Mesh
from starter.scenes.raycast import Camera
from starter.scenes.render import KINDS, SceneOptions, render_clip
from starter.scenes.shading import Renderer
from starter.scenes.world import Light, MaterialTable, Motion, Sky, World
from training.clips import Clip
from video_depth_anything.errors import UsageError

pytestmark = pytest.mark.slow

WIDTH, HEIGHT = 96, 72
MATRIX = intrinsics(70, HEIGHT, WIDTH, (3.3, -2.1))


def world(still: Mesh, *moving: tuple[Mesh, Motion]) -> World:
    materials = MaterialTable()
    materials.plain((0.5, 0.5, 0.5))
    light = Light((1, 1, 3), (1, 1, 1))
    ambient = (np.full(3, 0.3, np.float32), np.full(3, 0.3, np.float32))
    return World(still, list(moving), materials, [light], ambient, Sky(), [])


def render(scene: World, pose: npt.NDArray[np.float64], seconds: float = 0.0) -> npt.NDArray[np.float32]:
    renderer = Renderer(scene, np.random.default_rng(0))
    renderer.tracer.set_time(seconds)
    return renderer.render(Camera(pose, MATRIX), WIDTH, HEIGHT)[1]


def rays(pose: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """(H, W, 3) world directions through pixel centres at whole numbers, 1 long along the optical axis."""
    y, x = np.mgrid[:HEIGHT, :WIDTH].astype(np.float64)
    local = np.stack([(x - MATRIX[0, 2]) / MATRIX[0, 0], (y - MATRIX[1, 2]) / MATRIX[1, 1], np.ones_like(x)], -1)
    return local @ pose[:3, :3].T


def test_depth_of_a_plane() -> None:
    pose = look_at((0.3, -2, 1.5), (0.1, 0.4, 0.2), roll=0.2)
    depth = render(world(shapes.quad((-50, -50, 0), (100, 0, 0), (0, 100, 0))), pose)
    direction = rays(pose)[..., 2]
    expected = np.where(direction < 0, -1.5 / direction, np.inf)
    expected[expected > 40] = np.inf
    known = np.isfinite(expected)
    assert 0.5 < known.mean() < 1
    np.testing.assert_allclose(depth[known], expected[known], rtol=2e-4)
    assert np.isinf(depth[direction > 0]).all()


def ball_depth(pose: npt.NDArray[np.float64], centre: npt.ArrayLike, radius: float) -> npt.NDArray[np.float64]:
    """z-depth of a sphere; inf beside it."""
    direction, offset = rays(pose), pose[:3, 3] - np.asarray(centre)
    a, b, c = (direction**2).sum(-1), direction @ offset, offset @ offset - radius**2
    root = b * b - a * c
    return np.where(root > 0, (-b - np.sqrt(np.maximum(root, 0))) / a, np.inf)


def agrees_with_ball(depth: npt.NDArray[np.float32], expected: npt.NDArray[np.float64]) -> None:
    both = np.isfinite(depth) & np.isfinite(expected)
    # The sphere is of flat triangles: its outline may miss a few pixels, and near it depth is steep.
    assert (np.isfinite(depth) != np.isfinite(expected)).mean() < 0.01
    assert both.sum() > 200
    errors = np.abs(depth[both] / expected[both] - 1)
    assert np.percentile(errors, 95) < 2e-3 and errors.max() < 0.03


def test_depth_of_a_sphere() -> None:
    pose = look_at((0.2, -3, 0.7), (0.3, 0, 0.1), roll=-0.3)
    ball = shapes.superquadric((0.9, 0.9, 0.9), sides=200)
    agrees_with_ball(render(world(ball), pose), ball_depth(pose, (0, 0, 0), 0.9))


def test_moving_things_are_where_their_motion_says() -> None:
    motion = Motion((-0.5, 1.0, 0.2), 0.4, 1.5, spin=2.0)
    far = shapes.quad((-50, 60, -50), (100, 0, 0), (0, 0, 100))
    scene = world(far, (shapes.superquadric((0.6, 0.6, 0.6), sides=200), motion))
    pose = look_at((0, -3, 0.7), (0, 0, 0.1))
    for seconds in (0.0, 0.7):
        ahead = np.array([np.cos(0.4), np.sin(0.4), 0]) * 1.5 * seconds
        depth = render(scene, pose, seconds)
        agrees_with_ball(np.where(depth < 30, depth, np.inf), ball_depth(pose, np.array(motion.start) + ahead, 0.6))


def agreement(clip: Clip, one: int, two: int, pose: npt.NDArray[np.float64] | None = None) -> tuple[float, float]:
    """Of one frame's points in view of another: the shares on its surface (within 1 %) and behind it."""
    assert clip.poses is not None
    depth, other = clip.depth[one].astype(np.float64), clip.depth[two]
    height, width = depth.shape
    y, x = np.mgrid[:height, :width].astype(np.float64)
    k = clip.intrinsics
    local = np.stack([(x - k[0, 2]) / k[0, 0], (y - k[1, 2]) / k[1, 1], np.ones_like(x)], -1) * depth[..., None]
    move = np.linalg.inv(clip.poses[two]) @ (clip.poses[one] if pose is None else pose)
    seen = (local @ move[:3, :3].T + move[:3, 3])[np.isfinite(depth)]
    seen = seen[seen[:, 2] > 0.01]
    u, v = (seen[:, i] / seen[:, 2] * k[i, i] + k[i, 2] for i in range(2))
    inside = (u > 0) & (v > 0) & (u < width - 1) & (v < height - 1)
    maps = [m[inside].astype(np.float32).reshape(1, -1) for m in (u, v)]
    # Disparity is linear across a plane in the picture; depth is not.
    near = cv2.remap(np.float32(1) / other, np.repeat(maps[0], 2, 0), np.repeat(maps[1], 2, 0), cv2.INTER_LINEAR)[0]
    ratio = near * seen[inside, 2]
    return float((np.abs(ratio - 1) < 0.01).mean()), float((ratio > 1.01).mean())


@pytest.mark.parametrize("kind", ["inside", "pile"])
def test_poses_and_depth_agree_between_frames(kind: str) -> None:
    moved = 0
    for seed in (1, 2, 3):
        clip = render_clip(seed, SceneOptions(num_frames=3, height=120, width=160, kinds=(kind,), clean=True, fps=6))
        assert clip.poses is not None
        on, behind = agreement(clip, 0, 2)
        # What is neither on the surface nor hidden behind it is at outlines, where depth jumps within a pixel.
        assert on > 0.8 and on + behind > 0.95
        shift = clip.poses[0].copy()
        shift[:3, 3] += 0.1 * float(np.median(clip.depth[0])) * clip.poses[0][:3, 2]
        wrong, _ = agreement(clip, 0, 2, shift)
        assert wrong < on - 0.4
        moved += not np.allclose(clip.poses[0], clip.poses[2], atol=1e-3)
    assert moved >= 2


def test_the_same_seed_gives_the_same_clip() -> None:
    options = SceneOptions(num_frames=2, height=60, width=80)
    one, two, other = render_clip(5, options), render_clip(5, options), render_clip(6, options)
    assert one.poses is not None and two.poses is not None
    np.testing.assert_array_equal(one.images, two.images)
    np.testing.assert_array_equal(one.depth, two.depth)
    np.testing.assert_array_equal(one.poses, two.poses)
    np.testing.assert_array_equal(one.intrinsics, two.intrinsics)
    assert not np.array_equal(one.depth, other.depth)


def test_a_clean_clip_shows_the_same_scene() -> None:
    noisy, clean = (render_clip(7, SceneOptions(num_frames=1, height=60, width=80, clean=c)) for c in (False, True))
    np.testing.assert_array_equal(noisy.depth, clean.depth)
    assert not np.array_equal(noisy.images, clean.images)


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_renders(kind: str) -> None:
    ranges = []
    for seed in (11, 12):
        clip = render_clip(seed, SceneOptions(num_frames=2, height=66, width=88, kinds=(kind,)))
        assert clip.images.shape == (2, 66, 88, 3) and clip.images.dtype == np.uint8
        assert clip.depth.shape == (2, 66, 88) and clip.depth.dtype == np.float32
        assert clip.poses is not None and clip.poses.shape == (2, 4, 4)
        np.testing.assert_allclose(
            clip.poses[:, :3, :3] @ clip.poses[:, :3, :3].swapaxes(1, 2), np.eye(3)[None].repeat(2, 0), atol=1e-9
        )
        assert not np.isnan(clip.depth).any() and (clip.depth > 0).all()
        assert np.isfinite(clip.depth).mean() > 0.1
        assert (clip.depth < 0.05).mean() < 0.2
        assert 5 < clip.images.mean() < 250
        ranges.append(np.ptp(clip.disparity) / clip.disparity.max())
    assert max(ranges) > 0.3


def test_wrong_options_are_named() -> None:
    with pytest.raises(UsageError, match="ocean"):
        render_clip(0, SceneOptions(kinds=("ocean",)))
    with pytest.raises(ValueError, match="at least 1"):
        render_clip(0, SceneOptions(num_frames=0))
