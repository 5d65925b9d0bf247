"""Offline inference cut in two, so that windows can be computed anywhere: raw windows, and the chain that joins them.

What stands in a window's slots is known in advance (`windows.frames_of_window`), so a raw window needs no other window.
Joining is what has an order: window k is fitted to frame 0's raw depth and to window k - 1's slot 12 as it was aligned.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import islice

import torch

from .aligner import WindowAligner
from .alignment import DepthMap
from .device import Execution
from .dpt_temporal import FrameFeatures
from .network import WindowNetwork
from .offline import Frame, FrameEncoder, HostCopy, decode_window
from .windows import INFER_LEN, KEYFRAMES, STEP, frames_of_window, window_matters


class SkippingEncoder(FrameEncoder):
    """Features of chosen frames of a video, asked for in rising order; the frames between are read and thrown away.

    Frames are encoded in the groups in which `FrameEncoder` takes them, counted from the video's first frame: the same
    batches give the same bits.
    """

    def __init__(self, model: WindowNetwork, frames: Iterable[Frame], input_size: int, execution: Execution) -> None:
        super().__init__(model, frames, input_size, execution)
        self.encoded = 0  # frames that went through the network
        self._group: list[Frame] = []
        self._features: list[FrameFeatures] = []

    @property
    def seen(self) -> int:
        """How many frames have been read: all that there are, once `at` has returned None."""
        return self.count + len(self._group)

    def at(self, number: int) -> FrameFeatures | None:
        """Features of frame `number`; None if the video ends before it.

        Raises:
            ValueError: if the frame's group has been passed.
        """
        if number < self.count:
            raise ValueError(f"frame {number} was passed; frames are read forward only")
        while number >= self.seen:
            following = list(islice(self._frames, self._execution.frames_at_once))
            if not following:
                return None
            # `count` is the number of the group's first frame here: nothing of the group has been passed.
            self.count, self._group, self._features = self.seen, following, []
        if not self._features:
            self._features = self._encode(self._group)
            self.encoded += len(self._group)
        return self._features[number - self.count]


class RawWindows:
    """Windows of a video as the network sees them, before they are aligned, in any rising choice of their numbers.

    Equal to the last bit to what `infer_depth` decodes, on the same device with the same number of threads. Held are
    the features of one window, one group of frames, and frame 0's. A window that does not follow the one before it
    costs its ten keyframes again, and as many more as complete their groups.

    Args:
        model, frames, input_size, execution: as for `infer_depth`.
    """

    def __init__(self, model: WindowNetwork, frames: Iterable[Frame], input_size: int, execution: Execution) -> None:
        self._model = model
        self._execution = execution
        self._encoder = SkippingEncoder(model, frames, input_size, execution)
        self._first: FrameFeatures | None = None
        self._keyframes: list[FrameFeatures] = []
        self._next = 0

    @property
    def encoded(self) -> int:
        """How many frames have gone through the encoder, those included that only complete a group."""
        return self._encoder.encoded

    def window(self, index: int) -> DepthMap | None:
        """Depth (n, H, W) float32 of window `index`'s slots 0..n-1; n is 32 but where the video ends inside it.

        Raises:
            ValueError: if `index` does not rise, or a frame is unusable.

        Returns:
            None if the video has no such window, or none that changes any of its frames.
        """
        if index < self._next:
            raise ValueError(f"window {index} was passed; windows are computed in rising order")
        shown = self._slots(index)
        if not shown or not window_matters(index, self._encoder.seen) or self._encoder.frame_size is None:
            return None
        # The video repeats its last frame past its end.
        shown += shown[-1:] * (INFER_LEN - len(shown))
        num_slots = min(INFER_LEN, self._encoder.seen - STEP * index)
        depth = decode_window(self._model, shown, num_slots, self._encoder.frame_size, self._execution)
        self._keyframes = [shown[slot] for slot in KEYFRAMES]
        self._next = index + 1
        return depth.cpu().numpy()

    def _slots(self, index: int) -> list[FrameFeatures]:
        """Features of the window's slots as far as the video goes."""
        if self._first is None:
            self._first = self._encoder.at(0)
        if self._first is None:
            return []
        follows = index == self._next and index > 0
        shown = list(self._keyframes) if follows else [self._first]
        for number in frames_of_window(index)[len(shown) :]:
            features = self._encoder.at(number)
            if features is None:
                break
            shown.append(features)
        return shown


def join_windows(windows: Iterable[DepthMap], metric: bool, device: torch.device) -> Iterator[DepthMap]:
    """Depth of a video, frame by frame, from its raw windows in order: the part of `infer_depth` that has an order.

    One window is held, two reference maps, and the eight frames that the next window may change.

    Args:
        windows: (n, H, W) float32, as `RawWindows.window` returns them; they may be changed.
        metric: whether the network predicts metres.
        device: where to align; the one that `infer_depth` would have used gives its very bits.

    Yields:
        One (H, W) float32 map per frame, as `infer_depth` does.
    """
    aligner = WindowAligner(metric)
    for window in windows:
        yield from HostCopy(aligner.add(torch.from_numpy(window).to(device))).wait()
    yield from HostCopy(aligner.finish()).wait()


def windows_read(frames: Iterable[Frame]) -> Iterator[int]:
    """Numbers of the windows of a video, each as soon as `frames` has been read as far as `infer_depth` would have.

    Windows that change no frame are left out.
    """
    source, count, index = iter(frames), 0, 0
    while True:
        count += sum(1 for _ in islice(source, STEP * index + INFER_LEN - count))
        if count == 0 or not window_matters(index, count):
            return
        yield index
        index += 1
