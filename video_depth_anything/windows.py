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


def num_windows(num_frames: int) -> int:
    """Number of windows the schedule has for a video, ceil(num_frames / 22)."""
    return -(-num_frames // STEP)


def window_matters(index: int, num_frames: int) -> bool:
    """Whether a window changes any output frame of a video.

    Its first new influence is on frame 22 * index + 3: the cross-fade starts on frame 22 * index + 2 with weight zero.
    The schedule's last window can lie wholly beyond that.

    Args:
        index: of the window, from 0.
        num_frames: of the video.
    """
    return index == 0 or num_frames > STEP * index + ALIGN_LEN + 1


def window_schedule(num_frames: int) -> list[list[int]]:
    """Frame numbers shown by each window's 32 slots.

    Past its end the video repeats its last frame; the numbers here go on counting, the caller clamps them.

    Raises:
        ValueError: if num_frames is not positive.
    """
    if num_frames < 1:
        raise ValueError(f"a video has at least one frame, got {num_frames}")
    schedule = [list(range(INFER_LEN))]
    for index in range(1, num_windows(num_frames)):
        keyframes = [schedule[-1][slot] for slot in KEYFRAMES]
        start = STEP * index
        schedule.append(keyframes + list(range(start + OVERLAP, start + INFER_LEN)))
    return schedule


def frames_of_window(index: int) -> list[int]:
    """Frame numbers shown by window `index`'s 32 slots, without those of the windows before; clamp them likewise.

    Slot 1 shows what the window before shows in its slot 12, which is new there. The rest of a window is consecutive.
    """
    start = STEP * index
    if index == 0:
        return list(range(INFER_LEN))
    return [0, start - STEP + KEYFRAMES[1], *range(start + ALIGN_LEN, start + INFER_LEN)]
