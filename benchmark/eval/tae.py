"""TAE, the temporal alignment error of predicted depth along a known camera path. Numpy alone.

Video Depth Anything (Chen et al., arXiv:2501.12375), section 4: each frame's depth is moved into the next camera, and
back, and compared with the depth predicted there. Two protocols: "paper" computes the number that is published,
"corrected" keeps points in front of the camera alone and lets the nearest win a pixel. The intrinsics of a cropped
image are the caller's to correct, with `crop_intrinsics`.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, Literal, NamedTuple

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]
Depth = npt.NDArray[np.float64]
Protocol = Literal["paper", "corrected"]
PROTOCOLS: tuple[Protocol, ...] = ("paper", "corrected")


class TaeResult(NamedTuple):
    """TAE of a sequence.

    Attributes:
        error: mean relative difference times 100, NaN where no pair could be compared.
        terms: how many directed pairs were compared.
        skipped: directed pairs that were not, for a pose that is not finite or without overlap; they count as no error
            in the "paper" protocol, as in the published numbers, and not at all in "corrected".
    """

    error: float
    terms: int
    skipped: int


def crop_intrinsics(intrinsics: Array, top: int, left: int) -> npt.NDArray[np.float64]:
    """Intrinsics in pixels, (3, 3) or (4, 4), after rows above and columns at the left were cropped away."""
    cropped = np.array(intrinsics, dtype=np.float64)
    cropped[0, 2] -= left
    cropped[1, 2] -= top
    return cropped


def move_depth(
    depth: Array, intrinsics: tuple[Array, Array], relative_pose: Array, protocol: Protocol = "paper"
) -> Depth:
    """Depth of one view as another camera sees it: points scattered to the nearest pixel, 0 where none falls.

    Args:
        depth: (H, W), metres along the optical axis.
        intrinsics: (3, 3) in pixels, pixel centres at whole numbers, of the view and of the other camera.
        relative_pose: (4, 4), from the view's camera to the other.
        protocol: "paper": of several points in a pixel the last in row-major order stays, points behind the camera
            included; "corrected": the nearest in front of it.

    Returns:
        (H, W) float64, metres; under "paper" also negative ones.
    """
    height, width = depth.shape
    y, x = np.mgrid[:height, :width]
    rays = np.linalg.inv(intrinsics[0][:3, :3]) @ np.stack([x, y, np.ones_like(x)]).reshape(3, -1).astype(np.float64)
    points = relative_pose[:3, :3] @ (rays * depth.reshape(-1)) + relative_pose[:3, 3:]
    seen = intrinsics[1][:3, :3] @ points
    with np.errstate(divide="ignore", invalid="ignore"):
        column, row = np.rint(seen[0] / seen[2]), np.rint(seen[1] / seen[2])
    inside = (column >= 0) & (column < width) & (row >= 0) & (row < height)
    if protocol == "corrected":
        inside &= points[2] > 0
    z = points[2, inside]
    target = row[inside].astype(np.int64) * width + column[inside].astype(np.int64)
    if protocol == "corrected":
        # Farthest first: of repeated indices numpy keeps the last value.
        order = np.argsort(-z, kind="stable")
        z, target = z[order], target[order]
    moved = np.zeros(height * width)
    moved[target] = z
    return moved.reshape(height, width)


def relative_difference(moved: Array, depth: Array) -> float | None:
    """Mean |depth - moved| / depth where both, (H, W) in metres, are above 0; None if that is nowhere."""
    both = (moved > 0) & (depth > 0)
    if not both.any():
        return None
    return float(np.mean(np.abs(depth[both] - moved[both]) / depth[both]))


def temporal_alignment_error(
    depths: Iterable[Array],
    poses: Sequence[Array] | Array,
    intrinsics: Array | Sequence[Array],
    protocol: Protocol = "paper",
) -> TaeResult:
    """TAE of a sequence.

    Args:
        depths: T predicted, aligned maps (H, W) in metres; read one by one.
        poses: T matrices (4, 4), camera to world, in metres with OpenCV axes.
        intrinsics: one (3, 3) or (4, 4) matrix, or T of them, in pixels of the maps. The published numbers used those
            of the uncropped image for cropped maps.
        protocol: see `move_depth`.

    Raises:
        ValueError: if the numbers of depths and poses differ, or the protocol is unknown.
    """
    if protocol not in PROTOCOLS:
        raise ValueError(f"unknown protocol {protocol!r}; use one of {', '.join(PROTOCOLS)}")
    matrices = np.asarray(intrinsics, dtype=np.float64)
    cameras = np.broadcast_to(matrices, (len(poses), *matrices.shape[-2:]))
    terms: list[float | None] = []
    previous: Array | None = None
    count = 0
    for count, depth in enumerate(depths, start=1):
        if count > len(poses):
            break
        if previous is not None:
            pair = (count - 2, count - 1)
            terms += _both_ways((previous, depth), [poses[i] for i in pair], [cameras[i] for i in pair], protocol)
        previous = depth
    if count != len(poses):
        raise ValueError(f"{'more' if count > len(poses) else count} depth maps for {len(poses)} poses")
    known = [term for term in terms if term is not None]
    counted = len(terms) if protocol == "paper" else len(known)
    error = 100 * sum(known) / counted if known else float("nan")
    return TaeResult(error, len(known), len(terms) - len(known))


def _both_ways(
    depths: tuple[Array, Array], poses: Sequence[Array], cameras: Sequence[Array], protocol: Protocol
) -> list[float | None]:
    if not (np.isfinite(poses[0]).all() and np.isfinite(poses[1]).all()):
        return [None, None]
    terms = []
    for source, target in ((0, 1), (1, 0)):
        relative = np.linalg.inv(poses[target]) @ poses[source]
        moved = move_depth(depths[source], (cameras[source], cameras[target]), relative, protocol)
        terms.append(relative_difference(moved, depths[target]))
    return terms
