"""The shell of a room: floor, walls with doors and windows, what is outside them, light and viewpoints."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from starter.scenes import shapes
from starter.scenes.builder import Material, SceneBuilder
from starter.scenes.mesh import Mesh, floats, merge, rotation_z
from starter.scenes.props.outdoor import building, person, tree
from starter.scenes.world import Light, Motion, Sky, View, World


@dataclass(frozen=True)
class RoomShell:
    """The inner size of a room about the origin, in metres."""

    width: float
    length: float
    height: float

    @property
    def half(self) -> npt.NDArray[np.float64]:
        """(2,) half the floor."""
        return np.array([self.width / 2, self.length / 2])


# Each wall by its turn about z: the wall at +y, then the others; a thing at a wall looks to -y before the turn.
TURNS = (0.0, np.pi / 2, np.pi, -np.pi / 2)


def wall_frame(shell: RoomShell, side: int) -> tuple[float, float]:
    """Length of a wall and its distance from the origin."""
    return (shell.width, shell.length / 2) if side % 2 == 0 else (shell.length, shell.width / 2)


def put(
    scene: SceneBuilder, shell: RoomShell, side: int, mesh: Mesh, x: float, gap: float = 0.01, z: float = 0.0
) -> None:
    """Put a mesh with its back to a wall, `x` metres along it from its middle."""
    _, away = wall_frame(shell, side)
    back = float(mesh.bounds[1, 1])
    scene.add(mesh.moved((x, away - gap - back, z)), yaw=TURNS[side])


def build_shell(scene: SceneBuilder, shell: RoomShell) -> None:
    """Floor, ceiling and walls with doors, windows, skirting, pictures and switches."""
    scene.neutral = scene.chance(0.75)
    w, length, h = shell.width, shell.length, shell.height
    scene.add(scene.cover(shapes.quad((-w / 2, -length / 2, 0), (w, 0, 0), (0, length, 0)), "floor"))
    ceiling = scene.material("wall") if scene.chance(0.3) else scene.plain(scene.grey(0.75, 0.95))
    scene.add(scene.cover(shapes.quad((-w / 2, -length / 2, h), (w, 0, 0), (0, length, 0)), ceiling))
    common = scene.material("wall")
    trim = scene.plain(scene.grey(0.7, 0.95)) if scene.chance(0.6) else scene.material("wood")
    for side in range(4):
        material = common if scene.chance(0.75) else scene.material("wall")
        wall(scene, shell, side, material, trim)
    if scene.chance(0.4):
        for _ in range(scene.count(1, 6)):
            x, y = scene.uniform(-0.4, 0.4) * w, scene.uniform(-0.4, 0.4) * length
            lamp = shapes.box((scene.uniform(0.1, 1.2), scene.uniform(0.1, 0.5), 0.04), (x, y, h - 0.02))
            scene.add(lamp.painted(scene.materials.plain(np.ones(3), emission=scene.uniform(0, 3))))


def wall(scene: SceneBuilder, shell: RoomShell, side: int, material: Material, trim: Material) -> None:
    """One wall: plain, with a window, or with a door, and what hangs on it."""
    long, away = wall_frame(shell, side)
    h = shell.height
    style = scene.rng.random()
    if style < 0.3 and long > 1.6:
        w, low = scene.uniform(0.6, min(2.6, long - 0.6)), scene.uniform(0.0, 1.1)
        opening(
            scene,
            shell,
            side,
            material,
            trim,
            (scene.uniform(-0.5, 0.5) * (long - w - 0.4), w, low, min(low + scene.uniform(0.9, 2), h - 0.15)),
        )
    elif style < 0.55 and long > 1.4:
        opening(
            scene,
            shell,
            side,
            material,
            trim,
            (scene.uniform(-0.5, 0.5) * (long - 1.2), scene.uniform(0.75, 1.0), 0.0, 2.05),
            door=True,
        )
    else:
        panel = shapes.quad((-long / 2, away, 0), (long, 0, 0), (0, 0, h))
        scene.add(scene.cover(panel, material), yaw=TURNS[side])
        door = scene.real_prop("opening") if scene.chance(0.4) else None
        if door is not None:
            put(scene, shell, side, door, scene.uniform(-0.35, 0.35) * long, 0.0)
    if scene.chance(0.7):
        skirt = shapes.block((-long / 2, away - 0.015, 0), (long / 2, away, scene.uniform(0.05, 0.15)))
        scene.add(scene.cover(skirt, trim), yaw=TURNS[side])
    fixture = scene.real_prop("hanging") if scene.chance(0.5) else None
    if fixture is not None:
        put(scene, shell, side, fixture, scene.uniform(-0.4, 0.4) * long, 0.0, scene.uniform(1.0, 1.7))
    for _ in range(scene.count(0, 4)):
        w, high = (scene.uniform(0.15, 0.9), scene.uniform(0.15, 0.8)) if scene.chance(0.7) else (0.08, 0.08)
        x, z = scene.uniform(-0.45, 0.45) * long, scene.uniform(0.9, 1.9)
        frame = shapes.block((x - w / 2 - 0.02, away - 0.02, z - 0.02), (x + w / 2 + 0.02, away, z + high + 0.02))
        picture = shapes.quad((x - w / 2, away - 0.022, z), (w, 0, 0), (0, 0, high), True).painted(scene.poster())
        scene.add(merge([scene.cover(frame, scene.pick("wood", "plastic", "metal")), picture]), yaw=TURNS[side])


def opening(
    scene: SceneBuilder,
    shell: RoomShell,
    side: int,
    material: Material,
    trim: Material,
    hole: tuple[float, float, float, float],
    door: bool = False,
) -> None:
    """A wall around a hole (middle, width, bottom, top), with a door leaf, or glass bars and perhaps a curtain."""
    long, away = wall_frame(shell, side)
    _, w, low, high = hole
    h, left, right = shell.height, hole[0] - hole[1] / 2, hole[0] + hole[1] / 2
    panels = [(-long / 2, left, 0, h), (right, long / 2, 0, h), (left, right, high, h), (left, right, 0, low)]
    parts = [
        scene.cover(shapes.quad((a, away, c), (b - a, 0, 0), (0, 0, d - c)), material)
        for a, b, c, d in panels if b - a > 1e-3 and d - c > 1e-3
    ]  # fmt: skip
    t, deep = scene.uniform(0.03, 0.08), scene.uniform(0.05, 0.25)
    rims = [(left - t, left), (right, right + t)]
    parts += [scene.cover(shapes.block((a, away - 0.02, low), (b, away + deep, high)), trim) for a, b in rims]
    parts.append(scene.cover(shapes.block((left - t, away - 0.02, high), (right + t, away + deep, high + t)), trim))
    if door and scene.chance(0.75):
        leaf = shapes.block((0, -0.02, 0.005), (w, 0.02, high))
        knob = shapes.rod((w - 0.07, -0.06, 1.02), (w - 0.18, -0.06, 1.02), 0.012, 8)
        swing = 0.0 if scene.chance(0.6) else scene.uniform(0.2, 2.0)
        full = merge([scene.cover(leaf, scene.pick("wood", "plastic", "wall")), scene.cover(knob, "metal")])
        parts.append(full.moved((left, away + 0.03, 0), yaw=swing))
    elif not door:
        parts.append(scene.cover(shapes.block((left - t, away - 0.08, low - t), (right + t, away + deep, low)), trim))
        bars = [(left + w * k / n, n) for n in [scene.count(1, 3)] for k in range(1, n)]
        parts += [
            scene.cover(
                shapes.block((b - 0.025, away + deep * 0.5, low), (b + 0.025, away + deep * 0.5 + 0.04, high)), trim
            )
            for b, _ in bars
        ]
        if scene.chance(0.4):
            parts.append(curtain(scene, left, right, low, high, away))
    scene.add(merge(parts), yaw=TURNS[side])
    outside(scene, away + deep + 0.05, TURNS[side], indoors=door)


def curtain(scene: SceneBuilder, left: float, right: float, low: float, high: float, away: float) -> Mesh:
    """A wavy cloth or a blind over part of a window."""
    cover = scene.uniform(0.2, 1.0) * (right - left)
    x = np.linspace(left - 0.1, left - 0.1 + cover, 40)
    y = away - 0.1 + 0.03 * np.sin(np.arange(40) * scene.uniform(0.6, 1.3))
    z = np.linspace(high + 0.1, max(low - scene.uniform(0, 1), 0.05), 4)
    points = np.stack(
        [np.broadcast_to(x, (4, 40)), np.broadcast_to(y, (4, 40)), np.broadcast_to(z[:, None], (4, 40))], -1
    )
    return scene.cover(shapes.surface(points), "fabric")


def outside(scene: SceneBuilder, away: float, yaw: float, indoors: bool) -> None:
    """What is seen through an opening: another room, or daylight with trees and houses."""
    if indoors:
        room_ = [
            scene.cover(shapes.quad((-4, away, 0), (8, 0, 0), (0, 3, 0)), "floor"),
            scene.cover(shapes.quad((-4, away + scene.uniform(1.2, 3), 0), (8, 0, 0), (0, 0, 3)), "wall"),
        ]
        scene.add(merge(room_), yaw=yaw)
        return
    drop = scene.uniform(0.2, 8)
    parts = [scene.cover(shapes.quad((-40, away, -drop), (80, 0, 0), (0, 60, 0)), "ground")]
    if scene.chance(0.6):
        block = building(scene, scene.uniform(10, 30), 8, scene.uniform(5, 15))
        parts.append(block.moved((scene.uniform(-6, 6), away + scene.uniform(5, 40), -drop)))
    for _ in range(scene.count(0, 3)):
        parts.append(tree(scene).moved((scene.uniform(-10, 10), away + scene.uniform(3, 20), -drop)))
    scene.add(merge(parts), yaw=yaw)


def lighting(
    scene: SceneBuilder, shell: RoomShell
) -> tuple[list[Light], tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]]:
    """Ceiling lamps, daylight from a side, and the light that walls throw back."""
    bright = scene.uniform(0.06, 0.4)
    tint = np.exp(scene.rng.normal(0, 0.08, 3)) * [1.0, 0.97, 0.92]
    ambient = (floats(bright * tint), floats(bright * tint * scene.uniform(0.4, 0.9) * [1, 0.92, 0.85]))
    lights = []
    for _ in range(scene.count(1, 2)):
        x, y = scene.rng.uniform(-0.7, 0.7, 2) * shell.half
        colour = tuple(scene.uniform(0.3, 1.1) * tint * [1, 0.92, 0.8])
        lights.append(
            Light(
                (x, y, shell.height - scene.uniform(0.1, 0.6)),
                colour,
                scene.uniform(0.05, 0.4),
                reach=scene.uniform(1.5, 3),
            )
        )
    if scene.chance(0.3):
        a = scene.turn()
        lights[-1] = Light(
            (np.cos(a), np.sin(a), scene.uniform(0.3, 1)),
            tuple(scene.uniform(1, 3) * np.array([1, 0.95, 0.85])),
            0.03,
            True,
        )
    return lights, ambient


def day_sky(scene: SceneBuilder) -> Sky:
    """What windows show."""
    light = scene.uniform(0.6, 2.5)
    return Sky(
        tuple(light * np.array([0.5, 0.7, 1.0])),
        tuple(light * np.array([0.9, 0.95, 1.0])),
        scene.texture("clouds"),
        scene.uniform(0, 0.8),
    )


def views(scene: SceneBuilder, shell: RoomShell) -> list[View]:
    """Eyes anywhere in the room; looks across it, down at tables, and close."""
    hx, hy = shell.half
    low = scene.uniform(0.25, 1.2)
    eye = np.array([[-hx + 0.25, -hy + 0.25, low], [hx - 0.25, hy - 0.25, min(shell.height - 0.3, 1.9)]])
    level = np.array([[-hx, -hy, 0.5], [hx, hy, 1.6]])
    down = np.array([[-hx, -hy, 0.0], [hx, hy, 0.9]])
    return [View(eye, level, 0.7, fov=(45, 90)), View(eye, down, 0.6, fov=(40, 85)), View(eye, down, 0.6, fov=(45, 75))]


def worn_views(scene: SceneBuilder, shell: RoomShell, others: list[View]) -> list[View]:
    """What a head-mounted camera sees, half as likely as the other views; a quarter of it fronts close before it."""
    total = sum(view.weight for view in others) / 2
    hx, hy = shell.half
    top = min(1.8, shell.height - 0.3)
    how = {"step": 0.5, "roll": 0.04, "fov": (52.0, 68.0)}
    eye = np.array([[-hx + 0.4, -hy + 0.4, min(1.5, top)], [hx - 0.4, hy - 0.4, top]])
    looks = [View(eye, eye, weight=0.75 * total, pitch=(-20.0, 15.0), **how)]  # type: ignore[arg-type]
    for side in range(4):
        long, away = wall_frame(shell, side)
        # Wall, eye and target are turned together: at +y, along x.
        x = scene.uniform(-0.4, 0.4) * long
        near, far = away - min(2.6, 2 * away - 0.3), away - 1.1
        if near > far:
            continue
        turn = rotation_z(TURNS[side])
        eyes = np.array([[x - 0.2, near, 1.35], [x + 0.2, far, top]]) @ turn.T
        targets = np.array([[x - 0.5, away, 0.7], [x + 0.5, away, 1.6]]) @ turn.T
        looks.append(
            View(np.sort(eyes, 0), np.sort(targets, 0), weight=total / 16, flat=True, **how)  # type: ignore[arg-type]
        )
    return looks


def finish(scene: SceneBuilder, shell: RoomShell, extra: list[View] | None = None) -> World:
    """The world of what was collected in a room, with a walking person now and then."""
    if scene.chance(0.25):
        walker(scene, shell.half)
    lights, ambient = lighting(scene, shell)
    seen = [*views(scene, shell), *(extra or [])]
    return scene.world(
        lights, ambient, day_sky(scene), [*seen, *worn_views(scene, shell, seen)], scene.uniform(0.3, 1.0)
    )


def walker(scene: SceneBuilder, half: npt.NDArray[np.float64]) -> None:
    """A person who walks across."""
    start, heading = scene.rng.uniform(-0.8, 0.8, 2) * half, scene.turn()
    scene.move(person(scene), Motion((*start, 0), heading, scene.uniform(0.3, 1.4)))
