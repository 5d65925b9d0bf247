"""The published losses of Video Depth Anything (Chen et al., arXiv:2501.12375), whose spatial part is MiDaS'.

Shapes: B clips, T frames, N images, H x W pixels. Masks say which pixels are valid, as bool or 0/1. All losses are
affine-invariant: they do not see the scale of the prediction, nor its shift. `scale_loss` ties both.
"""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor, nn

TemporalFormula = Literal["published", "paper"]
Reduction = Literal["batch-based"]
MIN_SCALE = 1e-6
DETERMINANT_OFFSET = 1e-6
# Beyond 1 / 0.03 (33 m for a camera 53 degrees wide) relative errors count less and less; sky is 0.
LOG_OFFSET = 0.03


def robust_statistics(value: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
    """Median and mean absolute deviation of each image.

    The median is taken over all pixels, invalid ones counting as 0, as published. Both carry gradients.

    Args:
        value: (N, H, W) float32.
        mask: (N, H, W) float32, 0 or 1.

    Returns:
        median (N, 1, 1) and scale (N, 1, 1) >= 1e-6; 0 and 1 for images without valid pixels.
    """
    count = mask.sum((1, 2))
    seen = count > 0
    median = (mask * value).flatten(1).median(dim=1).values
    median = torch.where(seen, median, torch.zeros_like(median))
    deviation = (mask * (value - median[:, None, None]).abs()).sum((1, 2)) / count.clamp(min=1)
    scale = torch.where(seen, deviation.clamp(min=MIN_SCALE), torch.ones_like(deviation))
    return median[:, None, None], scale[:, None, None]


def robust_normalise(value: Tensor, mask: Tensor) -> Tensor:
    """Subtract each image's median and divide by its mean absolute deviation (Ranftl et al., arXiv:1907.01341)."""
    median, scale = robust_statistics(value, mask)
    return (value - median) / scale


def trimmed_mae(prediction: Tensor, target: Tensor, mask: Tensor, trim: float) -> Tensor:
    """Sum of the smallest int(n (1 - trim)) of the n absolute errors of the whole batch, divided by n; 0 without any.

    Args:
        prediction: any shape.
        target: of the same shape.
        mask: of the same shape.
        trim: share of the largest errors that is left out, 0 to 1.
    """
    valid = mask.bool()
    if trim == 0:
        # The same sum without picking pixels out of the map, which is what takes time here.
        error = torch.where(valid, (prediction - target).abs(), torch.zeros_like(prediction))
        return error.sum() / valid.sum().clamp(min=1)
    errors = (prediction - target).abs()[valid]
    kept = int(errors.numel() * (1 - trim))
    if not kept:
        return prediction.new_zeros(()) * prediction.sum()
    return errors.topk(kept, largest=False, sorted=False).values.sum() / errors.numel()


def gradient_loss(prediction: Tensor, target: Tensor, mask: Tensor, scales: int) -> Tensor:
    """Multi-scale gradient matching: differences of the error between neighbours, on every 1st, 2nd, 4th .. pixel.

    Args:
        prediction: (N, H, W) float32.
        target: (N, H, W) float32.
        mask: (N, H, W) float32, 0 or 1.
        scales: how many steps, doubling.
    """
    total = prediction.new_zeros(())
    for step in (2**k for k in range(scales)):
        valid = mask[:, ::step, ::step]
        error = valid * (prediction[:, ::step, ::step] - target[:, ::step, ::step])
        along_x = (error[:, :, 1:] - error[:, :, :-1]).abs() * valid[:, :, 1:] * valid[:, :, :-1]
        along_y = (error[:, 1:] - error[:, :-1]).abs() * valid[:, 1:] * valid[:, :-1]
        total = total + (along_x.sum() + along_y.sum()) / valid.sum().clamp(min=1)
    return total


def align_clips(prediction: Tensor, target: Tensor, mask: Tensor) -> Tensor:
    """Prediction times one scale plus one shift per clip, by least squares to the target over valid pixels.

    Gradients go through the scale and the shift too. A clip whose system is singular becomes 0, as published.

    Args:
        prediction: (B, T, H, W) float32.
        target: (B, T, H, W) float32.
        mask: (B, T, H, W) float32, 0 or 1.
    """
    p, t, m = (x.flatten(1) for x in (prediction, target, mask))
    a00, a01, a11 = (m * p * p).sum(1), (m * p).sum(1), m.sum(1)
    b0, b1 = (m * p * t).sum(1), (m * t).sum(1)
    det = a00 * a11 - a01 * a01
    solvable = det != 0
    denominator = torch.where(solvable, det + DETERMINANT_OFFSET, torch.ones_like(det))
    zero = torch.zeros_like(det)
    scale = torch.where(solvable, (a11 * b0 - a01 * b1) / denominator, zero)
    shift = torch.where(solvable, (a00 * b1 - a01 * b0) / denominator, zero)
    return scale[:, None, None, None] * prediction + shift[:, None, None, None]


def scale_loss(prediction: Tensor, target: Tensor, mask: Tensor) -> Tensor:
    """Ties scale and shift of the prediction to the target's; not published, to be added with a small weight.

    |ln of the ratio of the mean absolute deviations| + |difference of the medians| / the target's deviation, mean over
    images with valid pixels. Without such a term the scale drifts by orders of magnitude, since no other loss sees it,
    until half precision overflows. In logarithms an ambiguous scene pulls no harder than a clear one.

    Args:
        prediction: (N, H, W) float32.
        target: (N, H, W) float32.
        mask: (N, H, W) float32, 0 or 1.
    """
    median, scale = robust_statistics(prediction, mask)
    target_median, target_scale = robust_statistics(target, mask)
    seen = (mask.sum((1, 2)) > 0).to(prediction.dtype)
    # A constant target has no scale to be tied to; below this share of its value it is rounding.
    floor = (0.05 * target_median.abs()).clamp(min=1e-3)
    target_scale = torch.maximum(target_scale, floor)
    ratio = (torch.maximum(scale, floor * 0.1) / target_scale).log().abs()
    offset = (median - target_median).abs() / target_scale
    # Far off, a fit of the logarithm's kind is enough: one odd image must not drown the batch.
    return ((ratio + torch.log1p(offset)).flatten() * seen).sum() / seen.sum().clamp(min=1)


def log_loss(prediction: Tensor, target: Tensor, mask: Tensor) -> Tensor:
    """Mean absolute difference of the logarithms of disparity over the batch's valid pixels; 0 without any.

    Not published. It asks for the target's own scale and shift at every pixel, the same for all frames, which the
    affine-invariant losses leave free for each image: without it a moving camera's frames do not fit together. Its
    logarithm counts relative errors, as delta1 and AbsRel do.

    Args:
        prediction: (N, H, W) disparity >= 0.
        target: (N, H, W) disparity >= 0.
        mask: (N, H, W), 0 or 1.
    """
    error = ((prediction + LOG_OFFSET).log() - (target + LOG_OFFSET).log()).abs()
    return (error * mask).sum() / mask.sum().clamp(min=1)


class TrimmedProcrustesLoss(nn.Module):
    """Spatial loss: trimmed mean absolute error and gradient matching of robustly normalised maps.

    Source: Ranftl et al., arXiv:1907.01341, as published with the Video Depth Anything training code.

    Args:
        alpha: weight of gradient matching.
        scales: its steps, doubling.
        trim: share of the largest errors that is left out.
        reduction: "batch-based", sums over all pixels of the batch; there is no other.

    Raises:
        ValueError: another reduction.
    """

    def __init__(
        self, alpha: float = 0.5, scales: int = 4, trim: float = 0.2, reduction: Reduction = "batch-based"
    ) -> None:
        super().__init__()
        if reduction != "batch-based":
            raise ValueError(f"unknown reduction {reduction!r}; only 'batch-based' is there")
        self.alpha = alpha
        self.scales = scales
        self.trim = trim

    def forward(self, prediction: Tensor, target: Tensor, mask: Tensor) -> Tensor:
        """Scalar loss of (N, H, W) disparity maps over the pixels where mask (N, H, W) is true."""
        weight = mask.to(prediction.dtype)
        prediction, target = robust_normalise(prediction, weight), robust_normalise(target, weight)
        loss = trimmed_mae(prediction, target, mask, self.trim)
        if self.alpha > 0:
            loss = loss + self.alpha * gradient_loss(prediction, target, weight, self.scales)
        return loss


class TemporalGradientMatchingLoss(nn.Module):
    """Temporal loss: the change of a pixel from frame to frame must be the target's, where the target changes little.

    Args:
        trim: share of the largest errors left out.
        scales: strides 1, 2, 4 .. between the compared frames, at most.
        decay: weight of each stride against the one before.
        threshold: pixels with a larger change of the target are left out: they see another surface. A share of the
            target's range in that frame (published), or a value of the target (paper).
        formula: "published" compares the changes, |Δd - Δg|; "paper" their absolute values, ||Δd| - |Δg||, with an
            absolute threshold.
    """

    def __init__(
        self,
        trim: float = 0.2,
        scales: int = 4,
        decay: float = 0.5,
        threshold: float = 0.05,
        formula: TemporalFormula = "published",
    ) -> None:
        super().__init__()
        if formula not in ("published", "paper"):
            raise ValueError(f"unknown formula {formula!r}; use 'published' or 'paper'")
        self.trim = trim
        self.scales = scales
        self.decay = decay
        self.threshold = threshold
        self.formula = formula

    def forward(self, prediction: Tensor, target: Tensor, mask: Tensor) -> Tensor:
        """Scalar loss of (B, T, H, W) maps on one scale; 0 for clips of one frame."""
        valid = mask.bool()
        thresholds = self._thresholds(target, valid)
        total, used = prediction.new_zeros(()), 0
        for k in range(self.scales):
            stride = 2**k
            if stride >= prediction.shape[1]:
                break
            d, g, v, limit = (x[:, ::stride] for x in (prediction, target, valid, thresholds))
            change, wanted = d[:, 1:] - d[:, :-1], g[:, 1:] - g[:, :-1]
            seen = v[:, 1:] & v[:, :-1] & (wanted.abs() < limit[:, 1:])
            if self.formula == "paper":
                change, wanted = change.abs(), wanted.abs()
            total = total + self.decay**k * trimmed_mae(change, wanted, seen, self.trim)
            used += 1
        return total / max(used, 1)

    def _thresholds(self, target: Tensor, valid: Tensor) -> Tensor:
        """(B, T, 1, 1): the largest change of the target that counts."""
        if self.formula == "paper":
            return torch.full_like(target[:, :, :1, :1], self.threshold)
        highest = target.masked_fill(~valid, -torch.inf).amax((2, 3), keepdim=True)
        lowest = target.masked_fill(~valid, torch.inf).amin((2, 3), keepdim=True)
        return self.threshold * (highest - lowest)


class VideoDepthLoss(nn.Module):
    """Spatial loss of all frames, plus the temporal loss after one scale and shift per clip.

    Args:
        alpha: see `TrimmedProcrustesLoss`.
        scales: see `TrimmedProcrustesLoss`.
        trim: share of the largest errors that both parts leave out.
        stable_scale: weight of the temporal loss.
        reduction: see `TrimmedProcrustesLoss`.
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
        self.spatial = TrimmedProcrustesLoss(alpha, scales, trim, reduction)
        self.stable = TemporalGradientMatchingLoss(trim, scales=1, formula=formula)
        self.stable_scale = stable_scale

    def forward(self, prediction: Tensor, target: Tensor, mask: Tensor) -> dict[str, Tensor]:
        """Losses of (B, T, H, W) disparity: `spatial_loss`, `stable_loss` (weighted) and their sum `total_loss`."""
        spatial = self.spatial(prediction.flatten(0, 1), target.flatten(0, 1), mask.flatten(0, 1))
        aligned = align_clips(prediction, target, mask.to(prediction.dtype))
        stable = self.stable_scale * self.stable(aligned, target, mask)
        return {"spatial_loss": spatial, "stable_loss": stable, "total_loss": spatial + stable}
