"""Depth metrics: one alignment per sequence, then the metrics of each frame, then their mean. Numpy alone.

Protocol of Video Depth Anything (Chen et al., arXiv:2501.12375), which follows DepthCrafter (Hu et al.,
arXiv:2409.02095): the prediction is a disparity that is right up to one scale and shift for the whole sequence.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, fields
from typing import Any, Literal, NamedTuple

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]
Mask = npt.NDArray[np.bool_]
Depth = npt.NDArray[np.float64]
Alignment = Literal["scale_shift", "scale", "median", "none"]
ALIGNMENTS: tuple[Alignment, ...] = ("scale_shift", "scale", "median", "none")

# Of predicted disparity before and after alignment, and of depth: what is nearer to zero counts as this.
FLOOR = 1e-3


class ScaleShift(NamedTuple):
    """Aligned disparity = scale * predicted disparity + shift, in 1/metres."""

    scale: float
    shift: float


class SequenceFit:
    """Fits scale and shift of one sequence; frames are added one by one.

    Memory: five sums, but "median" keeps every valid pixel in float32.

    Args:
        alignment: "scale_shift": least squares from disparity to 1 / ground truth; "scale": the same without a shift;
            "median": the ratio of the medians; "none": nothing is fitted.

    Raises:
        ValueError: if the alignment is unknown.
    """

    def __init__(self, alignment: Alignment = "scale_shift") -> None:
        if alignment not in ALIGNMENTS:
            raise ValueError(f"unknown alignment {alignment!r}; use one of {', '.join(ALIGNMENTS)}")
        self.alignment = alignment
        self.num_pixels = 0
        self._sums = np.zeros(4)  # p p, p, p t, t
        self._values: list[tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]] = []

    def add(self, disparity: Array, ground_truth: Array, valid: Mask) -> None:
        """Add a frame: disparity (H, W) as predicted, true depth (H, W) in metres, valid (H, W) bool."""
        p = np.maximum(disparity[valid].astype(np.float64), FLOOR)
        t = 1 / ground_truth[valid].astype(np.float64)
        self.num_pixels += p.size
        if self.alignment == "median":
            self._values.append((p.astype(np.float32), t.astype(np.float32)))
        else:
            self._sums += (p @ p, p.sum(), p @ t, t.sum())

    def solve(self) -> ScaleShift:
        """The fit over all frames so far.

        A constant prediction fits with any scale; it becomes scale 0 and the mean disparity as shift.

        Raises:
            ValueError: if no pixel was valid, or the prediction is not finite.
        """
        if self.alignment == "none":
            return ScaleShift(1.0, 0.0)
        if not self.num_pixels:
            raise ValueError("the sequence has no valid ground truth, so nothing can be aligned to it")
        fit = self._median() if self.alignment == "median" else self._least_squares()
        if not all(map(math.isfinite, fit)):
            raise ValueError("the prediction holds values that are not finite")
        return fit

    def _median(self) -> ScaleShift:
        predicted, true = (np.concatenate(values) for values in zip(*self._values))
        return ScaleShift(float(np.median(true) / np.median(predicted)), 0.0)

    def _least_squares(self) -> ScaleShift:
        a00, a01, b0, b1 = self._sums.tolist()
        if self.alignment == "scale":
            return ScaleShift(b0 / a00, 0.0)
        n = self.num_pixels
        det = a00 * n - a01 * a01
        # By the Cauchy-Schwarz inequality det >= 0; rounding leaves about eps * n * a00 * n of it.
        if det <= np.finfo(np.float64).eps * n * a00 * n:
            return ScaleShift(0.0, b1 / n)
        return ScaleShift((n * b0 - a01 * b1) / det, (a00 * b1 - a01 * b0) / det)


def valid_mask(ground_truth: Array, max_depth: float) -> Mask:
    """Where the true depth in metres counts: 1e-3 < depth < max_depth."""
    return (ground_truth > FLOOR) & (ground_truth < max_depth)


def align_depth(disparity: Array, fit: ScaleShift, max_depth: float) -> Depth:
    """Predicted disparity as depth: float64 metres in 1e-3 .. max_depth."""
    aligned = fit.scale * np.maximum(disparity.astype(np.float64), FLOOR) + fit.shift
    return np.clip(1 / np.maximum(aligned, FLOOR), FLOOR, max_depth)


@dataclass(frozen=True)
class FrameMetrics:
    """Metrics of one frame, means over its valid pixels; d is predicted and g true depth, l = ln d - ln g.

    `log_squared` (mean l^2), `log_mean` (mean l) and `log_absolute` (mean |l|) are what SILog and log10 are made of.
    """

    num_pixels: int
    abs_relative_difference: float
    squared_relative_difference: float
    rmse_linear: float
    rmse_log: float
    delta1_acc: float
    delta2_acc: float
    delta3_acc: float
    i_rmse: float
    log_squared: float
    log_mean: float
    log_absolute: float


def frame_metrics(depth: Array, ground_truth: Array, valid: Mask) -> FrameMetrics | None:
    """Metrics of one frame (H, W) in metres, computed in float64; None if it has no valid pixel.

    Both depths are > 0 where valid.
    """
    d, g = depth[valid].astype(np.float64), ground_truth[valid].astype(np.float64)
    if not d.size:
        return None
    error, log = d - g, np.log(d) - np.log(g)
    ratio = np.maximum(d / g, g / d)
    return FrameMetrics(
        num_pixels=d.size,
        abs_relative_difference=float(np.mean(np.abs(error) / g)),
        squared_relative_difference=float(np.mean(error**2 / g)),
        rmse_linear=float(np.sqrt(np.mean(error**2))),
        rmse_log=float(np.sqrt(np.mean(log**2))),
        delta1_acc=float(np.mean(ratio < 1.25)),
        delta2_acc=float(np.mean(ratio < 1.25**2)),
        delta3_acc=float(np.mean(ratio < 1.25**3)),
        i_rmse=float(np.sqrt(np.mean((1 / d - 1 / g) ** 2))),
        log_squared=float(np.mean(log**2)),
        log_mean=float(np.mean(log)),
        log_absolute=float(np.mean(np.abs(log))),
    )


MEAN_METRICS = tuple(f.name for f in fields(FrameMetrics) if f.name != "num_pixels" and not f.name.startswith("log_"))


def sequence_metrics(frames: Iterable[FrameMetrics | None]) -> dict[str, float]:
    """Metrics of a sequence from those of its frames; frames without valid pixels are left out.

    The mean over frames, with two exceptions: `log10` is the mean |l| / ln 10 over all pixels of all frames, and
    `silog_rmse` is 100 sqrt(mean over frames of the variance of l).

    Raises:
        ValueError: if no frame is left.
    """
    seen = [frame for frame in frames if frame is not None]
    if not seen:
        raise ValueError("no frame has valid ground truth")
    result = {name: float(np.mean([getattr(frame, name) for frame in seen])) for name in MEAN_METRICS}
    weights = [frame.num_pixels for frame in seen]
    result["log10"] = float(np.average([frame.log_absolute for frame in seen], weights=weights)) / math.log(10)
    variance = np.mean([frame.log_squared - frame.log_mean**2 for frame in seen])
    result["silog_rmse"] = 100 * math.sqrt(max(float(variance), 0.0))
    return result


def evaluate_sequence(
    disparity: Sequence[Array] | Array,
    ground_truth: Sequence[Array] | Array,
    max_depth: float,
    alignment: Alignment = "scale_shift",
) -> tuple[dict[str, float], ScaleShift]:
    """Align a sequence and measure it.

    Args:
        disparity: T predicted maps (H, W), 1/metres up to the alignment, in the size of the ground truth.
        ground_truth: T maps (H, W), metres; what is not in 1e-3 .. max_depth is left out.
        max_depth: metres.
        alignment: see `SequenceFit`.

    Returns:
        The metrics of `sequence_metrics` and the fit.

    Raises:
        ValueError: if numbers of frames differ, or there is no valid ground truth.
    """
    if len(disparity) != len(ground_truth):
        raise ValueError(f"{len(disparity)} predictions for {len(ground_truth)} frames of ground truth")
    fit = SequenceFit(alignment)
    for prediction, truth in zip(disparity, ground_truth):
        fit.add(prediction, truth, valid_mask(truth, max_depth))
    solved = fit.solve()
    return sequence_metrics(
        frame_metrics(align_depth(prediction, solved, max_depth), truth, valid_mask(truth, max_depth))
        for prediction, truth in zip(disparity, ground_truth)
    ), solved
