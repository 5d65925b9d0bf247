"""Names that callers of the original layout import; the code lives in `video_depth_anything.alignment`."""

from __future__ import annotations

from video_depth_anything.alignment import compute_scale_and_shift, get_interpolate_frames

__all__ = ["compute_scale_and_shift", "get_interpolate_frames"]
