"""Camera paths: handheld walks, pans, orbits and stills, kept out of walls and furniture."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from starter.scenes.raycast import Camera, Tracer, pixels
from starter.scenes.world import View

Poses = npt.NDArray[np.float64]


def look_at(eye: npt.ArrayLike, target: npt.ArrayLike, roll: float = 0.0) -> npt.NDArray[np.float64]:
    """(4, 4) camera-to-world pose in OpenCV axes at `eye`, looking at `target`, z up, rolled by `roll` radians."""
    place = np.asarray(eye, np.float64)
    forward = np.asarray(target, np.float64) - place
    forward = forward / max(float(np.linalg.norm(forward)), 1e-9)
    # Straight up or down there is no horizon; any sideways direction serves.
    up = np.array([0.0, 0, 1]) if abs(forward[2]) < 0.999 else np.array([0.0, 1, 0])
    right = np.cross(forward, up)
    right /= np.linalg.norm(right)
    down = np.cross(forward, right)
    c, s = np.cos(roll), np.sin(roll)
    pose = np.eye(4)
    pose[:3, :3] = np.stack([c * right + s * down, c * down - s * right, forward], axis=1)
    pose[:3, 3] = place
    return pose


def intrinsics(fov: float, height: int, width: int, shift: tuple[float, float] = (0.0, 0.0)) -> npt.NDArray[np.float64]:
    """(3, 3) matrix of a camera with horizontal field of view `fov` degrees and its centre shifted by pixels."""
    focal = width / 2 / np.tan(np.radians(fov) / 2)
    x, y = (width - 1) / 2 + shift[0], (height - 1) / 2 + shift[1]
    return np.array([[focal, 0, x], [0, focal, y], [0, 0, 1.0]])


def path(rng: np.random.Generator, view: View, frames: int, fps: float) -> Poses:
    """(T, 4, 4) poses of a smooth random motion inside a view."""
    eye = rng.uniform(view.eye[0], view.eye[1])
    target = rng.uniform(view.target[0], view.target[1])
    if view.pitch:
        pitch, way = np.radians(np.clip(rng.normal(*view.pitch), -75, 40)), rng.uniform(0, 2 * np.pi)
        target = eye + 2 * np.array([np.cos(way) * np.cos(pitch), np.sin(way) * np.cos(pitch), np.sin(pitch)])
    roll = float(rng.normal(0, view.roll))
    time = np.arange(frames) / fps
    speed = view.step * rng.uniform(0.1, 1.2) * (rng.random() < 0.9)
    heading = rng.uniform(0, 2 * np.pi)
    away = target - eye
    kind = rng.choice(["walk", "dolly", "orbit", "pan"], p=[0.4, 0.25, 0.2, 0.15])
    along = np.array([np.cos(heading), np.sin(heading), rng.normal(0, 0.2)])
    if kind == "dolly":
        along = away / max(float(np.linalg.norm(away)), 1e-6) * rng.choice([-1, 1])
    moves = time[:, None] * speed * along
    targets = np.repeat(target[None], frames, 0)
    if kind == "walk":
        targets = targets + moves * rng.uniform(0.3, 1)
    if kind == "pan":
        side = np.array([-away[1], away[0], rng.normal(0, 0.3) * np.linalg.norm(away)])
        targets = targets + time[:, None] * side * rng.normal(0, 0.5)
        moves = moves * 0.2
    if kind == "orbit":
        angle = time * rng.normal(0, 0.35)
        c, s = np.cos(angle), np.sin(angle)
        turned = np.stack([c * away[0] - s * away[1], s * away[0] + c * away[1], np.full(frames, away[2])], -1)
        moves = target - turned - eye
    shake = _shake(rng, frames, fps, 0.01 * view.step * rng.uniform(0, 2), 3)
    sway = _shake(rng, frames, fps, 0.012 * float(np.linalg.norm(away)) * rng.uniform(0, 2), 3)
    rolls = roll + _shake(rng, frames, fps, 0.012, 1)[:, 0]
    return np.stack([look_at(eye + m + a, t + b, r) for m, a, t, b, r in zip(moves, shake, targets, sway, rolls)])


def _shake(rng: np.random.Generator, frames: int, fps: float, amount: float, axes: int) -> npt.NDArray[np.float64]:
    """(T, axes) handheld tremble: a few slow sines."""
    time = np.arange(frames)[:, None] / fps
    total = np.zeros((frames, axes))
    for rate in (0.7, 1.6, 3.1):
        total += amount / rate * np.sin(2 * np.pi * rate * time + rng.uniform(0, 6.3, axes)) * rng.normal(size=axes)
    return total


def choose(
    rng: np.random.Generator, tracer: Tracer, views: list[View], frames: int, height: int, width: int, fps: float
) -> tuple[Poses, npt.NDArray[np.float64]]:
    """Poses (T, 4, 4) and intrinsics (3, 3) of the first path drawn that sees enough, else of the best.

    A view is drawn and tried several times before others are: else what is hard to see well would be rare.
    """
    best: tuple[float, Poses, npt.NDArray[np.float64]] | None = None
    weights = np.array([view.weight for view in views])
    view = views[0]
    for attempt in range(16):
        if attempt == 0 or attempt >= 10:
            view = views[int(rng.choice(len(views), p=weights / weights.sum()))]
        poses = path(rng, view, frames, fps)
        matrix = intrinsics(float(rng.uniform(*view.fov)), height, width, tuple(rng.normal(0, 0.01 * width, 2)))
        wanted = float(rng.uniform(0, 0.12))
        score = min(_worth(tracer, poses[k], matrix, height, width, view, wanted) for k in {0, frames // 2, frames - 1})
        if best is None or score > best[0]:
            best = (score, poses, matrix)
        if score >= 1:
            break
    assert best is not None
    return best[1], best[2]


def _worth(
    tracer: Tracer,
    pose: npt.NDArray[np.float64],
    matrix: npt.NDArray[np.float64],
    height: int,
    width: int,
    view: View,
    wanted: float,
) -> float:
    """1 for a good view; less if too near, flat or empty, or if outlines fill less than the share `wanted`."""
    small = matrix.copy()
    small[:2] *= 32 / width
    rows = max(8, round(32 * height / width))
    depth = tracer.depth(Camera(pose, small), 32, rows)
    near = np.where(np.isfinite(depth), 1 / np.maximum(depth, 1e-3), 0)
    if view.flat:
        return _front_worth(tracer, Camera(pose, small), rows)
    limit = 0.12 * min(view.step, 1.0) + 0.08
    crowded = float((depth < limit).mean())
    empty = float((near == 0).mean())
    low, high = np.percentile(near, [5, 95])
    spread = float((high - low) / max(high, 1e-6))
    step = np.abs(np.diff(near, axis=1))[1:] + np.abs(np.diff(near, axis=0))[:, 1:]
    outlines = float((step > 0.12 * np.maximum(near[1:, 1:], 1e-6)).mean())
    bare = max(0.0, wanted - outlines) * 2
    return 1 - max(0.0, crowded - 0.02) * 5 - max(0.0, empty - 0.7) - max(0.0, 0.25 - spread) - bare


def _front_worth(tracer: Tracer, camera: Camera, rows: int) -> float:
    """1 for a front of several materials, 1 to 2 metres away and little of it nearer or farther; less for others."""
    hits = tracer.cast(camera.origin, camera.directions(*pixels(32, rows)))
    if np.isinf(hits.distance).any():
        return 0.0
    low, middle, high = np.percentile(hits.distance, [5, 50, 95])
    off = max(0.0, 0.9 - float(middle)) + max(0.0, float(middle) - 2.1) + max(0.0, float(high / low) - 2.2)
    plain = len(np.unique(tracer.material[hits.triangle])) < 3
    return 1 - off - 0.5 * plain
