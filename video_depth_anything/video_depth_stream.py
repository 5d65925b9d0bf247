"""Streaming inference: depth of each frame as it comes, from it and what is remembered of those before."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any

import numpy.typing as npt
import torch
from torch import Tensor

from . import video_depth
from .alignment import DepthMap, compute_scale_and_shift, get_interpolate_frames
from .backends.cuda_graph import RecordedStep
from .device import Execution, choose_execution
from .finite import FiniteWatch, count_non_finite
from .network import StreamNetwork
from .offline import resize_depth
from .temporal_memory import AttentionMemory, TemporalMemory
from .transform import as_frame, network_size, prepare, preprocess
from .windows import INFER_LEN, INTERP_LEN, KEYFRAMES, OVERLAP

# The classes; and what users of the original import from here, which lives in `windows` and `alignment`.
__all__ = [
    "INFER_LEN",
    "INTERP_LEN",
    "KEYFRAMES",
    "OVERLAP",
    "DepthStream",
    "VideoDepthAnything",
    "compute_scale_and_shift",
    "get_interpolate_frames",
]


class DepthStream:
    """Depth of one video, frame by frame. All state is in this object; any number of them can share one network.

    Method: the streaming mode of the original implementation, for which the network was not trained. A frame attends
    to 31 others: frame 0, one 41 frames back, and the latest 29. Depth is neither aligned nor blended, so it needs no
    later frame and its scale may drift. Time and memory per frame do not grow with the video.

    Args:
        model: network whose weights lie on the device of `execution`; they must not change while the stream lives.
        input_size: shorter side of the network's input in pixels; rounded to multiples of 14.
        execution: device and precision; None takes the model's device in its usual precision.
    """

    def __init__(self, model: StreamNetwork, input_size: int = 518, execution: Execution | None = None) -> None:
        self.input_size = input_size
        self.execution = execution or choose_execution(next(model.parameters()).device)
        self._model = model
        self.reset()

    def reset(self) -> None:
        """Forget the video; the next frame is the first of another one, of any size."""
        self.frame_size: tuple[int, int] | None = None  # (H, W), known after the first frame
        self._memory = TemporalMemory()
        self._recorded: RecordedStep | None = None
        self._watch = FiniteWatch()
        self._running = self.execution  # in bfloat16 once float16 has overflowed

    @property
    def frames_seen(self) -> int:
        """Number of frames of this video so far."""
        return self._memory.frames_seen

    @property
    def state_bytes(self) -> int:
        """Bytes held between frames, on the model's device: 0 before the first frame, then always the same.

        Twice as many once float16 has overflowed, for then the memory is kept in float32.
        """
        return self._memory.num_bytes

    def memories(self) -> list[AttentionMemory]:
        """What each temporal attention remembers; empty before the first frame."""
        return self._memory.attentions()

    @torch.inference_mode()
    def step(self, frame: npt.ArrayLike) -> DepthMap:
        """Depth of the next frame. Should it fail, the same or another frame can come next.

        Args:
            frame: (H, W, 3) RGB, 0..255, of the size of the first one: uint8, or what `transform.as_frame` takes.

        Returns:
            (H, W) float32, >= 0. Relative models: inverse depth up to scale and shift, larger is nearer; metric models:
            metres.

        Raises:
            TypeError: if it is a path.
            ValueError: if the frame has another size, shape or type.
            NonFiniteError: if it has no finite depth at all, in bfloat16 either where the precision is float16.
        """
        number = self.frames_seen
        array = as_frame(frame, number, self.frame_size)
        size = (array.shape[0], array.shape[1])
        image = prepare([array], network_size(*size, self.input_size), self.execution.device)
        depth = self._next_depth(image, size)
        missing = count_non_finite(depth)
        if missing[0] and self._running.autocast_dtype == torch.float16:
            self._watch.overflowed([number])
            self._memory.rewind(number)
            self._memory.widen()
            self._recorded = None
            self._running = replace(self._running, autocast_dtype=torch.bfloat16)
            depth = self._next_depth(image, size)
            missing = count_non_finite(depth)
        if missing[0] == depth.numel():
            self._memory.rewind(number)
        self._watch.check([number], missing, depth.numel())
        self.frame_size = size
        found: DepthMap = depth[0].numpy()
        return found

    def _next_depth(self, image: Tensor, frame_size: tuple[int, int]) -> Tensor:
        """Depth (1, H, W) float32 of the next frame, on the host."""
        if self._running.compile and image.device.type == "cuda" and self.frames_seen > 0:
            self._recorded = self._recorded or RecordedStep(self._depth, image, self._memory)
            depth = self._recorded(image)
        else:
            depth = self._depth(image)
        return resize_depth(depth.unsqueeze(0), frame_size)[0].cpu()

    def _depth(self, image: Tensor) -> Tensor:
        """Depth (1, h, w) of the next frame from the network's input (1, 3, h, w)."""
        with self._running.autocast():
            return self._model.step(self._model.encode(image), self._memory)


