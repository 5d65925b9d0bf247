"""The original's losses under its names; they live in `training/losses.py`."""

from training.losses import TemporalGradientMatchingLoss, TrimmedProcrustesLoss, VideoDepthLoss

__all__ = ["TemporalGradientMatchingLoss", "TrimmedProcrustesLoss", "VideoDepthLoss"]
