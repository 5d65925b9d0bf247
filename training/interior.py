"""The shell of a room: floor, walls with doors and windows, what is outside them, light and viewpoints."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from training import shapes
from training.mesh import Mesh, floats, merge
from training.motion import Motion
from training.pieces_outdoor import building, person, tree
from training.workshop import Paint, Workshop
from training.world import Light, Moving, Sky, View, World


@dataclass(frozen=True)
class Shell:
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


def wall_frame(shell: Shell, side: int) -> tuple[float, float]:
    """Length of a wall and its distance from the origin."""
    return (shell.width, shell.length / 2) if side % 2 == 0 else (shell.length, shell.width / 2)


def put(shop: Workshop, shell: Shell, side: int, mesh: Mesh, x: float, gap: float = 0.01, z: float = 0.0) -> None:
    """Put a mesh with its back to a wall, `x` metres along it from its middle."""
    _, away = wall_frame(shell, side)
    back = float(mesh.bounds[1, 1])
    shop.add(mesh.moved((x, away - gap - back, z)), yaw=TURNS[side])


def build_shell(shop: Workshop, shell: Shell) -> None:
    """Floor, ceiling and walls with doors, windows, skirting, pictures and switches."""
    w, length, h = shell.width, shell.length, shell.height
    shop.add(shop.cover(shapes.quad((-w / 2, -length / 2, 0), (w, 0, 0), (0, length, 0)), "floor"))
    ceiling = shop.paint("wall") if shop.chance(0.3) else Paint(shop.materials.plain(shop.grey(0.75, 0.95)))
    shop.add(shop.cover(shapes.quad((-w / 2, -length / 2, h), (w, 0, 0), (0, length, 0)), ceiling))
    common = shop.paint("wall")
    trim = Paint(shop.materials.plain(shop.grey(0.7, 0.95))) if shop.chance(0.6) else shop.paint("wood")
    for side in range(4):
        paint = common if shop.chance(0.75) else shop.paint("wall")
        wall(shop, shell, side, paint, trim)
    if shop.chance(0.4):
        for _ in range(shop.count(1, 6)):
            x, y = shop.uniform(-0.4, 0.4) * w, shop.uniform(-0.4, 0.4) * length
            lamp = shapes.box((shop.uniform(0.1, 1.2), shop.uniform(0.1, 0.5), 0.04), (x, y, h - 0.02))
            shop.add(lamp.painted(shop.materials.plain(np.ones(3), emission=shop.uniform(0, 3))))


def wall(shop: Workshop, shell: Shell, side: int, paint: Paint, trim: Paint) -> None:
    """One wall: plain, with a window, or with a door, and what hangs on it."""
    long, away = wall_frame(shell, side)
    h = shell.height
    style = shop.rng.random()
    if style < 0.3 and long > 1.6:
        w, low = shop.uniform(0.6, min(2.6, long - 0.6)), shop.uniform(0.0, 1.1)
        opening(
            shop,
            shell,
            side,
            paint,
            trim,
            (shop.uniform(-0.5, 0.5) * (long - w - 0.4), w, low, min(low + shop.uniform(0.9, 2), h - 0.15)),
        )
    elif style < 0.55 and long > 1.4:
        opening(
            shop,
            shell,
            side,
            paint,
            trim,
            (shop.uniform(-0.5, 0.5) * (long - 1.2), shop.uniform(0.75, 1.0), 0.0, 2.05),
            door=True,
        )
    else:
        panel = shapes.quad((-long / 2, away, 0), (long, 0, 0), (0, 0, h))
        shop.add(shop.cover(panel, paint), yaw=TURNS[side])
        door = shop.piece("opening") if shop.chance(0.4) else None
        if door is not None:
            put(shop, shell, side, door, shop.uniform(-0.35, 0.35) * long, 0.0)
    if shop.chance(0.7):
        skirt = shapes.block((-long / 2, away - 0.015, 0), (long / 2, away, shop.uniform(0.05, 0.15)))
        shop.add(shop.cover(skirt, trim), yaw=TURNS[side])
    fixture = shop.piece("hanging") if shop.chance(0.5) else None
    if fixture is not None:
        put(shop, shell, side, fixture, shop.uniform(-0.4, 0.4) * long, 0.0, shop.uniform(1.0, 1.7))
    for _ in range(shop.count(0, 4)):
        w, high = (shop.uniform(0.15, 0.9), shop.uniform(0.15, 0.8)) if shop.chance(0.7) else (0.08, 0.08)
        x, z = shop.uniform(-0.45, 0.45) * long, shop.uniform(0.9, 1.9)
        frame = shapes.block((x - w / 2 - 0.02, away - 0.02, z - 0.02), (x + w / 2 + 0.02, away, z + high + 0.02))
        picture = shapes.quad((x - w / 2, away - 0.022, z), (w, 0, 0), (0, 0, high), True).painted(shop.poster())
        shop.add(merge([shop.cover(frame, shop.pick("wood", "plastic", "metal")), picture]), yaw=TURNS[side])


def opening(
    shop: Workshop,
    shell: Shell,
    side: int,
    paint: Paint,
    trim: Paint,
    hole: tuple[float, float, float, float],
    door: bool = False,
) -> None:
    """A wall around a hole (middle, width, bottom, top), with a door leaf, or glass bars and perhaps a curtain."""
    long, away = wall_frame(shell, side)
    _, w, low, high = hole
    h, left, right = shell.height, hole[0] - hole[1] / 2, hole[0] + hole[1] / 2
    pieces = [(-long / 2, left, 0, h), (right, long / 2, 0, h), (left, right, high, h), (left, right, 0, low)]
    parts = [
        shop.cover(shapes.quad((a, away, c), (b - a, 0, 0), (0, 0, d - c)), paint)
        for a, b, c, d in pieces if b - a > 1e-3 and d - c > 1e-3
    ]  # fmt: skip
    t, deep = shop.uniform(0.03, 0.08), shop.uniform(0.05, 0.25)
    rims = [(left - t, left), (right, right + t)]
    parts += [shop.cover(shapes.block((a, away - 0.02, low), (b, away + deep, high)), trim) for a, b in rims]
    parts.append(shop.cover(shapes.block((left - t, away - 0.02, high), (right + t, away + deep, high + t)), trim))
    if door and shop.chance(0.75):
        leaf = shapes.block((0, -0.02, 0.005), (w, 0.02, high))
        knob = shapes.rod((w - 0.07, -0.06, 1.02), (w - 0.18, -0.06, 1.02), 0.012, 8)
        swing = 0.0 if shop.chance(0.6) else shop.uniform(0.2, 2.0)
        full = merge([shop.cover(leaf, shop.pick("wood", "plastic", "wall")), shop.cover(knob, "metal")])
        parts.append(full.moved((left, away + 0.03, 0), yaw=swing))
    elif not door:
        parts.append(shop.cover(shapes.block((left - t, away - 0.08, low - t), (right + t, away + deep, low)), trim))
        bars = [(left + w * k / n, n) for n in [shop.count(1, 3)] for k in range(1, n)]
        parts += [
            shop.cover(
                shapes.block((b - 0.025, away + deep * 0.5, low), (b + 0.025, away + deep * 0.5 + 0.04, high)), trim
            )
            for b, _ in bars
        ]
        if shop.chance(0.4):
            parts.append(curtain(shop, left, right, low, high, away))
    shop.add(merge(parts), yaw=TURNS[side])
    outside(shop, away + deep + 0.05, TURNS[side], indoors=door)


def curtain(shop: Workshop, left: float, right: float, low: float, high: float, away: float) -> Mesh:
    """A wavy cloth or a blind over part of a window."""
    cover = shop.uniform(0.2, 1.0) * (right - left)
    x = np.linspace(left - 0.1, left - 0.1 + cover, 40)
    y = away - 0.1 + 0.03 * np.sin(np.arange(40) * shop.uniform(0.6, 1.3))
    z = np.linspace(high + 0.1, max(low - shop.uniform(0, 1), 0.05), 4)
    points = np.stack(
        [np.broadcast_to(x, (4, 40)), np.broadcast_to(y, (4, 40)), np.broadcast_to(z[:, None], (4, 40))], -1
    )
    return shop.cover(shapes.surface(points), "fabric")


def outside(shop: Workshop, away: float, yaw: float, indoors: bool) -> None:
    """What is seen through an opening: another room, or daylight with trees and houses."""
    if indoors:
        room_ = [
            shop.cover(shapes.quad((-4, away, 0), (8, 0, 0), (0, 3, 0)), "floor"),
            shop.cover(shapes.quad((-4, away + shop.uniform(1.2, 3), 0), (8, 0, 0), (0, 0, 3)), "wall"),
        ]
        shop.add(merge(room_), yaw=yaw)
        return
    drop = shop.uniform(0.2, 8)
    parts = [shop.cover(shapes.quad((-40, away, -drop), (80, 0, 0), (0, 60, 0)), "ground")]
    if shop.chance(0.6):
        block = building(shop, shop.uniform(10, 30), 8, shop.uniform(5, 15))
        parts.append(block.moved((shop.uniform(-6, 6), away + shop.uniform(5, 40), -drop)))
    for _ in range(shop.count(0, 3)):
        parts.append(tree(shop).moved((shop.uniform(-10, 10), away + shop.uniform(3, 20), -drop)))
    shop.add(merge(parts), yaw=yaw)


def lighting(
    shop: Workshop, shell: Shell
) -> tuple[list[Light], tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]]:
    """Ceiling lamps, daylight from a side, and the light that walls throw back."""
    bright = shop.uniform(0.06, 0.4)
    tint = np.exp(shop.rng.normal(0, 0.08, 3)) * [1.0, 0.97, 0.92]
    ambient = (floats(bright * tint), floats(bright * tint * shop.uniform(0.4, 0.9) * [1, 0.92, 0.85]))
    lights = []
    for _ in range(shop.count(1, 2)):
        x, y = shop.rng.uniform(-0.7, 0.7, 2) * shell.half
        colour = tuple(shop.uniform(0.3, 1.1) * tint * [1, 0.92, 0.8])
        lights.append(
            Light(
                (x, y, shell.height - shop.uniform(0.1, 0.6)),
                colour,
                shop.uniform(0.05, 0.4),
                reach=shop.uniform(1.5, 3),
            )
        )
    if shop.chance(0.3):
        a = shop.uniform(0, 6.3)
        lights[-1] = Light(
            (np.cos(a), np.sin(a), shop.uniform(0.3, 1)),
            tuple(shop.uniform(1, 3) * np.array([1, 0.95, 0.85])),
            0.03,
            True,
        )
    return lights, ambient


def day_sky(shop: Workshop) -> Sky:
    """What windows show."""
    light = shop.uniform(0.6, 2.5)
    return Sky(
        tuple(light * np.array([0.5, 0.7, 1.0])),
        tuple(light * np.array([0.9, 0.95, 1.0])),
        shop.texture("clouds"),
        shop.uniform(0, 0.8),
    )


def views(shop: Workshop, shell: Shell) -> list[View]:
    """Eyes anywhere in the room; looks across it, down at tables, and close."""
    hx, hy = shell.half
    low = shop.uniform(0.25, 1.2)
    eye = np.array([[-hx + 0.25, -hy + 0.25, low], [hx - 0.25, hy - 0.25, min(shell.height - 0.3, 1.9)]])
    level = np.array([[-hx, -hy, 0.5], [hx, hy, 1.6]])
    down = np.array([[-hx, -hy, 0.0], [hx, hy, 0.9]])
    return [View(eye, level, 0.7, fov=(45, 90)), View(eye, down, 0.6, fov=(40, 85)), View(eye, down, 0.6, fov=(45, 75))]


def finish(shop: Workshop, shell: Shell, extra: list[View] | None = None) -> World:
    """The world of what was collected in a room, with a walking person now and then."""
    if shop.chance(0.25):
        walker(shop, shell.half)
    lights, ambient = lighting(shop, shell)
    return World(
        shop.whole(),
        shop.moving,
        shop.materials,
        lights,
        ambient,
        day_sky(shop),
        [*views(shop, shell), *(extra or [])],
        shop.uniform(0.3, 1.0),
    )


def walker(shop: Workshop, half: npt.NDArray[np.float64]) -> None:
    """A person who walks across."""
    start, heading = shop.rng.uniform(-0.8, 0.8, 2) * half, shop.uniform(0, 6.3)
    shop.moving.append(Moving(person(shop), Motion((*start, 0.0), heading, shop.uniform(0.3, 1.4))))
