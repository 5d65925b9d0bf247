"""Procedural textures: 256 x 256 tiles that wrap round, drawn by number and kept for the next scene."""

from __future__ import annotations

from functools import lru_cache

import cv2
import numpy as np
import numpy.typing as npt

from starter.scenes.world import TEXTURE_SIZE as SIZE
from starter.scenes.world import Texture

Field = npt.NDArray[np.float32]
POOL = 48  # textures of each family; scenes recolour, turn and scale them


@lru_cache(maxsize=1024)
def texture(family: str, number: int) -> Texture:
    """Texture `number` (taken modulo the pool) of a family of `FAMILIES`: (256, 256, 3) uint8 RGB."""
    rng = np.random.default_rng([sorted(FAMILIES).index(family), number % POOL, 77])
    drawn = FAMILIES[family](rng)
    if drawn.ndim == 2:
        drawn = np.repeat(drawn[..., None], 3, -1)
    return np.ascontiguousarray((np.clip(drawn, 0, 1) * 255).astype(np.uint8))


def draw(rng: np.random.Generator, families: tuple[str, ...], first: int) -> Texture:
    """A random texture of one of the families, out of a few from number `first` on: a scene holds not too many."""
    family = families[int(rng.integers(len(families)))]
    return texture(family, first + int(rng.integers(14 if family == "picture" else 4)))


