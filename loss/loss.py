"""The published losses of Video Depth Anything (Chen et al., arXiv:2501.12375), whose spatial part is MiDaS'.

Shapes: B clips, T frames, N images, H x W pixels. Masks say which pixels are valid: 0 or 1. The losses do not see scale
and shift of the prediction. Names, arguments and values are the original's.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

import torch
from torch import Tensor, nn

Reduction = Literal["batch-based", "image-based"]
TemporalFormula = Literal["published", "paper"]
Statistics = tuple[Tensor, Tensor]
MIN_SCALE = 1e-6
DETERMINANT_OFFSET = 1e-6


def reduction_batch_based(image_loss: Tensor, M: Tensor) -> Tensor:
    """Sum of all terms, divided by the number of valid pixels of the batch, the sum of M; 0 without any."""
    total = M.sum()
    # No branch on a value: it would make a GPU wait in every step.
    return torch.where(total != 0, image_loss.sum() / torch.where(total != 0, total, 1), 0.0 * image_loss.sum())


def reduction_image_based(image_loss: Tensor, M: Tensor) -> Tensor:
    """Mean of the terms, the i-th divided by the number M[i] of valid pixels of image i, where there are any.

    `TrimmedMAELoss` hands over sorted errors of all pixels in place of a term for each image: then the N smallest of
    them are divided. So it is published.
    """
    count = min(len(image_loss), len(M))
    divisor = torch.ones_like(image_loss)
    divisor[:count] = M[:count].clamp(min=1).to(divisor.dtype)
    return (image_loss / divisor).mean()


def _reduction(name: str) -> Callable[[Tensor, Tensor], Tensor]:
    if name not in ("batch-based", "image-based"):
        raise ValueError(f"unknown reduction {name!r}; use 'batch-based' or 'image-based'")
    return reduction_batch_based if name == "batch-based" else reduction_image_based


def gradient_loss(
    prediction: Tensor,
    target: Tensor,
    mask: Tensor,
    reduction: Callable[[Tensor, Tensor], Tensor] = reduction_batch_based,
    frame_id_mask: Tensor | None = None,
) -> Tensor:
    """Absolute differences of the error between neighbours in x and in y, both valid, of (N, H, W) maps.

    Args:
        reduction: of the sums of all images, given the numbers of their valid pixels.
        frame_id_mask: (N, H, W); neighbours of different numbers are left out.
    """
    valid = mask.to(prediction.dtype)
    error = valid * (prediction - target)
    sums = []
    for dim in (1, 2):
        size = error.shape[dim] - 1
        both = valid.narrow(dim, 0, size) * valid.narrow(dim, 1, size)
        if frame_id_mask is not None:
            both = both * (frame_id_mask.narrow(dim, 0, size) == frame_id_mask.narrow(dim, 1, size))
        sums.append((both * error.diff(dim=dim).abs()).sum((1, 2)))
    return reduction(sums[0] + sums[1], mask.sum((1, 2)))


def robust_statistics(value: Tensor, mask: Tensor) -> Statistics:
    """Median and mean absolute deviation >= 1e-6 of each image, (N,); 0 and 1 for images without valid pixels.

    The (lower) median is taken over all pixels, invalid ones counting as 0, as published. Both carry gradients.
    """
    mask = mask.to(value.dtype)
    count = mask.sum((1, 2))
    median = torch.where(count > 0, (mask * value).flatten(1).median(dim=1).values, 0.0)
    deviation = (mask * (value - median[:, None, None]).abs()).sum((1, 2)) / count.clamp(min=1)
    return median, torch.where(count > 0, deviation.clamp(min=MIN_SCALE), 1.0)


def normalize_prediction_robust(
    target: Tensor, mask: Tensor, ms: Statistics | None = None
) -> tuple[Tensor, Statistics]:
    """Subtract each image's median and divide by its mean absolute deviation (Ranftl et al., arXiv:1907.01341).

    Args:
        target: (N, H, W).
        mask: (N, H, W).
        ms: median and deviation (N,) to take instead of those of `robust_statistics`.

    Returns:
        (N, H, W); and median and deviation, without gradients.
    """
    median, scale = robust_statistics(target, mask) if ms is None else ms
    return (target - median.view(-1, 1, 1)) / scale.view(-1, 1, 1), (median.detach(), scale.detach())


def compute_scale_and_shift(prediction: Tensor, target: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
    """Scale and shift (N,) of (N, H, W) predictions by least squares to the target over valid pixels.

    They carry gradients. Both are 0 where the system is singular, as published.
    """
    p, t, m = prediction.flatten(1), target.flatten(1), mask.flatten(1).to(prediction.dtype)
    a00, a01, a11 = (m * p * p).sum(1), (m * p).sum(1), m.sum(1)
    b0, b1 = (m * p * t).sum(1), (m * t).sum(1)
    det = a00 * a11 - a01 * a01
    denominator = torch.where(det != 0, det + DETERMINANT_OFFSET, 1.0)
    scale, shift = (a11 * b0 - a01 * b1) / denominator, (a00 * b1 - a01 * b0) / denominator
    return torch.where(det != 0, scale, 0.0), torch.where(det != 0, shift, 0.0)


class TrimmedMAELoss(nn.Module):
    """Absolute errors of (N, H, W) maps without the largest ones; 0 without valid pixels.

    Args:
        trim: share of the largest errors of the batch that is left out, 0 to 1.
        reduction: "batch-based" divides by the number of all valid pixels, left out or not; or "image-based".
    """

    def __init__(self, trim: float = 0.2, reduction: Reduction = "batch-based") -> None:
        super().__init__()
        self.trim = trim
        self._reduce = _reduction(reduction)

    def forward(self, prediction: Tensor, target: Tensor, mask: Tensor, weight_mask: Tensor | None = None) -> Tensor:
        """Scalar; `weight_mask` (N, H, W) scales the errors."""
        valid = mask.bool()
        error = prediction - target if weight_mask is None else (prediction - target) * weight_mask
        if self.trim == 0 and self._reduce is reduction_batch_based:
            # The same sum without picking pixels out of the map, which is what takes time here.
            return torch.where(valid, error.abs(), 0.0).sum() / valid.sum().clamp(min=1)
        errors = error.abs()[valid]
        kept = int(errors.numel() * (1.0 - self.trim))
        if not kept:
            return prediction.sum() * 0.0
        return self._reduce(errors.topk(kept, largest=False).values, valid.sum((1, 2)))


class GradientLoss(nn.Module):
    """`gradient_loss` summed over every 1st, 2nd, 4th .. row and column.

    Args:
        scales: how many steps, doubling.
        reduction: as for `TrimmedMAELoss`.
    """

    def __init__(self, scales: int = 4, reduction: Reduction = "batch-based") -> None:
        super().__init__()
        self._scales = scales
        self._reduce = _reduction(reduction)

    def forward(self, prediction: Tensor, target: Tensor, mask: Tensor, num_frame_h: int = 1) -> Tensor:
        """Scalar loss of (N, H, W) maps; `num_frame_h` frames lie below each other in each, and do not touch."""
        frame = None
        if num_frame_h > 1:
            rows = torch.arange(mask.shape[1], device=mask.device) // (mask.shape[1] // num_frame_h)
            frame = rows.clamp(max=num_frame_h)[None, :, None].expand(mask.shape)
        total = prediction.new_zeros(())
        for step in (2**k for k in range(self._scales)):
            p, t, m = (x[:, ::step, ::step] for x in (prediction, target, mask))
            ids = None if frame is None else frame[:, ::step, ::step]
            total = total + gradient_loss(p, t, m, self._reduce, ids)
        return total


class TrimmedProcrustesLoss(nn.Module):
    """Spatial loss: trimmed mean absolute error and gradient matching of robustly normalised maps.

    Args:
        alpha: weight of gradient matching.
        scales: its steps, doubling.
        trim: share of the largest errors that is left out.
        reduction: as for `TrimmedMAELoss`.
    """

    def __init__(
        self, alpha: float = 0.5, scales: int = 4, trim: float = 0.2, reduction: Reduction = "batch-based"
    ) -> None:
        super().__init__()
        self._data = TrimmedMAELoss(trim, reduction)
        self._gradient = GradientLoss(scales, reduction)
        self._alpha = alpha

    def forward(
        self,
        prediction: Tensor,
        target: Tensor,
        mask: Tensor,
        pred_ms: Statistics | None = None,
        tar_ms: Statistics | None = None,
        num_frame_h: int = 1,
        no_norm: bool = False,
    ) -> Tensor:
        """Scalar loss of (N, H, W) disparity maps.

        Args:
            pred_ms: median and deviation of the prediction, as for `normalize_prediction_robust`.
            tar_ms: those of the target.
            num_frame_h: as for `GradientLoss`.
            no_norm: compare the maps as they are.
        """
        if not no_norm:
            prediction, _ = normalize_prediction_robust(prediction, mask, pred_ms)
            target, _ = normalize_prediction_robust(target, mask, tar_ms)
        loss: Tensor = self._data(prediction, target, mask)
        if self._alpha > 0:
            loss = loss + self._alpha * self._gradient(prediction, target, mask, num_frame_h)
        return loss


class TemporalGradientMatchingLoss(nn.Module):
    """Temporal loss: the change of a pixel from frame to frame must be the target's, where the target changes little.

    Args:
        trim: share of the largest errors left out.
        temp_grad_scales: strides 1, 2, 4 .. between the compared frames, at most.
        temp_grad_decay: weight of each stride against the one before.
        reduction: as for `TrimmedMAELoss`.
        diff_depth_th: pixels with a larger change of the target are left out: they see another surface. A share of the
            target's range in that frame (published), or a value of the target (paper).
        formula: "published" compares the changes, |Δd - Δg|; "paper" their absolute values, ||Δd| - |Δg||, with an
            absolute threshold.
    """

    def __init__(
        self,
        trim: float = 0.2,
        temp_grad_scales: int = 4,
        temp_grad_decay: float = 0.5,
        reduction: Reduction = "batch-based",
        diff_depth_th: float = 0.05,
        formula: TemporalFormula = "published",
    ) -> None:
        super().__init__()
        if formula not in ("published", "paper"):
            raise ValueError(f"unknown formula {formula!r}; use 'published' or 'paper'")
        self.data_loss = TrimmedMAELoss(trim, reduction)
        self.temp_grad_scales = temp_grad_scales
        self.temp_grad_decay = temp_grad_decay
        self.diff_depth_th = diff_depth_th
        self.formula = formula

    def forward(self, prediction: Tensor, target: Tensor, mask: Tensor) -> Tensor:
        """Scalar loss of (B, T, H, W) maps on one scale; 0 for clips of one frame."""
        valid = mask.bool()
        limit = torch.full_like(target[:, :, :1, :1], self.diff_depth_th)
        if self.formula == "published":
            highest = target.masked_fill(~valid, -torch.inf).amax((2, 3), keepdim=True)
            lowest = target.masked_fill(~valid, torch.inf).amin((2, 3), keepdim=True)
            limit = self.diff_depth_th * (highest - lowest)
        total, used = prediction.new_zeros(()), 0
        for k in range(self.temp_grad_scales):
            stride = 2**k
            if stride >= prediction.shape[1]:
                break
            d, g, v, most = (x[:, ::stride] for x in (prediction, target, valid, limit))
            change, wanted = d[:, 1:] - d[:, :-1], g[:, 1:] - g[:, :-1]
            seen = v[:, 1:] & v[:, :-1] & (wanted.abs() < most[:, 1:])
            if self.formula == "paper":
                change, wanted = change.abs(), wanted.abs()
            loss = self.data_loss(*(x.flatten(0, 1) for x in (change, wanted, seen)))
            total, used = total + self.temp_grad_decay**k * loss, used + 1
        return total / max(used, 1)


class VideoDepthLoss(nn.Module):
    """Spatial loss of all frames, plus the temporal loss after one scale and shift per clip.

    Args:
        alpha: see `TrimmedProcrustesLoss`.
        scales: see `TrimmedProcrustesLoss`.
        trim: share of the largest errors that both parts leave out.
        stable_scale: weight of the temporal loss.
        reduction: as for `TrimmedMAELoss`.
        formula: of the temporal loss, see `TemporalGradientMatchingLoss`.
    """

    def __init__(
        self,
        alpha: float = 0.5,
        scales: int = 4,
        trim: float = 0.0,
        stable_scale: float = 10.0,
        reduction: Reduction = "batch-based",
        formula: TemporalFormula = "published",
    ) -> None:
        super().__init__()
        self.spatial_loss = TrimmedProcrustesLoss(alpha, scales, trim, reduction)
        self.stable_loss = TemporalGradientMatchingLoss(trim, 1, reduction=reduction, formula=formula)
        self.stable_scale = stable_scale

    def forward(self, prediction: Tensor, target: Tensor, mask: Tensor) -> dict[str, Tensor]:
        """Losses of (B, T, H, W) disparity: `spatial_loss`, `stable_loss` (weighted) and their sum `total_loss`."""
        spatial = self.spatial_loss(prediction.flatten(0, 1), target.flatten(0, 1), mask.flatten(0, 1))
        fit = compute_scale_and_shift(prediction.flatten(1, 2), target.flatten(1, 2), mask.flatten(1, 2))
        scale, shift = (x.view(-1, 1, 1, 1) for x in fit)
        stable = self.stable_scale * self.stable_loss(scale * prediction + shift, target, mask)
        return {"spatial_loss": spatial, "stable_loss": stable, "total_loss": spatial + stable}