def _state(read: Callable[[VideoDepthAnything], Any], meaning: str) -> Any:
    """An attribute of the original's class that shows something of the stream, and that users assign to reset it."""

    def assign(model: VideoDepthAnything, value: object) -> None:
        if value is not None and value != -1 and value != []:
            raise ValueError("a stream can be reset, by None, -1 or [], but not set; see reset_stream()")
        model.reset_stream()

    return property(read, assign, doc=f"{meaning} Assigning None, -1 or [] forgets the video, as `reset_stream` does.")


class VideoDepthAnything(video_depth.VideoDepthAnything):
    """The network with one stream of its own, as the original's class of this name had. The weights are the same.

    Only `infer_video_depth_one` uses that stream, a plain attribute that no checkpoint sees. For more than one video,
    or a network shared by several threads, take a `DepthStream` each.
    """

    _stream: DepthStream | None = None

    def reset_stream(self) -> None:
        """Forget the video; the next frame is the first of another one."""
        self._stream = None

    transform = _state(lambda model: model._transform(), "From a frame to the network's input; None before the first.")
    id = _state(lambda model: model._frames_seen() - 1, "Number of the latest frame, from 0; -1 before the first.")
    frame_id_list = _state(lambda model: model._held_frames(), "Numbers of the frames remembered, as the original's.")
    frame_cache_list = _state(
        lambda model: model._stream.memories() if model._stream else [],
        "What each temporal attention remembers; not a list of frames as the original's.",
    )
    frame_height = _state(lambda model: model._frame_size()[0], "Height of the frames; None before the first.")
    frame_width = _state(lambda model: model._frame_size()[1], "Width of the frames; None before the first.")

    def _frames_seen(self) -> int:
        return self._stream.frames_seen if self._stream else 0

    def _frame_size(self) -> tuple[int, int] | tuple[None, None]:
        return (self._stream.frame_size if self._stream else None) or (None, None)

    def _transform(self) -> Callable[..., npt.NDArray[Any]] | None:
        size = self._stream.frame_size if self._stream else None
        if self._stream is None or size is None:
            return None
        return partial(preprocess, size=network_size(*size, self._stream.input_size))

    def _held_frames(self) -> list[int]:
        """A list that grows until frame 10, then loses its second entry with every frame."""
        latest = self._frames_seen() - 1
        numbers = [0] * (INFER_LEN if latest >= 0 else 0) + list(range(1, latest + 1))
        return numbers[:1] + numbers[1 + max(latest - 10, 0) :]

    def infer_video_depth_one(
        self,
        frame: npt.ArrayLike,
        input_size: int = 518,
        device: str | torch.device | None = None,
        fp32: bool = False,
    ) -> DepthMap:
        """Depth of the next frame of the one video this object sees; `reset_stream` starts another.

        Args:
            frame: (H, W, 3) RGB, 0..255, as for `DepthStream.step`.
            input_size: shorter side of the network's input in pixels.
            device: where the model is; None asks the model.
            fp32: compute in float32 throughout; else in the device's usual precision.

        Returns:
            (H, W) float32, as `DepthStream.step` gives it.

        Raises:
            TypeError: if the frame is a path.
            ValueError: if the frame cannot be used, the model lies on another device, or input size, device or
                precision are not those of the frames before.
            NonFiniteError: if the frame has no finite depth at all.
        """
        execution = self.execution(device, fp32)
        if self._stream is None:
            self._stream = DepthStream(self, input_size, execution)
        began = (self._stream.input_size, self._stream.execution)
        if began != (input_size, execution):
            raise ValueError(
                f"the video began with {_settings(*began)}, not {_settings(input_size, execution)}; "
                "call reset_stream() before another one"
            )
        return self._stream.step(frame)


def _settings(input_size: int, execution: Execution) -> str:
    return f"input size {input_size} on {execution.device} in {execution.autocast_dtype or torch.float32}"
