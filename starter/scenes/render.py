"""Procedural video clips with exact depth, camera poses and intrinsics."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from starter.scenes.builder import SceneBuilder
from starter.scenes.camera_effects import CameraEffects, apply_effects, metered
from starter.scenes.camera_paths import Poses, choose
from starter.scenes.furniture import FurnitureLibrary
from starter.scenes.layouts.close import clutter, inside, pile, tabletop
from starter.scenes.layouts.outdoor import nature, plaza, street, structure
from starter.scenes.layouts.rooms import corridor, kitchen, office, room, store
from starter.scenes.raycast import Camera
from starter.scenes.shading import Renderer
from training.clips import Clip
from video_depth_anything.errors import UsageError

KINDS = {
    layout.__name__: layout
    for layout in (
        *(room, kitchen, office, corridor, store),
        *(tabletop, inside, pile, clutter),
        *(street, nature, plaza, structure),
    )
}
# Mostly indoors and close, where cameras are held; a seventh outdoors.
SHARES = {"room": 4, "kitchen": 4, "office": 3, "corridor": 2, "store": 2, "tabletop": 4, "inside": 3}
MIX = tuple(kind for kind in KINDS for _ in range(SHARES.get(kind, 1)))


@dataclass(frozen=True)
class SceneOptions:
    """What to render.

    Attributes:
        num_frames, height, width: size of a clip.
        kinds: which of `KINDS` may be drawn, each as likely as its number of mentions.
        clean: a camera without noise, blur, exposure errors, compression or fog.
        furniture: a folder that `starter/fetch_furniture.py` filled; None for built-in shapes only.
        fps: frames per second; None draws 8 to 30 for each clip.
    """

    num_frames: int = 1
    height: int = 252
    width: int = 336
    kinds: tuple[str, ...] = MIX
    clean: bool = False
    furniture: Path | None = None
    fps: float | None = None


def render_clip(seed: int, options: SceneOptions) -> Clip:
    """Clip number `seed`: the same seed and options give the same clip on every run.

    Returns:
        A `Clip` with images (T, H, W, 3) uint8 RGB, depth (T, H, W) float32 z-depth in metres through the pixel
        centres (inf for the sky), intrinsics (3, 3) and camera-to-world poses (T, 4, 4).

    Raises:
        UsageError: an unknown kind, or no kind.
        ValueError: a size below 1.
    """
    unknown = [kind for kind in options.kinds if kind not in KINDS]
    if unknown or not options.kinds:
        raise UsageError(f"--kinds {' '.join(options.kinds)}: must be some of {', '.join(KINDS)}")
    if min(options.num_frames, options.height, options.width) < 1:
        raise ValueError("num_frames, height and width must be at least 1")
    # Separate generators, so that a clean clip shows the same scene along the same path.
    draws = [np.random.default_rng([seed, k]) for k in range(5)]
    kind = options.kinds[int(draws[0].integers(len(options.kinds)))]
    library = FurnitureLibrary(options.furniture) if options.furniture else None
    world = KINDS[kind](SceneBuilder(draws[1], library))
    if options.clean:
        world = replace(world, sky=replace(world.sky, fog=0.0))
    renderer = Renderer(world, draws[2])
    fps = options.fps or float(draws[3].uniform(8, 30))
    size = (options.height, options.width)
    poses, matrix = choose(draws[3], renderer.tracer, world.views, options.num_frames, *size, fps)
    return _film(renderer, poses, matrix, fps, options, draws[4])


def _film(
    renderer: Renderer, poses: Poses, matrix: Poses, fps: float, options: SceneOptions, rng: np.random.Generator
) -> Clip:
    effects = CameraEffects(rng, options.clean)
    images, depths, gain = [], [], 0.0
    for k, pose in enumerate(poses):
        renderer.tracer.set_time(k / fps)
        colour, depth = renderer.render(Camera(pose, matrix), options.width, options.height)
        gain = gain or metered(colour)
        flow = _flow(poses, k, matrix)
        images.append(apply_effects(colour, depth, gain, effects, flow, rng))
        depths.append(depth)
    return Clip(np.stack(images), np.stack(depths), matrix, poses)


def _flow(poses: Poses, k: int, matrix: Poses) -> tuple[float, float]:
    """How far the optical axis moves in the picture from frame k to the next, by the camera's rotation."""
    if len(poses) < 2:
        return 0.0, 0.0
    one, two = (k, k + 1) if k + 1 < len(poses) else (k - 1, k)
    ahead = poses[two][:3, :3].T @ poses[one][:3, 2]
    return float(matrix[0, 0] * ahead[0] / ahead[2]), float(matrix[1, 1] * ahead[1] / ahead[2])
