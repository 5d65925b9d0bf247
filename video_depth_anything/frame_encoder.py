"""Encodes a video: each frame that windows contain, once."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from itertools import islice
from typing import NamedTuple

import numpy.typing as npt
import torch

from .device import Execution
from .frame_features import FrameFeatures
from .network import WindowNetwork
from .transform import Image, as_frame, network_size, prepare


class EncodedFrame(NamedTuple):
    """A frame's features; in float16 also the frame itself, which is encoded again after an overflow."""

    features: FrameFeatures
    image: Image | None


class FrameEncoder:
    """Features of requested frames of a video, in increasing order; the frames between are read and discarded.

    Frames are encoded in groups of `execution.frames_at_once`, counted from the video's first frame, because equal
    batches give equal bits. `check` is called before each group is read. Arguments are those of `offline.infer_depth`.
    """

    def __init__(
        self,
        model: WindowNetwork,
        frames: Iterable[npt.ArrayLike],
        input_size: int,
        execution: Execution,
        check: Callable[[], None],
    ) -> None:
        self.frame_size: tuple[int, int] | None = None  # (H, W), known after the first frame
        self.seen = 0  # frames read: the video's length once `at` has returned None
        self.encoded = 0  # frames that went through the network
        self._model = model
        self._frames = iter(frames)
        self._input_size = input_size
        self._execution = execution
        self._check = check
        self._group: list[Image] = []  # the latest frames read
        self._features: list[FrameFeatures] = []  # theirs, once one of them was requested

    def at(self, number: int) -> EncodedFrame | None:
        """Features of frame `number`; None if the video ends before it."""
        if number < self.seen - len(self._group):
            raise ValueError(f"frame {number} was passed; frames are read forward only")
        while number >= self.seen:
            self._check()
            following = list(islice(self._frames, self._execution.frames_at_once))
            if not following:
                return None
            self._group, self._features = [], []
            for frame in following:
                self._group.append(as_frame(frame, self.seen, self.frame_size))
                self.frame_size = (self._group[-1].shape[0], self._group[-1].shape[1])
                self.seen += 1
        if not self._features:
            self._features = self.encode(self._group, self._execution)
            self.encoded += len(self._group)
        place = number - self.seen + len(self._group)
        overflows = self._execution.autocast_dtype == torch.float16
        return EncodedFrame(self._features[place], self._group[place] if overflows else None)

    @torch.inference_mode()
    def encode(self, frames: Sequence[Image], execution: Execution) -> list[FrameFeatures]:
        """Features of frames of the video's size, computed together; the precision may differ from that of `at`."""
        assert self.frame_size is not None
        images = prepare(frames, network_size(*self.frame_size, self._input_size), execution.device)
        with execution.autocast():
            return self._model.encode(images).split_frames()
