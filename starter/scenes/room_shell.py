"""A room to furnish: floor, walls with doors and windows, what is outside them, light and viewpoints."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from starter.scenes import shapes
from starter.scenes.builder import Material, SceneBuilder
from starter.scenes.mesh import Floats, Mesh, floats, merge, rotation_z
from starter.scenes.props.outdoor import building, person, tree
from starter.scenes.world import Light, Motion, Sky, View, World

# Each wall by its turn about z: the wall at +y, then the others; a thing at a wall looks to -y before the turn.
TURNS = (0.0, np.pi / 2, np.pi, -np.pi / 2)


class Room:
    """A room of an inner size in metres about the origin, built with its walls; `half` (2,) is half its floor."""

    def __init__(self, scene: SceneBuilder, width: float, length: float, height: float) -> None:
        self.scene, self.width, self.length, self.height = scene, width, length, height
        self.half = np.array([width / 2, length / 2])
        scene.neutral = scene.chance(0.75)
        low, sides = (-width / 2, -length / 2), ((width, 0, 0), (0, length, 0))
        ceiling = scene.material("wall") if scene.chance(0.3) else scene.plain(scene.grey(0.75, 0.95))
        scene.add(scene.cover(shapes.quad((*low, 0), *sides), "floor"))
        scene.add(scene.cover(shapes.quad((*low, height), *sides), ceiling))
        common = scene.material("wall")
        trim = scene.plain(scene.grey(0.7, 0.95)) if scene.chance(0.6) else scene.material("wood")
        for side in range(4):
            self._wall(side, common if scene.chance(0.75) else scene.material("wall"), trim)
        for _ in range(scene.count(1, 6) if scene.chance(0.4) else 0):
            lamp = shapes.box((scene.uniform(0.1, 1.2), scene.uniform(0.1, 0.5), 0.04))
            scene.add(scene.cover(lamp, "glow"), self.spot(0.8, height - 0.02))

    def wall(self, side: int) -> tuple[float, float]:
        """Length of a wall and its distance from the origin."""
        return (self.width, self.length / 2) if side % 2 == 0 else (self.length, self.width / 2)

    def along(self, side: int, share: float = 0.45) -> float:
        """A random place along a wall, from its middle."""
        return self.scene.uniform(-share, share) * self.wall(side)[0]

    def spot(self, share: float, z: float = 0.0) -> tuple[float, float, float]:
        """A random place within a share of the floor."""
        x, y = self.scene.rng.uniform(-share, share, 2) * self.half
        return float(x), float(y), z

    def put(self, side: int, mesh: Mesh, x: float, gap: float = 0.01, z: float = 0.0) -> None:
        """Put a mesh with its back to a wall, `x` metres along it from its middle."""
        back = float(mesh.bounds[1, 1])
        self.scene.add(mesh.moved((x, self.wall(side)[1] - gap - back, z)), yaw=TURNS[side])

    def _wall(self, side: int, material: Material, trim: Material) -> None:
        """One wall: plain, with a window, or with a door, and what hangs on it."""
        scene, (long, away) = self.scene, self.wall(side)
        style, parts = scene.rng.random(), list[Mesh]()
        if style < 0.3 and long > 1.6:
            w, low = scene.uniform(0.6, min(2.6, long - 0.6)), scene.uniform(0.0, 1.1)
            high = min(low + scene.uniform(0.9, 2), self.height - 0.15)
            parts.append(self._opening(side, material, trim, w, low, high, door=False))
        elif style < 0.55 and long > 1.4:
            parts.append(self._opening(side, material, trim, scene.uniform(0.75, 1.0), 0.0, 2.05, door=True))
        else:
            parts.append(scene.cover(shapes.quad((-long / 2, away, 0), (long, 0, 0), (0, 0, self.height)), material))
            door = scene.real_prop("opening") if scene.chance(0.4) else None
            if door is not None:
                self.put(side, door, self.along(side, 0.35), 0.0)
        if scene.chance(0.7):
            skirt = shapes.block((-long / 2, away - 0.015, 0), (long / 2, away, scene.uniform(0.05, 0.15)))
            parts.append(scene.cover(skirt, trim))
        fixture = scene.real_prop("hanging") if scene.chance(0.5) else None
        if fixture is not None:
            self.put(side, fixture, self.along(side, 0.4), 0.0, scene.uniform(1.0, 1.7))
        for _ in range(scene.count(0, 4)):
            w, h = (scene.uniform(0.15, 0.9), scene.uniform(0.15, 0.8)) if scene.chance(0.7) else (0.08, 0.08)
            x, z = self.along(side), scene.uniform(0.9, 1.9)
            frame = shapes.block((x - w / 2 - 0.02, away - 0.02, z - 0.02), (x + w / 2 + 0.02, away, z + h + 0.02))
            parts.append(scene.cover(frame, scene.pick("wood", "plastic", "metal")))
            parts.append(shapes.quad((x - w / 2, away - 0.022, z), (w, 0, 0), (0, 0, h), True).painted(scene.poster()))
        scene.add(merge(parts), yaw=TURNS[side])

    def _opening(
        self, side: int, material: Material, trim: Material, w: float, low: float, high: float, door: bool
    ) -> Mesh:
        """A wall around a hole of width `w`, with a door leaf, or glass bars and perhaps a curtain."""
        scene, (long, away), h = self.scene, self.wall(side), self.height
        left = scene.uniform(-0.5, 0.5) * (long - w - 0.4) - w / 2
        right = left + w
        panels = [(-long / 2, left, 0, h), (right, long / 2, 0, h), (left, right, high, h), (left, right, 0, low)]
        parts = [
            scene.cover(shapes.quad((a, away, c), (b - a, 0, 0), (0, 0, d - c)), material)
            for a, b, c, d in panels
            if b - a > 1e-3 and d - c > 1e-3
        ]
        t, deep = scene.uniform(0.03, 0.08), scene.uniform(0.05, 0.25)
        rims = [((left - t, -0.02, low), (left, deep, high)), ((right, -0.02, low), (right + t, deep, high))]
        rims.append(((left - t, -0.02, high), (right + t, deep, high + t)))
        if not door:
            rims.append(((left - t, -0.08, low - t), (right + t, deep, low)))
            n = scene.count(1, 3)
            bars = [left + w * k / n for k in range(1, n)]
            rims += [((b - 0.025, deep * 0.5, low), (b + 0.025, deep * 0.5 + 0.04, high)) for b in bars]
        parts += [scene.cover(shapes.block(a, b), trim).moved((0, away, 0)) for a, b in rims]
        if door and scene.chance(0.75):
            leaf = scene.cover(shapes.block((0, -0.02, 0.005), (w, 0.02, high)), scene.pick("wood", "plastic", "wall"))
            knob = scene.cover(shapes.rod((w - 0.07, -0.06, 1.02), (w - 0.18, -0.06, 1.02), 0.012, 8), "metal")
            swing = 0.0 if scene.chance(0.6) else scene.uniform(0.2, 2.0)
            parts.append(merge([leaf, knob]).moved((left, away + 0.03, 0), yaw=swing))
        elif not door and scene.chance(0.4):
            x = np.linspace(0, scene.uniform(0.2, 1.0) * w, 40) + left - 0.1
            y = away - 0.1 + 0.03 * np.sin(np.arange(40) * scene.uniform(0.6, 1.3))
            z = np.linspace(high + 0.1, max(low - scene.uniform(0, 1), 0.05), 4)[:, None]
            parts.append(scene.cover(shapes.surface(np.stack(np.broadcast_arrays(x, y, z), -1)), "fabric"))
        return merge([*parts, outside(scene, away + deep + 0.05, indoors=door)])

    def finish(self, further: list[View]) -> World:
        """The world of what was collected in the room, with a walking person now and then, and further views."""
        scene = self.scene
        if scene.chance(0.25):
            scene.move(person(scene), Motion(self.spot(0.8), scene.turn(), scene.uniform(0.3, 1.4)))
        lights, ambient = self._lighting()
        views = [*self._views(), *further]
        views += self._worn_views(sum(view.weight for view in views) / 2)
        return scene.world(lights, ambient, day_sky(scene), views, scene.uniform(0.3, 1.0))

    def _lighting(self) -> tuple[list[Light], tuple[Floats, Floats]]:
        """Ceiling lamps, daylight from a side, and the light that walls throw back."""
        scene, bright = self.scene, self.scene.uniform(0.06, 0.4)
        tint = np.exp(scene.rng.normal(0, 0.08, 3)) * [1.0, 0.97, 0.92]
        ambient = (floats(bright * tint), floats(bright * tint * scene.uniform(0.4, 0.9) * [1, 0.92, 0.85]))
        lights = []
        for _ in range(scene.count(1, 2)):
            colour = tuple(scene.uniform(0.3, 1.1) * tint * [1, 0.92, 0.8])
            place = self.spot(0.7, self.height - scene.uniform(0.1, 0.6))
            lights.append(Light(place, colour, scene.uniform(0.05, 0.4), reach=scene.uniform(1.5, 3)))
        if scene.chance(0.3):
            a, strength = scene.turn(), scene.uniform(1, 3)
            way = (np.cos(a), np.sin(a), scene.uniform(0.3, 1))
            lights[-1] = Light(way, (strength, 0.95 * strength, 0.85 * strength), 0.03, True)
        return lights, ambient

    def _views(self) -> list[View]:
        """Eyes anywhere in the room; looks across it, down at tables, and close."""
        hx, hy = self.half
        low, top = self.scene.uniform(0.25, 1.2), min(self.height - 0.3, 1.9)
        eye = np.array([[-hx + 0.25, -hy + 0.25, low], [hx - 0.25, hy - 0.25, top]])
        level = np.array([[-hx, -hy, 0.5], [hx, hy, 1.6]])
        down = np.array([[-hx, -hy, 0.0], [hx, hy, 0.9]])
        down_views = [View(eye, down, 0.6, fov=(40, 85)), View(eye, down, 0.6, fov=(45, 75))]
        return [View(eye, level, 0.7, fov=(45, 90)), *down_views]

    def _worn_views(self, total: float) -> list[View]:
        """What a head-mounted camera sees, `total` in weight; a quarter of it fronts close before it."""
        hx, hy = self.half
        top = min(1.8, self.height - 0.3)
        eye = np.array([[-hx + 0.4, -hy + 0.4, min(1.5, top)], [hx - 0.4, hy - 0.4, top]])
        looks = [View(eye, eye, 0.5, 0.04, (52, 68), 0.75 * total, pitch=(-20.0, 15.0))]
        for side in range(4):
            # Wall, eye and target are turned together: at +y, along x.
            x, away, turn = self.along(side, 0.4), self.wall(side)[1], rotation_z(TURNS[side])
            near, far = away - min(2.6, 2 * away - 0.3), away - 1.1
            if near <= far:
                eyes = np.array([[x - 0.2, near, 1.35], [x + 0.2, far, top]]) @ turn.T
                targets = np.array([[x - 0.5, away, 0.7], [x + 0.5, away, 1.6]]) @ turn.T
                corners = np.sort(eyes, 0), np.sort(targets, 0)
                looks.append(View(*corners, 0.5, 0.04, (52, 68), total / 16, flat=True))
        return looks


def outside(scene: SceneBuilder, away: float, indoors: bool) -> Mesh:
    """What is seen through an opening at +y: another room, or daylight with trees and houses."""
    if indoors:
        back = shapes.quad((-4, away + scene.uniform(1.2, 3), 0), (8, 0, 0), (0, 0, 3))
        floor = shapes.quad((-4, away, 0), (8, 0, 0), (0, 3, 0))
        return merge([scene.cover(floor, "floor"), scene.cover(back, "wall")])
    drop = scene.uniform(0.2, 8)
    parts = [scene.cover(shapes.quad((-40, away, -drop), (80, 0, 0), (0, 60, 0)), "ground")]
    if scene.chance(0.6):
        block = building(scene, scene.uniform(10, 30), 8, scene.uniform(5, 15))
        parts.append(block.moved((scene.uniform(-6, 6), away + scene.uniform(5, 40), -drop)))
    for _ in range(scene.count(0, 3)):
        parts.append(tree(scene).moved((scene.uniform(-10, 10), away + scene.uniform(3, 20), -drop)))
    return merge(parts)


def day_sky(scene: SceneBuilder) -> Sky:
    """What windows show."""
    light = scene.uniform(0.6, 2.5)
    zenith, horizon = ((light * r, light * g, light) for r, g in ((0.5, 0.7), (0.9, 0.95)))
    return Sky(zenith, horizon, scene.texture("clouds"), scene.uniform(0, 0.8))


def box_view(eye: npt.ArrayLike, target: npt.ArrayLike, **how: object) -> View:
    """A view between two boxes given by their corners."""
    return View(np.array(eye, np.float64), np.array(target, np.float64), **how)  # type: ignore[arg-type]
