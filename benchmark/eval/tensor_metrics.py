"""The frame metrics and one term of TAE on PyTorch tensors, for programs that measure while they train.

Names, arguments and definitions are those of Video Depth Anything's evaluation (Chen et al., arXiv:2501.12375). The
benchmark itself measures with `metrics` and `tae`, in float64. All results are tensors without dimensions, on the
device of what is given.

Shapes: depth (..., H, W), metres, above 0 where valid; `valid_mask` the same, bool; None: all pixels count. A frame
without a valid pixel gives NaN.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

__all__ = [
    "abs_relative_difference",
    "delta1_acc",
    "delta2_acc",
    "delta3_acc",
    "i_rmse",
    "log10",
    "rmse_linear",
    "rmse_log",
    "silog_rmse",
    "squared_relative_difference",
    "threshold_percentage",
]

Error = Callable[[Tensor, Tensor], Tensor]


def _frame_means(error: Error, output: Tensor, target: Tensor, valid: Tensor | None) -> Tensor:
    """Means (...) of a pixel error over the valid pixels of each frame."""
    if valid is None:
        return error(output, target).mean((-2, -1))
    # What is not valid may be 0, whose logarithm would spoil gradients.
    one = torch.ones((), dtype=output.dtype, device=output.device)
    values = error(torch.where(valid, output, one), torch.where(valid, target, one))
    return (values * valid).sum((-2, -1)) / valid.sum((-2, -1))


def _log_ratio(output: Tensor, target: Tensor) -> Tensor:
    return output.log() - target.log()


def abs_relative_difference(output: Tensor, target: Tensor, valid_mask: Tensor | None = None) -> Tensor:
    """Mean |d - g| / g of predicted d and true g, over pixels, then over frames."""
    return _frame_means(lambda d, g: (d - g).abs() / g, output, target, valid_mask).mean()


def squared_relative_difference(output: Tensor, target: Tensor, valid_mask: Tensor | None = None) -> Tensor:
    """Mean (d - g)^2 / g, over pixels, then over frames."""
    return _frame_means(lambda d, g: (d - g) ** 2 / g, output, target, valid_mask).mean()


def rmse_linear(output: Tensor, target: Tensor, valid_mask: Tensor | None = None) -> Tensor:
    """Root of the mean of (d - g)^2, in metres, mean over frames."""
    return _frame_means(lambda d, g: (d - g) ** 2, output, target, valid_mask).sqrt().mean()


def rmse_log(output: Tensor, target: Tensor, valid_mask: Tensor | None = None) -> Tensor:
    """Root of the mean of (ln d - ln g)^2, mean over frames."""
    return _frame_means(lambda d, g: _log_ratio(d, g) ** 2, output, target, valid_mask).sqrt().mean()


def i_rmse(output: Tensor, target: Tensor, valid_mask: Tensor | None = None) -> Tensor:
    """Root of the mean of (1/d - 1/g)^2, in 1/metres, mean over frames."""
    return _frame_means(lambda d, g: (1 / d - 1 / g) ** 2, output, target, valid_mask).sqrt().mean()


def log10(output: Tensor, target: Tensor, valid_mask: Tensor | None = None) -> Tensor:
    """Mean |log10 d - log10 g| over all pixels of all frames together."""
    if valid_mask is not None:
        output, target = output[valid_mask], target[valid_mask]
    return (output.log10() - target.log10()).abs().mean()


def silog_rmse(depth_pred: Tensor, depth_gt: Tensor, valid_mask: Tensor | None = None) -> Tensor:
    """100 times the root of the mean over frames of the variance of ln d - ln g."""
    squares = _frame_means(lambda d, g: _log_ratio(d, g) ** 2, depth_pred, depth_gt, valid_mask)
    means = _frame_means(_log_ratio, depth_pred, depth_gt, valid_mask)
    return 100 * (squares - means**2).mean().sqrt()


def threshold_percentage(
    output: Tensor, target: Tensor, threshold_val: float, valid_mask: Tensor | None = None
) -> Tensor:
    """Share of pixels, 0 to 1, with max(d/g, g/d) below `threshold_val`, mean over frames."""

    def below(d: Tensor, g: Tensor) -> Tensor:
        return (torch.maximum(d / g, g / d) < threshold_val).to(d.dtype)

    return _frame_means(below, output, target, valid_mask).mean()


def delta1_acc(pred: Tensor, gt: Tensor, valid_mask: Tensor | None = None) -> Tensor:
    """Share of pixels within a factor of 1.25."""
    return threshold_percentage(pred, gt, 1.25, valid_mask)


def delta2_acc(pred: Tensor, gt: Tensor, valid_mask: Tensor | None = None) -> Tensor:
    """Share of pixels within a factor of 1.25^2."""
    return threshold_percentage(pred, gt, 1.25**2, valid_mask)


def delta3_acc(pred: Tensor, gt: Tensor, valid_mask: Tensor | None = None) -> Tensor:
    """Share of pixels within a factor of 1.25^3."""
    return threshold_percentage(pred, gt, 1.25**3, valid_mask)


def tae_term(depth: Tensor, other: Tensor, rotation: Any, translation: Any, intrinsics: Any, mask: Tensor) -> Tensor:
    """One term of TAE: depth (H, W) in metres moved into another camera, against the depth predicted there.

    As `tae.move_depth` and `tae.relative_difference` with the protocol "paper". `mask` are the other camera's pixels
    that count. Returns mean |other - moved| / other as a fraction, 0 where nothing can be compared.
    """
    height, width = depth.shape
    like: dict[str, Any] = {"dtype": depth.dtype, "device": depth.device}
    camera = torch.as_tensor(intrinsics, **like)[:3, :3]
    turn, shift = torch.as_tensor(rotation, **like), torch.as_tensor(translation, **like)
    y, x = torch.meshgrid(torch.arange(height, **like), torch.arange(width, **like), indexing="ij")
    rays = torch.linalg.inv(camera) @ torch.stack((x, y, torch.ones_like(x))).flatten(1)
    points = turn @ (rays * depth.flatten()) + shift[:, None]
    column, row = (camera @ points)[:2].div(points[2]).round()
    inside = (column >= 0) & (column < width) & (row >= 0) & (row < height)
    target = (row[inside] * width + column[inside]).long()
    # Of several points in a pixel the last in row-major order stays, on every device.
    numbers = torch.arange(len(target), device=depth.device)
    last = torch.full((height * width,), -1, device=depth.device).scatter_reduce(0, target, numbers, "amax")
    hit = (last >= 0).nonzero()[:, 0]
    moved = torch.zeros(height * width, **like).index_put((hit,), points[2, inside][last[hit]]).view(height, width)
    both = (moved > 0) & (other > 0) & mask
    return abs_relative_difference(moved[both][None], other[both][None]) if both.any() else depth.new_zeros(())
