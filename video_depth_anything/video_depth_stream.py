"""Streaming inference: depth of each frame as it arrives, from that frame and the memory of earlier ones."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
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
from .temporal_memory import OLDEST, AttentionMemory, StateMemory, TemporalMemory
from .transform import as_frame, network_size, prepare, preprocess
from .windows import INFER_LEN, INTERP_LEN, KEYFRAMES, OVERLAP

logger = logging.getLogger(__name__)

# The classes, and names that users of the original import from here.
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
    """Depth of one video, frame by frame. This object holds all state; any number of them can share one network.

    Method: the streaming mode of the original implementation, for which the network was not trained. A frame attends
    to 31 earlier ones: frame 0, the one 41 frames back, and the latest 29. Depth is neither aligned nor blended, so its
    scale may drift. Time and memory per frame are constant.

    Args:
        model: network with its weights on the device of `execution`; they must not change while the stream is used. Or
            the result of `load_network`, which sets the defaults of `input_size` and `execution`.
        input_size: shorter side of the network's input in pixels, rounded to multiples of 14; None is 518.
        execution: device and precision; None uses the model's device in its default precision.
    """

    def __init__(
        self, model: StreamNetwork | Any, input_size: int | None = None, execution: Execution | None = None
    ) -> None:
        loaded: Any = model
        if hasattr(loaded, "network"):
            input_size, execution = input_size or loaded.input_size, execution or loaded.execution
            loaded = loaded.network
        self.input_size = 518 if input_size is None else input_size
        self.execution = execution or choose_execution(next(loaded.parameters()).device)
        self._model: StreamNetwork = loaded
        self.reset()

    def reset(self) -> None:
        """Start over: the next frame is the first of another video, of any size."""
        self.frame_size: tuple[int, int] | None = None  # (H, W), known after the first frame
        self._memory = TemporalMemory()
        self._recorded: RecordedStep | None = None
        self._watch = FiniteWatch()
        self._running = self.execution  # in bfloat16 after float16 overflowed

    @property
    def frames_seen(self) -> int:
        """Number of frames of this video so far."""
        return self._memory.frames_seen

    @property
    def state_bytes(self) -> int:
        """Size in bytes of the state on the model's device: 0 before the first frame, then constant.

        It doubles if float16 overflows, because the memory is then kept in float32.
        """
        return self._memory.num_bytes

    def memories(self) -> list[AttentionMemory]:
        """The memories of the temporal attentions; empty before the first frame."""
        return self._memory.attentions()

    @torch.inference_mode()
    def step(self, frame: npt.ArrayLike) -> DepthMap:
        """Compute depth of the next frame. After an error, the same or another frame can follow.

        Args:
            frame: (H, W, 3) RGB, 0..255, of the first frame's size; types other than uint8 are treated as float32.

        Returns:
            (H, W) float32, >= 0. Relative models: inverse depth up to scale and shift, larger is nearer; metric models:
            metres.

        Raises:
            TypeError: if the frame is a path.
            ValueError: if the frame has the wrong size, shape or type.
            NonFiniteError: if it has no finite depth, after a retry in bfloat16 if the precision is float16.
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
        recorded = self._record(image) if self._running.graphs and self.frames_seen > 0 else None
        depth = recorded(image) if recorded else self._depth(image)
        return resize_depth(depth.unsqueeze(0), frame_size)[0].cpu()

    def _record(self, image: Tensor) -> RecordedStep | None:
        """Record the work of a frame as a CUDA graph; None, with a warning, if that fails."""
        number = self.frames_seen
        try:
            self._recorded = self._recorded or RecordedStep(self._depth, image, self._memory)
        except RuntimeError as error:
            self._memory.rewind(number)
            self.execution, self._running = (replace(x, graphs=False) for x in (self.execution, self._running))
            reason = str(error).split("\n")[0]
            logger.warning("a frame's work cannot be recorded as a CUDA graph, so streaming is slower: %s", reason)
        return self._recorded

    def _depth(self, image: Tensor) -> Tensor:
        """Compute depth (1, h, w) of the next frame from the network's input (1, 3, h, w)."""
        with self._running.autocast():
            return self._model.step(self._model.encode(image), self._memory)


