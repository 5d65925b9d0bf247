"""What the readers of the datasets' own layouts give: scenes of frames, as paths to what was downloaded."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from benchmark.index import Matrix
from video_depth_anything.errors import InputError
from video_depth_anything.video.inputs import natural_key


@dataclass(frozen=True)
class RawFrame:
    """One downloaded frame.

    Attributes:
        image: the downloaded file.
        depth: the downloaded file.
        image_name: where the extracted image goes, below the set's folder.
        depth_name: where the extracted depth goes.
        uncropped_name: where the whole image goes besides; None if it is not wanted.
        factor: one metre in the depth image, None for the set's own.
        intrinsics: as `index.Frame` has them.
        pose: as `index.Frame` has it.
    """

    image: Path
    depth: Path
    image_name: str
    depth_name: str
    uncropped_name: str | None = None
    factor: float | None = None
    intrinsics: Matrix | None = None
    pose: Matrix | None = None


@dataclass(frozen=True)
class RawScene:
    """One downloaded video, frames in the order of time."""

    name: str
    frames: tuple[RawFrame, ...]


def folder(path: Path, what: str) -> Path:
    """The path, if it is a folder; if not, the error tells `what` it should hold."""
    if not path.is_dir():
        raise InputError(f"{path} not found; it should hold {what} (--root names the folder it was unpacked in)")
    return path


def scene_folders(root: Path, what: str, names: Sequence[str] | None = None) -> list[Path]:
    """Folders of scenes, in the order of their names."""
    folder(root, what)
    found = sorted((p for p in root.iterdir() if p.is_dir() and not p.name.startswith(".")), key=lambda p: p.name)
    if names is not None:
        missing = sorted(set(names) - {p.name for p in found})
        if missing:
            raise InputError(f"{root} lacks {', '.join(missing)}; select others with --scenes")
        found = [p for p in found if p.name in names]
    if not found:
        raise InputError(f"{root} is empty; it should hold {what}")
    return found


def files(path: Path, pattern: str) -> list[Path]:
    """Files in a folder that match, frame2 before frame10."""
    found = sorted((p for p in path.glob(pattern) if not p.name.startswith(".")), key=natural_key)
    if not found:
        raise InputError(f"{path}: no {pattern} there; unpack the dataset as docs/lab/benchmark.md says")
    return found


def read_matrix(path: Path) -> npt.NDArray[np.float64]:
    """A matrix (4, 4) of numbers in a text file; infinities are let through."""
    try:
        matrix = np.loadtxt(path, dtype=np.float64)
    except (OSError, ValueError) as error:
        raise InputError(f"{path}: not a file with a 4x4 matrix ({error})") from error
    if matrix.shape != (4, 4):
        raise InputError(f"{path}: holds {matrix.shape} numbers, not a 4x4 matrix")
    return matrix


def check_files(paths: Iterable[Path]) -> None:
    """Raise `InputError` with the number and the first of the files that are missing, if any is."""
    missing = [path for path in paths if not path.is_file()]
    if missing:
        more = f", {missing[1]}" if len(missing) > 1 else ""
        raise InputError(f"{len(missing)} files are missing: {missing[0]}{more}{' ...' if len(missing) > 2 else ''}")
