"""Scale, shift and cross-fade under the names that users of the original import; not called by the pipeline itself.

They live in `video_depth_anything.alignment`. The pipeline's `WindowAligner` fits with the same sums, and keeps the
scale of the window before where these give (1, 0).
"""

from __future__ import annotations

from video_depth_anything.alignment import compute_scale, compute_scale_and_shift, get_interpolate_frames
from video_depth_anything.alignment import compute_scale_and_shift as compute_scale_and_shift_full

__all__ = ["compute_scale", "compute_scale_and_shift", "compute_scale_and_shift_full", "get_interpolate_frames"]