class FrameTransform:
    """Turns a frame into the network's input, for frames of the first one's size.

    Takes and returns a dictionary; its "image" is (H, W, 3) RGB from 0 to 1, and then (3, h, w), both float32.
    """

    def __init__(self, frame_size: tuple[int, int], input_size: int) -> None:
        self.input_size = input_size
        self._size = network_size(*frame_size, input_size)

    def __call__(self, sample: dict[str, Any]) -> dict[str, Any]:
        frame = np.asarray(sample["image"], np.float32) * np.float32(255)
        return {**sample, "image": preprocess(frame, self._size)}


class VideoDepthAnything(video_depth.VideoDepthAnything):
    """The network with the state of one stream in plain attributes, as the original's class of this name has them.

    A program may read, save, restore, copy, delete or clear them between frames, so that one object serves several
    videos. A new video begins if `transform` is None, `id` is -1, or one of the lists is empty. New programs should use
    a `DepthStream` for each video.

    Attributes:
        transform: `FrameTransform`; None before the first frame, like the frame's height and width.
        id: number of the latest frame, from 0.
        frame_id_list: numbers of the frames remembered.
        frame_cache_list: their states, as returned by `DPTHeadTemporal.forward`.
        gap: distance of the one frame that is attended to besides frame 0 and the latest.
    """

    gap = OLDEST
    frame_height: int | None = None
    frame_width: int | None = None

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.reset_stream()

    def reset_stream(self) -> None:
        """Clear the state; the next frame is the first of another video."""
        self.transform: FrameTransform | None = None
        self.id = -1
        self.frame_id_list: list[int] = []
        self.frame_cache_list: list[Sequence[Tensor]] = []
        self.frame_height = self.frame_width = None
        self._watch = FiniteWatch()
        self._widened: Execution | None = None

    def infer_video_depth_one(
        self,
        frame: npt.ArrayLike,
        input_size: int = 518,
        device: str | torch.device | None = None,
        fp32: bool = False,
    ) -> DepthMap:
        """Compute depth of the next frame of the video whose state the attributes hold.

        `forward_features` and `pretrained.get_intermediate_layers` are called if a program has replaced them.

        Args:
            frame: (H, W, 3) RGB, 0..255, as for `DepthStream.step`.
            input_size: shorter side of the network's input in pixels; later frames of a video use the first one's.
            device: the model's device; None: detected.
            fp32: compute in float32; otherwise in the device's default precision.

        Returns:
            (H, W) float32, as from `DepthStream.step`.

        Raises:
            TypeError: if the frame is a path.
            ValueError: if the frame is invalid, the weights are in half precision, or the model is on another device.
            NonFiniteError: if the frame has no finite depth.
        """
        execution = self.execution(device, fp32)
        transform, height, width = self.transform, self.frame_height, self.frame_width
        if not (transform and height and width and self.id >= 0 and self.frame_cache_list and self.frame_id_list):
            self.replaced_parts("forward_features")
            self.reset_stream()
            transform = None
        # Recording a graph only pays off over many frames.
        plain = replace(execution, graphs=False)
        stream = DepthStream(self, transform.input_size if transform else input_size, plain)
        past: list[Sequence[Tensor]] = []
        if transform and height and width:
            past = [*self.frame_cache_list[:2], *self.frame_cache_list[3 - INFER_LEN :]]
            stream.frame_size = (height, width)
        memory = stream._memory = StateMemory(past, self.id + 1)
        stream._watch, stream._running = self._watch, self._widened or plain
        depth = stream.step(frame)
        self._widened = stream._running if stream._running != plain else None
        self.id += 1
        if transform:
            self.frame_cache_list.append(memory.states())
            self.frame_id_list.append(self.id)
        else:
            size = (depth.shape[0], depth.shape[1])
            self.frame_height, self.frame_width = size
            self.transform = FrameTransform(size, input_size)
            self.frame_cache_list, self.frame_id_list = [memory.states()] * INFER_LEN, [0] * INFER_LEN
        if self.id + INFER_LEN > self.gap + 1:
            del self.frame_id_list[1:2], self.frame_cache_list[1:2]
        return depth
