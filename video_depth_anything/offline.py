"""Offline inference: a stream of frames in, aligned depth out, in memory that does not depend on the video's length.

It has two parts. The frames of each window are known in advance (`windows.frames_of_window`), so `RawWindows` computes
any window without the others. `join_windows` is sequential: window k is fitted to frame 0's raw depth and to the
aligned slot 12 of window k - 1. `infer_depth` combines both; several devices distribute the first.

Method: Chen et al., Video Depth Anything, arXiv:2501.12375, section 3.3.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from itertools import islice
from typing import cast

import numpy.typing as npt
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .alignment import DepthMap, WindowAligner
from .device import Execution, choose_execution
from .finite import FiniteWatch, count_non_finite
from .frame_encoder import EncodedFrame, FrameEncoder
from .frame_features import FrameFeatures
from .network import WindowNetwork
from .transform import refuse_path
from .windows import INFER_LEN, KEYFRAMES, STEP, frames_of_window, window_matters


class RawWindows:
    """Depth of a video's windows before alignment: all in order, or any increasing selection.

    Results are bit-identical for any selection, on the same device with the same number of threads. It holds the
    features of one window, one group of frames, and frame 0's; in float16 also the window's frames. A window that does
    not follow its predecessor encodes its ten keyframes again, and the frames that complete their groups. Arguments are
    those of `infer_depth`.
    """

    def __init__(
        self,
        model: WindowNetwork,
        frames: Iterable[npt.ArrayLike],
        input_size: int,
        execution: Execution,
        check: Callable[[], None] | None = None,
    ) -> None:
        self._model = model
        self._execution = execution
        self._check = check or (lambda: None)
        self._encoder = FrameEncoder(model, frames, input_size, execution, self._check)
        self._watch = FiniteWatch()
        self._first: EncodedFrame | None = None
        self._keyframes: list[EncodedFrame] = []
        self._ahead: list[EncodedFrame] = []
        self._next = 0

    @property
    def encoded(self) -> int:
        """How many frames have gone through the encoder, including those that only complete a group."""
        return self._encoder.encoded

    def window(self, index: int) -> DepthMap | None:
        """Depth (n, H, W) float32 of slots 0..n-1 of window `index`, on the host; indices must increase.

        n is 32 unless the video ends inside the window. None if the video has no such window, or it changes none of
        the frames. Raises what `infer_depth` raises.
        """
        depth = self._compute(index)
        return None if depth is None else depth.cpu().numpy()

    def __iter__(self) -> Iterator[Tensor]:
        return self

    def __next__(self) -> Tensor:
        """The same for the next window, on the device."""
        depth = self._compute(self._next)
        if depth is None:
            raise StopIteration
        return depth

    def read_ahead(self) -> None:
        """Start encoding frames of the next window, so that the device is busy meanwhile."""
        self._ahead = self._slots(self._next)

    def _compute(self, index: int) -> Tensor | None:
        if index < self._next:
            raise ValueError(f"window {index} was passed; windows are computed in rising order")
        shown = self._slots(index)
        if not shown or not window_matters(index, self._encoder.seen):
            return None
        # Slots after the video's end repeat its last frame; they take part in the mixing, but are not rendered.
        shown += shown[-1:] * (INFER_LEN - len(shown))
        depth = self._finite(shown, min(INFER_LEN, self._encoder.seen - STEP * index), frames_of_window(index))
        self._keyframes = [shown[slot] for slot in KEYFRAMES]
        self._next = index + 1
        return depth

    def _slots(self, index: int) -> list[EncodedFrame]:
        """Features of the window's slots, up to the video's end."""
        follows = index == self._next and index > 0
        if follows and self._ahead:
            shown, self._ahead = self._ahead, []
            return shown
        self._first = self._first or self._encoder.at(0)
        if self._first is None:
            return []
        shown = list(self._keyframes) if follows else [self._first]
        for number in frames_of_window(index)[len(shown) :]:
            frame = self._encoder.at(number)
            if frame is None:
                break
            shown.append(frame)
        return shown

    def _finite(self, shown: Sequence[EncodedFrame], num_slots: int, numbers: Sequence[int]) -> Tensor:
        """Depth of the first slots; in bfloat16, which has float32's range, if float16 overflows.

        The features kept for the next window stay those of float16, so that a window's depth does not depend on which
        process computed the previous one.
        """
        depth = self._decode([frame.features for frame in shown], num_slots, self._execution)
        missing = count_non_finite(depth)
        images = [frame.image for frame in shown if frame.image is not None]
        if any(missing) and images:
            self._watch.overflowed([frame for frame, count in zip(numbers, missing) if count])
            wide = replace(self._execution, autocast_dtype=torch.bfloat16)
            features = []
            for start in range(0, len(images), wide.frames_at_once):
                self._check()
                features += self._encoder.encode(images[start : start + wide.frames_at_once], wide)
            depth = self._decode(features, num_slots, wide)
            missing = count_non_finite(depth)
        self._watch.check(numbers, missing, depth[0].numel())
        return depth

    @torch.inference_mode()
    def _decode(self, features: Sequence[FrameFeatures], num_slots: int, execution: Execution) -> Tensor:
        """Depth (num_slots, H, W) float32 of a window's first slots, on the device, resized to the frame."""
        assert self._encoder.frame_size is not None
        parts = []
        with execution.autocast():
            self._check()
            for depth in self._model.decode(features, range(num_slots), execution.frames_at_once):
                parts.append(resize_depth(depth, self._encoder.frame_size)[0])
                self._check()
        return torch.cat(parts)