def noise(rng: np.random.Generator, cells: tuple[int, int] = (8, 8), octaves: int = 5, gain: float = 0.5) -> Field:
    """Value noise of mean about 0.5 that wraps round; `cells` are the coarsest bumps across and down."""
    total, weight = np.zeros((SIZE, SIZE), np.float32), 0.0
    for octave in range(octaves):
        w, h = (min(cell * 2**octave, SIZE) for cell in cells)
        grid = np.pad(rng.random((h, w), np.float32), 4, "wrap")
        # cv2.resize samples at pixel centres, so that a wrapped border of 4 cells scales to 4 cells of pixels.
        big = cv2.resize(grid, (SIZE // w * (w + 8), SIZE // h * (h + 8)), interpolation=cv2.INTER_CUBIC)
        top, left = 4 * (SIZE // h), 4 * (SIZE // w)
        part = big[top : top + SIZE // h * h, left : left + SIZE // w * w]
        total += cv2.resize(part, (SIZE, SIZE)) * gain**octave
        weight += gain**octave
    return np.clip((total / weight - 0.5) * 1.6 + 0.5, 0, 1)


def _power_of_two(rng: np.random.Generator, low: int, high: int) -> int:
    return int(2 ** rng.integers(low, high + 1))


def _clouds(rng: np.random.Generator) -> Field:
    n = _power_of_two(rng, 1, 3)
    return noise(rng, (n, n), 6, 0.55)


def _plaster(rng: np.random.Generator) -> Field:
    n = _power_of_two(rng, 2, 6)
    return 0.5 + (noise(rng, (n, n), 4, 0.7) - 0.5) * rng.uniform(0.1, 0.6)


def _speckle(rng: np.random.Generator) -> Field:
    n = _power_of_two(rng, 5, 7)
    grain = noise(rng, (n, n), 2, 0.8)
    return np.where(grain > rng.uniform(0.4, 0.7), grain, 0.3 + 0.3 * noise(rng)).astype(np.float32)


def _warp(field: Field, rng: np.random.Generator, amount: float) -> Field:
    x, y = np.meshgrid(np.arange(SIZE, dtype=np.float32), np.arange(SIZE, dtype=np.float32))
    dx, dy = ((noise(rng, (4, 4), 3) - 0.5) * amount for _ in range(2))
    bent = cv2.remap(field, np.mod(x + dx, SIZE - 1), np.mod(y + dy, SIZE - 1), cv2.INTER_LINEAR)
    return np.asarray(bent, np.float32)


def _wood(rng: np.random.Generator) -> Field:
    grain = noise(rng, (2, _power_of_two(rng, 4, 6)), 4, 0.6)
    return _warp(grain, rng, rng.uniform(0, 30))


def _planks(rng: np.random.Generator) -> Field:
    rows = _power_of_two(rng, 2, 4)
    grain = noise(rng, (2, 64), 3, 0.6)
    height = SIZE // rows
    out = np.empty((SIZE, SIZE), np.float32)
    for row in range(rows):
        part = np.roll(grain, int(rng.integers(SIZE)), 1)[row * height : (row + 1) * height]
        cut = int(rng.integers(SIZE))
        tone = np.where(np.arange(SIZE) < cut, rng.uniform(-0.2, 0.2), rng.uniform(-0.2, 0.2))
        strip = part * 0.5 + 0.25 + tone[None]
        strip[:, max(cut - 1, 0) : cut + 1] = 0.05
        strip[:1] = 0.05
        out[row * height : (row + 1) * height] = strip
    return out


def _marble(rng: np.random.Generator) -> Field:
    n = _power_of_two(rng, 1, 3)
    veins = np.abs(noise(rng, (n, n), 6, 0.6) - 0.5) * 2
    return (np.clip(veins * rng.uniform(2, 5), 0, 1) * 0.8 + 0.2 * noise(rng)).astype(np.float32)


def _grid(rng: np.random.Generator, columns: int, rows: int, shifted: bool) -> tuple[Field, Field]:
    """Number of the cell at each texel, and distance in texels to the nearest joint."""
    y, x = np.meshgrid(np.arange(SIZE), np.arange(SIZE), indexing="ij")
    row = y * rows // SIZE
    moved = x + (row % 2) * (SIZE // columns // 2) * shifted
    column = moved * columns // SIZE % columns
    dx = np.minimum(moved % (SIZE / columns), SIZE / columns - moved % (SIZE / columns))
    dy = np.minimum(y % (SIZE / rows), SIZE / rows - y % (SIZE / rows))
    return rng.random(rows * columns, np.float32)[row * columns + column], np.minimum(dx, dy).astype(np.float32)


def _tiles(rng: np.random.Generator) -> Field:
    n = _power_of_two(rng, 1, 4)
    tone, joint = _grid(rng, n, n, False)
    surface = 0.7 + (tone - 0.5) * rng.uniform(0, 0.5) + (noise(rng) - 0.5) * rng.uniform(0, 0.4)
    return np.where(joint < rng.uniform(1, 3), rng.choice([0.1, 1.0]), surface).astype(np.float32)


def _bricks(rng: np.random.Generator) -> Field:
    rows = _power_of_two(rng, 3, 4)
    tone, joint = _grid(rng, rows // 2, rows, True)
    surface = 0.45 + (tone - 0.5) * 0.5 + (noise(rng, (32, 32), 3, 0.7) - 0.5) * 0.3
    return np.where(joint < rng.uniform(1.5, 2.5), rng.choice([0.15, 0.9]), surface).astype(np.float32)


def _checker(rng: np.random.Generator) -> Field:
    n = _power_of_two(rng, 1, 4)
    y, x = np.meshgrid(np.arange(SIZE) * n // SIZE, np.arange(SIZE) * n // SIZE, indexing="ij")
    return ((x + y) % 2 * 0.7 + 0.15 + (noise(rng) - 0.5) * 0.2).astype(np.float32)


def _stripes(rng: np.random.Generator) -> Field:
    x = np.arange(SIZE) / SIZE * 2 * np.pi
    wave = sum(np.sin(x * k + rng.uniform(0, 6.3)) * rng.uniform(0, 1) for k in rng.integers(1, 40, 4))
    lines = np.sign(wave) if rng.random() < 0.5 else np.clip(np.asarray(wave), -1, 1)
    field = np.broadcast_to(0.5 + 0.4 * np.asarray(lines), (SIZE, SIZE)).astype(np.float32)
    return (field + (noise(rng) - 0.5) * 0.15).astype(np.float32)


def _fabric(rng: np.random.Generator) -> Field:
    n = int(rng.choice([16, 32, 64]))
    y, x = np.meshgrid(np.arange(SIZE), np.arange(SIZE), indexing="ij")
    weave = np.sin(x * 2 * np.pi * n / SIZE) * np.sin(y * 2 * np.pi * n / SIZE)
    return (0.5 + 0.2 * weave + (noise(rng, (64, 64), 2) - 0.5) * 0.5).astype(np.float32)


def _carpet(rng: np.random.Generator) -> Field:
    fine = noise(rng, (128, 128), 2, 1.0)
    return (0.3 + 0.4 * fine + 0.3 * noise(rng, (4, 4), 4)).astype(np.float32)


def _cells(rng: np.random.Generator) -> Field:
    """Distance to the nearest of scattered points (Worley 1996): gravel, leaves, stones, leather."""
    n = int(rng.integers(20, 250))
    marks = np.full((SIZE * 3, SIZE * 3), 255, np.uint8)
    spots = rng.integers(0, SIZE, (n, 2))
    for dx in range(3):
        for dy in range(3):
            marks[spots[:, 0] + dy * SIZE, spots[:, 1] + dx * SIZE] = 0
    far = cv2.distanceTransform(marks, cv2.DIST_L2, 3)[SIZE : 2 * SIZE, SIZE : 2 * SIZE]
    field = np.clip(far / np.sqrt(SIZE * SIZE / n) * 1.4, 0, 1)
    return (field if rng.random() < 0.5 else 1 - field).astype(np.float32)


def _stains(rng: np.random.Generator) -> Field:
    return np.clip((noise(rng, (4, 4), 6, 0.6) - 0.5) * rng.uniform(2, 8) + 0.5, 0, 1)


def _text(picture: npt.NDArray[np.uint8], rng: np.random.Generator, box: tuple[int, int, int, int]) -> None:
    """Lines of random letters inside (left, top, right, bottom)."""
    left, top, right, bottom = box
    size = float(rng.uniform(0.3, 1.2))
    colour = tuple(int(c) for c in rng.integers(0, 256, 3))
    y = top + int(24 * size) + 2
    while y < bottom:
        word = "".join(chr(int(c)) for c in rng.choice([*range(65, 91), *range(97, 123), 32, 32, *range(48, 58)], 40))
        keep = max(1, int((right - left) / (20 * size)))
        cv2.putText(
            picture, word[:keep], (left, y), int(rng.integers(0, 5)), size, colour, 1 + int(size > 0.8), cv2.LINE_AA
        )
        y += int(30 * size)


def _picture(rng: np.random.Generator) -> Field:
    """Posters, book covers, packages: shapes and text on a coloured ground."""
    picture = np.empty((SIZE, SIZE, 3), np.uint8)
    picture[:] = rng.integers(0, 256, 3) if rng.random() < 0.6 else rng.integers(200, 256)
    if rng.random() < 0.4:
        shade = noise(rng, (2, 2), 5)[..., None]
        picture[:] = (shade * rng.integers(0, 256, 3) + (1 - shade) * rng.integers(0, 256, 3)).astype(np.uint8)
    for _ in range(int(rng.integers(1, 9))):
        colour = tuple(int(c) for c in rng.integers(0, 256, 3))
        a, b = (tuple(int(c) for c in rng.integers(0, SIZE, 2)) for _ in range(2))
        kind = rng.integers(4)
        if kind == 0:
            cv2.rectangle(picture, a, b, colour, -1)
        elif kind == 1:
            cv2.circle(picture, a, int(rng.integers(5, 80)), colour, -1, cv2.LINE_AA)
        elif kind == 2:
            cv2.line(picture, a, b, colour, int(rng.integers(1, 20)), cv2.LINE_AA)
        else:
            cv2.fillPoly(picture, [rng.integers(0, SIZE, (int(rng.integers(3, 7)), 2)).astype(np.int32)], colour)
    for _ in range(int(rng.integers(0, 4))):
        left, top = (int(c) for c in rng.integers(5, 180, 2))
        _text(picture, rng, (left, top, int(rng.integers(left + 40, SIZE)), int(rng.integers(top + 20, SIZE))))
    return picture.astype(np.float32) * np.float32(1 / 255)


def _page(rng: np.random.Generator) -> Field:
    """Printed paper: grey lines of text, perhaps a picture."""
    picture = np.full((SIZE, SIZE, 3), 250, np.uint8)
    for y in range(20, 240, int(rng.integers(7, 14))):
        x = 20
        while x < 220:
            end = min(x + int(rng.integers(6, 40)), 235)
            cv2.line(picture, (x, y), (end, y), (70, 70, 75), int(rng.integers(1, 4)))
            x = end + 6
    if rng.random() < 0.5:
        top = int(rng.integers(10, 130))
        colour = tuple(int(c) for c in rng.integers(0, 256, 3))
        cv2.rectangle(picture, (int(rng.integers(10, 120)), top), (235, top + int(rng.integers(30, 110))), colour, -1)
    return picture.astype(np.float32) * np.float32(1 / 255)


def _windows(rng: np.random.Generator) -> Field:
    """A facade: rows of windows, some lit, in a wall."""
    columns, rows = (int(rng.integers(2, 6)) for _ in range(2))
    picture = np.empty((SIZE, SIZE, 3), np.float32)
    picture[:] = rng.uniform(0.2, 0.9, 3) * 0.3 + rng.uniform(0.2, 0.6)
    picture += (noise(rng, (16, 16), 4)[..., None] - 0.5) * 0.15
    w, h = SIZE / columns, SIZE / rows
    inset = rng.uniform(0.1, 0.3, 2)
    for i in range(columns):
        for j in range(rows):
            x0, x1 = int((i + inset[0]) * w), int((i + 1 - inset[0]) * w)
            y0, y1 = int((j + inset[1]) * h), int((j + 1 - inset[1]) * h)
            picture[y0 - 2 : y1 + 2, x0 - 2 : x1 + 2] = rng.choice([0.9, 0.2])
            glass = rng.uniform(0.05, 0.35) if rng.random() < 0.8 else rng.uniform(0.6, 1)
            picture[y0:y1, x0:x1] = glass * np.linspace(1.2, 0.8, max(y1 - y0, 1))[:, None, None]
            picture[y0:y1, (x0 + x1) // 2] = 0.6
    return picture


FAMILIES = {
    drawer.__name__.lstrip("_"): drawer
    for drawer in (
        *(_clouds, _plaster, _speckle, _wood, _planks, _marble, _tiles, _bricks, _checker),
        *(_stripes, _fabric, _carpet, _cells, _stains, _picture, _page, _windows),
    )
}
