"""Losses of the trainer beside the published ones, which `loss/loss.py` holds. Masks: 1 where a pixel is valid."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from loss.loss import TemporalFormula, TrimmedProcrustesLoss, VideoDepthLoss, robust_statistics

__all__ = [
    "TemporalFormula",
    "TrimmedProcrustesLoss",
    "VideoDepthLoss",
    "keep_loss",
    "log_gradient_loss",
    "log_loss",
    "scale_loss",
    "silog_loss",
]

# Beyond 1 / 0.03 (33 m for a camera 53 degrees wide) relative errors count less and less; sky is 0.
LOG_OFFSET = 0.03
BOUNDARY = math.log(1.25)
NEAREST = 1e-3  # metres
ROUNDING = 1e-12


def scale_loss(prediction: Tensor, target: Tensor, mask: Tensor) -> Tensor:
    """Ties scale and shift of the prediction (N, H, W) to the target's; not published, to be added with a small weight.

    |ln of the ratio of the mean absolute deviations| + |difference of the medians| / the target's deviation, mean over
    images with valid pixels. Without such a term the scale drifts by orders of magnitude, since no other loss sees it,
    until half precision overflows. In logarithms an ambiguous scene pulls no harder than a clear one.
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
    """Mean absolute difference of the logarithms of disparity (N, H, W) over the batch's valid pixels; 0 without any.

    Not published. It asks for the target's own scale and shift at every pixel, the same for all frames, which the
    affine-invariant losses leave free for each image: without it a moving camera's frames do not fit together. Its
    logarithm counts relative errors, as delta1 and AbsRel do.
    """
    error = ((prediction + LOG_OFFSET).log() - (target + LOG_OFFSET).log()).abs()
    return (error * mask).sum() / mask.sum().clamp(min=1)


def silog_loss(prediction: Tensor, target: Tensor, mask: Tensor, scale_share: float = 0.5) -> Tensor:
    """Scale-invariant logarithmic error of metres over the batch's valid pixels; 0 without any.

    sqrt(mean l^2 - scale_share (mean l)^2), l = ln target - ln prediction: Eigen et al., arXiv:1406.2283, with the root
    that Depth Anything V2's metric fine-tuning takes. Predictions below a millimetre count as that.
    """
    valid = mask.bool()
    count = valid.sum().clamp(min=1)
    one = torch.ones_like(prediction)
    error = torch.where(valid, target, one).log() - torch.where(valid, prediction, one).clamp(min=NEAREST).log()
    variance = error.square().sum() / count - scale_share * (error.sum() / count).square()
    # The root has no slope at zero.
    return torch.where(variance > ROUNDING, variance.clamp(min=ROUNDING).sqrt(), variance.clamp(min=0))


def log_gradient_loss(prediction: Tensor, target: Tensor, mask: Tensor, boundary_weight: float = 0.0) -> Tensor:
    """Gradient matching of the logarithms of disparity (N, H, W), on every 1st, 2nd, 4th and 8th pixel.

    Not published. A boundary counts by the ratio of its depths, but normalised disparity hardly shows the boundaries of
    the background. Where the position of a boundary is uncertain, a smooth ramp costs least; `boundary_weight` makes
    neighbours count that much more where the target's ratio is 1.25 or more, and in proportion below that.
    """
    told, wanted = (prediction + LOG_OFFSET).log(), (target + LOG_OFFSET).log()
    total = prediction.new_zeros(())
    for step in (1, 2, 4, 8):
        t, w, m = (x[:, ::step, ::step] for x in (told, wanted, mask))
        for dim in (1, 2):
            jump = w.diff(dim=dim)
            weight = 1 + boundary_weight * (jump.abs() / BOUNDARY).clamp(max=1) if boundary_weight else 1
            size = jump.shape[dim]
            both = m.narrow(dim, 0, size) * m.narrow(dim, 1, size)
            total = total + (both * weight * (t.diff(dim=dim) - jump).abs()).sum() / m.sum().clamp(min=1)
    return total


def keep_loss(prediction: Tensor, guide: Tensor, side: int) -> Tensor:
    """Mean absolute difference of the logarithms of two disparities (N, H, W), each averaged over squares of `side`.

    Not published. It keeps the distances that a trained network predicts while another loss sharpens its edges.
    """
    told, wanted = (F.avg_pool2d((x + LOG_OFFSET).log().unsqueeze(1), side) for x in (prediction, guide))
    return (told - wanted).abs().mean()
