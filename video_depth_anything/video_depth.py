"""VideoDepthAnything: the network, and depth of whole videos with it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from .alignment import compute_scale_and_shift, get_interpolate_frames
from .config import MODEL_CONFIGS, PATCH_SIZE, encoder_name, get_config
from .decoding import decode, step
from .device import Execution, choose_execution
from .dinov2 import DinoVisionTransformer, TokenMap
from .dpt_temporal import DPTHeadTemporal
from .frame_features import FrameFeatures
from .motion_module import MAX_FRAMES
from .offline import infer_depth
from .temporal_memory import TemporalMemory
from .windows import INFER_LEN, INTERP_LEN, KEYFRAMES, OVERLAP

# The class; and what users of the original import from here, which lives in `windows` and `alignment`.
__all__ = [
    "INFER_LEN",
    "INTERP_LEN",
    "KEYFRAMES",
    "OVERLAP",
    "VideoDepthAnything",
    "compute_scale_and_shift",
    "get_interpolate_frames",
]


class VideoDepthAnything(nn.Module):
    """Consistent depth for video (Chen et al., arXiv:2501.12375): DINOv2 encoder, DPT head with motion modules.

    The network is stateless: what belongs to one video lives in the objects that process it.

    Args:
        encoder: "vits", "vitb" or "vitl".
        features: width of the head's fusion path; the variant's own if None.
        out_channels: channels of the head's four maps; the variant's own if None.
        use_bn: as for `DPTHeadTemporal`, like the three that follow; there is one value for each.
        use_clstoken: False.
        num_frames: 32.
        pe: "ape".
        metric: whether the weights predict metres; changes how windows are joined, not the network.

    Raises:
        ValueError: if the encoder is unknown, or an argument has a value that the published networks do not have.
    """

    # Which blocks' tokens the head reads, for each variant.
    intermediate_layer_idx: Mapping[str, Sequence[int]] = {name: list(c.taps) for name, c in MODEL_CONFIGS.items()}

    def __init__(
        self,
        encoder: str = "vitl",
        features: int | None = None,
        out_channels: Sequence[int] | None = None,
        use_bn: bool = False,
        use_clstoken: bool = False,
        num_frames: int = MAX_FRAMES,
        pe: str = "ape",
        metric: bool = False,
    ) -> None:
        super().__init__()
        config = get_config(encoder)
        if features is not None:
            config = replace(config, features=features)
        if out_channels is not None:
            first, second, third, fourth = out_channels
            config = replace(config, out_channels=(first, second, third, fourth))
        self.encoder = encoder_name(encoder)
        self.config = config
        self.metric = metric
        self.pretrained = DinoVisionTransformer(config)
        self.head = DPTHeadTemporal(
            config.embed_dim, config.features, use_bn, config.out_channels, use_clstoken, num_frames, pe
        )

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

    def forward(self, frames: Tensor, micro_batch_size: int = MAX_FRAMES) -> Tensor:
        """Depth of one window.

        Args:
            frames: (B, T, 3, H, W) normalised RGB, T <= 32, H and W multiples of 14.
            micro_batch_size: frames of each clip rendered together, which bounds memory.

        Returns:
            (B, T, H, W) float32, >= 0. Relative models: affine-invariant inverse depth; metric models: metres.
        """
        length = frames.shape[1]
        window = self.encode(frames.flatten(0, 1)).split_clips(length)
        return torch.cat(list(self.decode(window, range(length), micro_batch_size)), dim=1)

    def forward_features(self, frames: Tensor) -> tuple[TokenMap, ...]:
        """The encoder's half of `forward`, as the original cuts it.

        Args:
            frames: (B, T, 3, H, W) normalised RGB, H and W multiples of 14.

        Returns:
            Four pairs of patch tokens (B * T, h * w, C) and class token (B * T, C).
        """
        return tuple(self.pretrained(frames.flatten(0, 1)))

    def forward_depth(
        self, features: Sequence[tuple[Tensor, Tensor]], x_shape: Sequence[int], cached_hidden_state_list: None = None
    ) -> tuple[Tensor, list[Tensor]]:
        """The head's half of `forward`.

        Args:
            features: what `forward_features` returns.
            x_shape: (B, T, 3, H, W) of the frames.
            cached_hidden_state_list: None, as for `DPTHeadTemporal.forward`.

        Returns:
            (B, T, H, W) float32 as from `forward`, and an empty list in place of the original's states.
        """
        batch, length, _, height, width = x_shape
        grid = (height // PATCH_SIZE, width // PATCH_SIZE)
        depth, states = self.head(features, *grid, length, cached_hidden_state_list=cached_hidden_state_list)
        return depth.squeeze(1).unflatten(0, (batch, length)), states

    def infer_video_depth(
        self,
        frames: npt.NDArray[np.uint8] | Iterable[npt.ArrayLike],
        target_fps: float = -1,
        input_size: int = 518,
        device: str | torch.device | None = None,
        fp32: bool = False,
    ) -> tuple[npt.NDArray[np.float32], float]:
        """Depth of a whole video at once. For long videos take `video_depth_anything.offline.infer_depth`.

        Args:
            frames: N frames (H, W, 3) RGB, 0..255: an array, a tensor, or any series of frames.
            target_fps: handed through.
            input_size: shorter side of the network's input in pixels.
            device: where the model is; None asks the model.
            fp32: compute in float32 throughout; else in the device's usual precision.

        Returns:
            (N, H, W) float32 depth, and `target_fps`. Relative models: inverse depth, larger is nearer; metric: metres.

        Raises:
            TypeError: if `frames` is a path.
            ValueError: if there are no frames, one is unusable, or the model lies on another device.
            NonFiniteError: if a frame has no finite depth at all.
        """
        depths = list(infer_depth(self, frames, input_size, self.execution(device, fp32, input_size)))
        if not depths:
            raise ValueError("the video has no frames")
        return np.stack(depths), target_fps

    def execution(
        self, device: str | torch.device | None = None, fp32: bool = False, input_size: int | None = None
    ) -> Execution:
        """How the inference methods run.

        Args:
            device: where the caller believes the model to be; None asks the model.
            fp32: whether to compute in float32; else in the device's usual precision.
            input_size: shorter side of the network's input in pixels, if it is known.

        Raises:
            ValueError: if `device` is another one than the model's.
        """
        own = next(self.parameters()).device
        if device is not None and torch.device(device).type != own.type:
            raise ValueError(f"the model is on {own}, not on {device}; move it there with model.to({str(device)!r})")
        return choose_execution(own, "fp32" if fp32 else "auto", input_size=input_size)
