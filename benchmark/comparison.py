"""Several systems' predictions for one scene side by side: curves over its frames, and a video grid."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from itertools import cycle
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from benchmark.eval.evaluation import SceneResult, evaluate_scene
from benchmark.eval.metrics import Alignment, align_depth, valid_mask
from benchmark.eval.results import COLUMNS, Table, markdown
from benchmark.eval.sequence import Sequence as DepthSequence
from video_depth_anything.files import whole_file
from video_depth_anything.outputs.colormap import PERCENTILES, color_table, in_colors, levels_of
from video_depth_anything.video.writer import VideoWriter

Image = npt.NDArray[np.uint8]
CURVES = ("abs_relative_difference", "delta1_acc")
# Lines that lie on each other can all be seen.
LINE_STYLES = ("-", "--", "-.", ":")
UNKNOWN = np.array([60, 60, 60], dtype=np.uint8)
LABEL_HEIGHT = 22


SystemSequence = tuple[str, DepthSequence]


@dataclass(frozen=True)
class SystemScene:
    """The ground truth and one system's predictions for a scene, and what was measured of them."""

    system: str
    sequence: DepthSequence
    result: SceneResult

    def by_image(self) -> dict[str, int]:
        """Number of each frame that has a prediction, by its image's name."""
        return {frame.image: index for index, frame in enumerate(self.sequence.frames)}


def evaluate_systems(
    opened: Sequence[Sequence[SystemSequence]], max_depth: float, alignment: Alignment, advance: Callable[[], None]
) -> list[SystemScene]:
    """Measure all systems on all scenes; what a system has no prediction for is left out of its results."""
    return [
        SystemScene(name, sequence, evaluate_scene(sequence, max_depth, alignment, advance))
        for systems in opened
        for name, sequence in systems
        if len(sequence)
    ]


def comparison_table(metrics: dict[str, dict[str, float]], missing: dict[str, int]) -> Table:
    """A row for each system; where they differ, a star marks the best of each column."""
    columns = [name for name in COLUMNS if any(name in found for found in metrics.values())]
    rows = [["", *(COLUMNS[name][0] for name in columns), "missing"]]
    for system, found in metrics.items():
        cells = []
        for name in columns:
            values = [other[name] for other in metrics.values() if math.isfinite(other[name])]
            text = f"{found[name]:.{COLUMNS[name][1]}f}" if math.isfinite(found[name]) else "-"
            best = (max if name.startswith(("delta", "boundary")) else min)(values, default=math.nan)
            cells.append(f"*{text}" if found[name] == best and min(values) < max(values) else text)
        rows.append([system, *cells, str(missing[system])])
    return rows


def write_table(path: Path, table: Table, title: str) -> None:
    """Write a comparison as Markdown."""
    with whole_file(path) as partial:
        partial.write_text(f"# {title}\n\n{markdown(table)}\n".replace("*", "\\*"))


