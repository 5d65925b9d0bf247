"""The window schedule of offline inference: which frame is in which slot. Pure Python.

Windows of `INFER_LEN` frames advance by `STEP`. A window's first `OVERLAP` slots are keyframes of the previous window:
its slot 0 (hence always frame 0), its slot 12, and its last eight frames. Slots 0 and 1 align the scales of the
windows; the other eight are cross-faded with the previous window's depth.
"""

from __future__ import annotations

INFER_LEN = 32
OVERLAP = 10
STEP = INFER_LEN - OVERLAP
# Slots of a window that become slots 0..9 of the next one.
KEYFRAMES = [0, 12, 24, 25, 26, 27, 28, 29, 30, 31]
# The first slots, whose aligned depth is known, determine scale and shift.
ALIGN_LEN = 2
# The rest of the overlap is cross-faded.
INTERP_LEN = OVERLAP - ALIGN_LEN


def window_matters(index: int, num_frames: int) -> bool:
    """Whether window `index` changes any output frame of a video.

    Its first new influence is on frame 22 * index + 3: the cross-fade starts on frame 22 * index + 2 with weight zero.
    The schedule's last window can lie wholly beyond that.
    """
    return index == 0 or num_frames > STEP * index + ALIGN_LEN + 1


def frames_of_window(index: int) -> list[int]:
    """Frame numbers in window `index`'s 32 slots; they continue past the video's end, and the caller clamps them.

    Slot 1 is the frame in slot 12 of the previous window. The rest of a window is consecutive.
    """
    start = STEP * index
    if index == 0:
        return list(range(INFER_LEN))
    return [0, start - STEP + KEYFRAMES[1], *range(start + ALIGN_LEN, start + INFER_LEN)]
