"""The window schedule of offline inference: which frame stands in which slot. Pure Python.

Windows of `INFER_LEN` frames advance by `STEP`. A window's first `OVERLAP` slots show keyframes of the window before:
its slot 0 (hence always frame 0), its slot 12, and its last eight frames. Slots 0 and 1 tie the scales of the windows
together; the other eight are cross-faded with what was predicted for them before.
"""

from __future__ import annotations

INFER_LEN = 32
OVERLAP = 10
STEP = INFER_LEN - OVERLAP
# Slots of a window that the next one shows in its slots 0..9.
KEYFRAMES = [0, 12, 24, 25, 26, 27, 28, 29, 30, 31]
# The first slots, whose depth is known from before, give scale and shift.
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
    """Frame numbers shown by window `index`'s 32 slots; past the video's end they go on, and the caller clamps them.

    Slot 1 shows what the window before shows in its slot 12, which is new there. The rest of a window is consecutive.
    """
    start = STEP * index
    if index == 0:
        return list(range(INFER_LEN))
    return [0, start - STEP + KEYFRAMES[1], *range(start + ALIGN_LEN, start + INFER_LEN)]
