"""Streaming inference: depth of each frame as it comes, from it and what is remembered of those before."""

from __future__ import annotations

import torch
from torch import Tensor

from . import video_depth
from .alignment import DepthMap
from .backends.cuda_graph import RecordedStep
from .device import Execution, choose_execution
from .network import StreamNetwork
from .offline import resize_depth
from .temporal_memory import TemporalMemory
from .transform import Frame, as_frame, network_size, prepare


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
        self._memory = TemporalMemory()
        self._recorded: RecordedStep | None = None
        self._frame_size: tuple[int, int] | None = None

    @property
    def frames_seen(self) -> int:
        """Number of frames of this video so far."""
        return self._memory.frames_seen

    @property
    def state_bytes(self) -> int:
        """Bytes held between frames, on the model's device: 0 before the first frame, then always the same."""
        return self._memory.num_bytes

    @torch.inference_mode()
    def step(self, frame: Frame) -> DepthMap:
        """Depth of the next frame.

        Args:
            frame: (H, W, 3) uint8 RGB, of the size of the first one.

        Returns:
            (H, W) float32, >= 0. Relative models: inverse depth up to scale and shift, larger is nearer; metric models:
            metres.

        Raises:
            ValueError: if the frame has another size, shape or type.
        """
        frame = as_frame(frame, self.frames_seen, self._frame_size)
        frame_size = (frame.shape[0], frame.shape[1])
        image = prepare([frame], network_size(*frame_size, self.input_size), self.execution.device)
        if self.execution.compile and image.device.type == "cuda" and self.frames_seen > 0:
            self._recorded = self._recorded or RecordedStep(self._depth, image, self._memory)
            depth = self._recorded(image)
        else:
            depth = self._depth(image)
        self._frame_size = frame_size
        resized: DepthMap = resize_depth(depth.unsqueeze(0), frame_size)[0, 0].cpu().numpy()
        return resized

    def _depth(self, image: Tensor) -> Tensor:
        """Depth (1, h, w) of the next frame from the network's input (1, 3, h, w)."""
        with self.execution.autocast():
            return self._model.step(self._model.encode(image), self._memory)


class VideoDepthAnything(video_depth.VideoDepthAnything):
    """The network with one stream of its own, as the original's class of this name had. The weights are the same.

    Only `infer_video_depth_one` uses that stream, a plain attribute that no checkpoint sees. For more than one video,
    or a network shared by several threads, take a `DepthStream` each.
    """

    _stream: DepthStream | None = None

    def reset_stream(self) -> None:
        """Forget the video; the next frame is the first of another one."""
        self._stream = None

    def infer_video_depth_one(
        self,
        frame: Frame,
        input_size: int = 518,
        device: str | torch.device | None = None,
        fp32: bool = False,
    ) -> DepthMap:
        """Depth of the next frame of the one video this object sees; `reset_stream` starts another.

        Args:
            frame: (H, W, 3) uint8 RGB.
            input_size: shorter side of the network's input in pixels.
            device: where the model is; None asks the model.
            fp32: compute in float32 throughout; else in the device's usual precision.

        Returns:
            (H, W) float32, as `DepthStream.step` gives it.

        Raises:
            ValueError: if the frame cannot be used, the model lies on another device, or input size, device or
                precision are not those of the frames before.
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
