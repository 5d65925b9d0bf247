"""Flicker: how much aligned disparity trembles where the scene does not. Needs neither poses nor optical flow."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]

# Where true disparity changes by a larger share from one frame to the next, something moved in or out of sight.
STEADY = 0.05


def flicker(disparities: tuple[Array, Array], ground_truths: tuple[Array, Array], valid: Array) -> float | None:
    """Flicker between two consecutive frames, in percent of the mean disparity; the ground truth's own is 0.

    100 mean |(p2 - p1) - (q2 - q1)| / mean q2 over the steady pixels, those valid in both frames with
    |q2 - q1| < 0.05 q1, where p is predicted, aligned and q true disparity. The true change is taken off because a
    camera that moves changes all disparities a little. A measure of this project, not of a paper; it is the change
    that the temporal gradient matching loss (Chen et al., arXiv:2501.12375, section 3.2) looks at.

    Args:
        disparities: predicted and aligned, of the two frames, (H, W), 1/metres.
        ground_truths: true disparity of the two frames, (H, W), 1/metres.
        valid: (H, W) bool, valid in both.

    Returns:
        Percent, None if no pixel is steady.
    """
    (p1, p2), (q1, q2) = disparities, ground_truths
    steady = valid & (np.abs(q2 - q1) < STEADY * q1)
    if not steady.any():
        return None
    change = np.abs((p2[steady] - p1[steady]) - (q2[steady] - q1[steady]))
    return float(100 * change.mean() / q2[steady].mean())