def resize_depth(depth: Tensor, frame_size: tuple[int, int]) -> Tensor:
    """Resize depth (N, T, h, w) bilinearly to the frame's (H, W), in float32 as the end of the head is."""
    if depth.shape[-2:] == frame_size:
        return depth
    with torch.autocast(depth.device.type, enabled=False):
        return F.interpolate(depth, size=frame_size, mode="bilinear", align_corners=True)


class HostCopy:
    """Copies depth maps to the host. On CUDA, the copy overlaps with the next window."""

    def __init__(self, maps: Sequence[Tensor]) -> None:
        self._copied: torch.cuda.Event | None = None
        self._maps = list(maps)
        if maps and maps[0].device.type == "cuda" and torch.cuda.is_available():
            device = maps[0].device
            # A separate stream on the maps' device, so that later kernels do not wait for the copy.
            stream = torch.cuda.Stream(device)
            stream.wait_stream(torch.cuda.current_stream(device))
            with torch.cuda.stream(stream):
                self._maps = [
                    torch.empty_like(x, device="cpu", pin_memory=True).copy_(x, non_blocking=True) for x in maps
                ]
                self._copied = torch.cuda.Event()
                self._copied.record(stream)
            for x in maps:
                x.record_stream(stream)  # its memory is not reused before the copy has finished

    @property
    def ready(self) -> bool:
        """Whether the copy has finished."""
        return self._copied is None or self._copied.query()

    def wait(self) -> Iterator[DepthMap]:
        """Yield the maps (H, W) float32, once. Pinned memory is copied out and reused by the next window."""
        if self._copied is None:
            yield from (x.cpu().numpy() for x in self._maps)
            return
        self._copied.synchronize()
        while self._maps:
            yield self._maps.pop(0).numpy().copy()


def join_windows(
    windows: Iterable[Tensor | DepthMap],
    metric: bool,
    device: torch.device,
    read_ahead: Callable[[], None] | None = None,
) -> Iterator[DepthMap]:
    """Depth of a video, frame by frame as from `infer_depth`, from its raw windows in order.

    One window is held, two reference maps, and the eight frames that the next window may change.

    Args:
        windows: (n, H, W) float32, as from `RawWindows`; they may be modified.
        metric: whether the network predicts metres.
        device: where to align; the one that computed the windows gives the same bits as `infer_depth`.
        read_ahead: called while depth is copied from the device.
    """
    aligner = WindowAligner(metric)
    for window in windows:
        copy = HostCopy(aligner.add(torch.as_tensor(window, device=device)))
        del window  # not held while the next one is computed
        if read_ahead is not None and not copy.ready:
            read_ahead()
        yield from copy.wait()
    yield from HostCopy(aligner.finish()).wait()


def infer_depth(
    model: WindowNetwork,
    frames: Iterable[npt.ArrayLike],
    input_size: int = 518,
    execution: Execution | None = None,
    check: Callable[[], None] | None = None,
) -> Iterator[DepthMap]:
    """Compute depth of a video as an iterator, in constant memory.

    Memory holds the features and depth of one window, and what the next window needs of it. Frames are read as needed,
    at most one window ahead of the depth.

    Args:
        model: network with its weights on the device of `execution`.
        frames: (H, W, 3) RGB, 0..255, all of the same size; types other than uint8 are treated as float32.
        input_size: shorter side of the network's input in pixels; rounded to multiples of 14.
        execution: device and precision; None uses the model's device in its default precision.
        check: called between frames in the encoder and between groups of frames in the decoder; an exception that it
            raises stops the work quickly.

    Yields:
        One (H, W) float32 map per frame. Relative models: inverse depth up to scale and shift, >= 0, larger is nearer;
        metric models: metres.

    Raises:
        TypeError: if `frames` is a path.
        ValueError: if a frame has the wrong size, shape or type.
        NonFiniteError: if a frame has no finite depth, after a retry in bfloat16 if the precision is float16.
    """
    refuse_path(frames)
    execution = execution or choose_execution(next(cast(nn.Module, model).parameters()).device)
    windows = RawWindows(model, frames, input_size, execution, check)
    return join_windows(windows, model.metric, execution.device, windows.read_ahead)


def windows_read(frames: Iterable[object]) -> Iterator[int]:
    """Yield the numbers of a video's windows, each once `frames` has been read as far as `infer_depth` would.

    Windows that change no frame are skipped.
    """
    source, count, index = iter(frames), 0, 0
    while True:
        count += sum(1 for _ in islice(source, STEP * index + INFER_LEN - count))
        if count == 0 or not window_matters(index, count):
            return
        yield index
        index += 1