def plot_curves(path: Path, scenes: Sequence[SystemScene], images: Sequence[str], title: str) -> None:
    """Plot AbsRel and delta1 over a scene's frames, a line for each system, with gaps at frames without a metric."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(len(CURVES), 1, sharex=True, figsize=(9, 5.5), layout="constrained")
    for axis, name in zip(axes, CURVES):
        for scene, style in zip(scenes, cycle(LINE_STYLES)):
            values = np.full(len(images), np.nan)
            numbers = scene.by_image()
            for k, image in enumerate(images):
                measured = scene.result.per_frame[numbers[image]] if image in numbers else None
                values[k] = math.nan if measured is None else getattr(measured, name)
            axis.plot(values, style, label=f"{scene.system} (mean {scene.result.metrics[name]:.3f})", linewidth=1.5)
        axis.set_ylabel(COLUMNS[name][0] + (", higher is better" if name.startswith("delta") else ", lower is better"))
        axis.grid(alpha=0.3)
        axis.legend(fontsize=8)
    axes[0].set_title(title)
    axes[-1].set_xlabel("frame")
    with whole_file(path) as partial:
        figure.savefig(partial, dpi=110)
    pyplot.close(figure)


def disparity_range(sequence: DepthSequence, max_depth: float) -> tuple[float, float]:
    """Range of true disparity that colours span, in 1/metres, from a few frames of a scene."""
    samples = []
    for index in np.unique(np.linspace(0, len(sequence) - 1, 8).astype(int)).tolist():
        truth = sequence.pair(index)[0]
        samples.append(1 / truth[valid_mask(truth, max_depth)])
    known = np.concatenate(samples)
    low, high = np.percentile(known, PERCENTILES) if known.size else (0.0, 1.0)
    return float(low), float(high)


def grid_frames(
    scenes: Sequence[SystemScene], images: Sequence[str], max_depth: float, tile_height: int
) -> Iterator[Image]:
    """Frames (H, W, 3) uint8 RGB of the grid: source, ground truth, each system's aligned disparity in its colours.

    Pixels without ground truth, and frames without prediction, are gray. `scenes` are one scene, by system; `images`
    are all its frames in order; `max_depth` is in metres, `tile_height` in pixels.
    """
    ends, table = disparity_range(scenes[0].sequence, max_depth), color_table("inferno")
    numbers = [scene.by_image() for scene in scenes]
    tile: _Tiles | None = None
    for image in images:
        known = [(scene, by[image]) for scene, by in zip(scenes, numbers) if image in by]
        if not known:
            continue
        sequence, index = known[0][0].sequence, known[0][1]
        truth = sequence.pair(index)[0]
        tile = tile or _Tiles(truth.shape, tile_height, 2 + len(scenes))
        shown = np.where(
            valid_mask(truth, max_depth)[..., None],
            in_colors(levels_of(1 / np.maximum(truth, 1e-6), *ends), table),
            UNKNOWN,
        )
        pictures = [("source", sequence.image(index)), ("ground truth", shown)]
        for scene, by in zip(scenes, numbers):
            if image in by:
                disparity = scene.sequence.pair(by[image])[1]
                picture = in_colors(levels_of(1 / align_depth(disparity, scene.result.fit, max_depth), *ends), table)
            else:
                picture = np.broadcast_to(UNKNOWN, (*truth.shape, 3))
            pictures.append((scene.system, picture))
        yield tile.join(pictures)


class _Tiles:
    """Lays pictures with their names out in rows, all as large as the first grid's tiles."""

    def __init__(self, size: tuple[int, ...], height: int, count: int) -> None:
        self._size = (height, max(round(size[1] * height / size[0] / 2) * 2, 2))
        self._columns = math.ceil(math.sqrt(count))
        self._rows = math.ceil(count / self._columns)

    def join(self, pictures: Sequence[tuple[str, npt.NDArray[Any]]]) -> Image:
        height, width = self._size
        rows, columns = self._rows, self._columns
        grid = np.zeros((rows * (height + LABEL_HEIGHT), columns * width, 3), dtype=np.uint8)
        for k, (name, picture) in enumerate(pictures):
            top, left = k // columns * (height + LABEL_HEIGHT), k % columns * width
            resized = cv2.resize(np.asarray(picture, dtype=np.uint8), (width, height), interpolation=cv2.INTER_AREA)
            grid[top + LABEL_HEIGHT : top + LABEL_HEIGHT + height, left : left + width] = resized
            label = np.zeros((LABEL_HEIGHT, width, 3), dtype=np.uint8)
            font = cv2.FONT_HERSHEY_SIMPLEX
            cv2.putText(label, name, (6, 16), font, 0.5, (255, 255, 255), 1, cv2.LINE_AA)
            grid[top : top + LABEL_HEIGHT, left : left + width] = label
        return grid


def write_grid(path: Path, frames: Iterator[Image], fps: Fraction, advance: Callable[[], None]) -> None:
    """Write frames of one size as a video; nothing stays if that fails."""
    writer: VideoWriter | None = None
    try:
        for frame in frames:
            writer = writer or VideoWriter(path, (frame.shape[0], frame.shape[1]), fps)
            writer.write(frame)
            advance()
    except BaseException:
        if writer is not None:
            writer.abort()
        raise
    if writer is not None:
        writer.close()
