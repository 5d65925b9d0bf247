"""VideoDepthAnything: the network, and depth of whole videos with it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from .config import PATCH_SIZE, get_config
from .decoding import decode, step
from .device import Execution, choose_execution
from .dinov2 import DinoVisionTransformer
from .dpt_temporal import DPTHeadTemporal, FrameFeatures
from .motion_module import MAX_FRAMES
from .offline import infer_depth
from .temporal_memory import TemporalMemory


class VideoDepthAnything(nn.Module):
    """Consistent depth for video (Chen et al., arXiv:2501.12375): DINOv2 encoder, DPT head with motion modules.

    The network is stateless: what belongs to one video lives in the objects that process it.

    Args:
        encoder: "vits", "vitb" or "vitl".
        features: width of the head's fusion path; the variant's own if None.
        out_channels: channels of the head's four maps; the variant's own if None.
        metric: whether the weights predict metres; changes how windows are joined, not the network.
    """

    def __init__(
        self,
        encoder: str = "vitl",
        features: int | None = None,
        out_channels: Sequence[int] | None = None,
        metric: bool = False,
    ) -> None:
        super().__init__()
        config = get_config(encoder)
        if features is not None:
            config = replace(config, features=features)
        if out_channels is not None:
            first, second, third, fourth = out_channels
            config = replace(config, out_channels=(first, second, third, fourth))
        self.encoder = encoder
        self.config = config
        self.metric = metric
        self.pretrained = DinoVisionTransformer(config)
        self.head = DPTHeadTemporal(config)

    def encode(self, images: Tensor) -> FrameFeatures:
        """Everything that looks at one frame alone.

        Args:
            images: (N, 3, H, W) normalised RGB, H and W multiples of 14.
        """
        grid = (images.shape[-2] // PATCH_SIZE, images.shape[-1] // PATCH_SIZE)
        return self.head.encode(self.pretrained(images), grid)

    def decode(
        self, window: Sequence[FrameFeatures], slots: Sequence[int], frames_at_once: int = MAX_FRAMES
    ) -> Iterator[Tensor]:
        """Everything that mixes frames or follows such a mix: depth of chosen slots of a window.

        Args:
            window: features of at most 32 frames in the order of time, each of N = B clips.
            slots: which frames of the window to render.
            frames_at_once: frames rendered together; bounds memory.

        Yields:
            (B, n, H, W) float32, n <= frames_at_once, until all slots are done.
        """
        return decode(self.head, window, slots, frames_at_once)

    def step(self, features: FrameFeatures, memory: TemporalMemory) -> Tensor:
        """Streaming's counterpart of `decode`: depth of a video's next frame. Not differentiable.

        Args:
            features: of one frame of N = B videos.
            memory: what is kept of the frames before; a new one for a new video. The frame is added to it.

        Returns:
            (B, H, W) float32.
        """
        return step(self.head, features, memory)

    def forward(self, frames: Tensor) -> Tensor:
        """Depth of one window.

        Args:
            frames: (B, T, 3, H, W) normalised RGB, T <= 32, H and W multiples of 14.

        Returns:
            (B, T, H, W) float32, >= 0. Relative models: affine-invariant inverse depth; metric models: metres.
        """
        batch, length = frames.shape[:2]
        features = self.encode(frames.flatten(0, 1))
        window = [FrameFeatures(*(x.unflatten(0, (batch, length))[:, t] for x in features)) for t in range(length)]
        return torch.cat(list(self.decode(window, range(length))), dim=1)

    def infer_video_depth(
        self,
        frames: npt.NDArray[np.uint8] | Iterable[npt.NDArray[np.uint8]],
        target_fps: float,
        input_size: int = 518,
        device: str | torch.device | None = None,
        fp32: bool = False,
    ) -> tuple[npt.NDArray[np.float32], float]:
        """Depth of a whole video at once. For long videos take `video_depth_anything.offline.infer_depth`.

        Args:
            frames: N frames (H, W, 3) uint8 RGB.
            target_fps: handed through.
            input_size: shorter side of the network's input in pixels.
            device: where the model is; None asks the model.
            fp32: compute in float32 throughout; else in the device's usual precision.

        Returns:
            (N, H, W) float32 depth, and `target_fps`. Relative models: inverse depth, larger is nearer; metric: metres.

        Raises:
            ValueError: if there are no frames, their sizes differ, or the model lies on another device.
        """
        depths = list(infer_depth(self, frames, input_size, self.execution(device, fp32)))
        if not depths:
            raise ValueError("the video has no frames")
        return np.stack(depths), target_fps

    def execution(self, device: str | torch.device | None = None, fp32: bool = False) -> Execution:
        """How the inference methods run: where the model is, in float32 or the device's usual precision.

        Raises:
            ValueError: if `device` is another one than the model's.
        """
        own = next(self.parameters()).device
        if device is not None and torch.device(device).type != own.type:
            raise ValueError(f"the model is on {own}, not on {device}; move it there with model.to({str(device)!r})")
        return choose_execution(own, "fp32" if fp32 else "auto")
