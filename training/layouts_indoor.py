"""Rooms."""

from __future__ import annotations

import numpy as np

from training import shapes
from training.mesh import random_rotation
from training.workshop import Workshop
from training.world import Light, Sky, View, World


def room(shop: Workshop) -> World:
    """A room with boxes and balls."""
    width, length, height = shop.uniform(2.5, 7), shop.uniform(3, 9), shop.uniform(2.3, 3.2)
    shell = shapes.block((-width / 2, -length / 2, 0), (width / 2, length / 2, height))
    wall, floor, ceiling = shop.paint("wall"), shop.paint("floor"), shop.paint("wall")
    for k, paint in enumerate([wall, wall, wall, wall, floor, ceiling]):
        faces = slice([0, 2, 4, 6, 8, 10][k], [2, 4, 6, 8, 10, 12][k])
        part = type(shell)(
            shell.vertices, shell.triangles[faces], shell.normals[faces], shell.uv[faces], shell.material[faces]
        )
        shop.add(shop.cover(part, paint))
    for _ in range(shop.count(6, 25)):
        size = shop.rng.uniform(0.1, 0.9, 3)
        x, y = shop.uniform(-width / 2, width / 2), shop.uniform(-length / 2, length / 2)
        if shop.chance(0.5):
            shop.add(shop.cover(shapes.box(size), "any"), (x, y, size[2] / 2), shop.uniform(0, 6.3))
        else:
            shape = shapes.superquadric(size / 2, shop.uniform(0.2, 1.5), shop.uniform(0.2, 1.5))
            shop.add(shop.cover(shape.moved(rotation=random_rotation(shop.rng)).centred(), "any"), (x, y, 0))
    eye = np.array([[-width * 0.4, -length * 0.4, 0.6], [width * 0.4, length * 0.4, 1.9]])
    target = np.array([[-width / 2, -length / 2, 0.0], [width / 2, length / 2, 1.5]])
    warm = shop.uniform(0.7, 1)
    lamp = Light((shop.uniform(-1, 1), shop.uniform(-1, 1), height - 0.1), (0.8, 0.75, 0.7 * warm), 0.2)
    ambient = (np.float32([0.35, 0.36, 0.38]), np.float32([0.25, 0.22, 0.2]))
    return World(shop.whole(), shop.moving, shop.materials, [lamp], ambient, Sky(), [View(eye, target, 0.6)])
