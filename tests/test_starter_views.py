"""What a procedural room looks like: cameras worn on a head, close fronts, even shadows."""

from __future__ import annotations

import numpy as np
import pytest

from starter.scenes import shapes
from starter.scenes.builder import SceneBuilder
from starter.scenes.camera_paths import choose, intrinsics, look_at, path
from starter.scenes.mesh import Floats, Mesh, merge
from starter.scenes.raycast import Camera, Tracer
from starter.scenes.render import KINDS, MIX
from starter.scenes.shading import Renderer
from starter.scenes.world import Light, MaterialTable, Sky, View, World

pytestmark = pytest.mark.slow

OUTDOOR = {"street", "nature", "plaza", "structure"}


def colour_of(mesh: Mesh, ambient: float, lights: list[Light], pose: np.ndarray, size: tuple[int, int]) -> Floats:
    materials = MaterialTable()
    materials.plain((0.5, 0.5, 0.5))
    light = np.full(3, ambient, np.float32)
    world = World(mesh, [], materials, lights, (light, light), Sky(), [], occlusion=1.0 if ambient else 0.0)
    renderer = Renderer(world, np.random.default_rng(0))
    return renderer.render(Camera(pose, intrinsics(60, *size)), size[1], size[0])[0].mean(-1)


def test_occlusion_is_even_along_a_wall() -> None:
    """Seen from straight above, with a wall along x: what is in one row of pixels is equally far from the wall."""
    floor = shapes.quad((-20, -20, 0), (40, 0, 0), (0, 40, 0))
    wall = shapes.quad((-20, 0.55, 0), (40, 0, 0), (0, 0, 3))
    colour = colour_of(merge([floor, wall]), 0.5, [], look_at((0, 0, 1.6), (0, 1e-3, 0)), (96, 128))
    rows = colour[16:-16, 16:-16]
    assert rows.mean(1).max() > 1.1 * rows.mean(1).min()
    assert (rows.std(1) / rows.mean(1)).max() < 0.01


def test_no_light_leaks_into_a_shadow_from_a_surface_that_faces_away() -> None:
    floor = shapes.quad((-20, -20, 0), (40, 0, 0), (0, 40, 0))
    wall = shapes.quad((-20, 0, 0), (40, 0, 0), (0, 0, 2))
    lamp = Light((0, 3, 1.5), (1, 1, 1), radius=0.02)
    colour = colour_of(merge([floor, wall]), 0.0, [lamp], look_at((0, -3, 1.5), (0, 0, 0.3)), (96, 128))
    assert colour.max() < 1e-4


def test_a_worn_camera_looks_down_in_any_direction() -> None:
    box = np.array([[-1.0, -1, 1.5], [1, 1, 1.8]])
    view = View(box, box, pitch=(-20.0, 15.0))
    rng = np.random.default_rng(0)
    forward = np.stack([path(rng, view, 1, 10)[0][:3, 2] for _ in range(400)])
    pitch = np.degrees(np.arcsin(forward[:, 2]))
    assert pitch.mean() == pytest.approx(-20, abs=2.5) and pitch.std() == pytest.approx(15, abs=2.5)
    heading = np.arctan2(forward[:, 1], forward[:, 0])
    assert np.abs(np.exp(1j * heading).mean()) < 0.15


@pytest.mark.parametrize("kind", ["room", "kitchen", "office"])
def test_a_third_of_a_rooms_views_are_worn_and_some_of_these_close_fronts(kind: str) -> None:
    close = 0
    for seed in range(4):
        world = KINDS[kind](SceneBuilder(np.random.default_rng(seed)))
        everything, worn = (
            sum(view.weight for view in world.views if view.pitch or view.flat or not only) for only in (False, True)
        )
        assert 0.27 < worn / everything < 0.34
        fronts = [view for view in world.views if view.flat]
        tracer = Tracer(world)
        poses, matrix = choose(np.random.default_rng(seed), tracer, fronts, 1, 48, 64, 10)
        depth = tracer.depth(Camera(poses[0], matrix), 64, 48)
        low, middle, high = np.percentile(depth, [5, 50, 95])
        close += 0.8 < middle < 2.3 and high / low < 2.4
        assert poses[0][2, 3] > 1.2
    assert close >= 3


def test_most_scenes_are_indoors_and_all_kinds_are_there() -> None:
    assert set(MIX) == set(KINDS)
    assert 0.1 <= sum(kind in OUTDOOR for kind in MIX) / len(MIX) <= 0.2
