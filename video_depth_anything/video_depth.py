"""VideoDepthAnything: the network, and depth of whole videos with it."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator, Mapping, Sequence, Sized
from dataclasses import replace
from itertools import islice

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn
from tqdm import tqdm

from .alignment import DepthMap, compute_scale_and_shift, get_interpolate_frames
from .config import MODEL_CONFIGS, PATCH_SIZE, encoder_name, get_config
from .decoding import decode, step
from .device import Execution, choose_execution
from .dinov2 import DINOv2
from .dpt_temporal import DPTHeadTemporal
from .frame_features import FrameFeatures
from .motion_module.motion_module import MAX_FRAMES
from .offline import infer_depth
from .temporal_memory import TemporalMemory
from .windows import INFER_LEN, INTERP_LEN, KEYFRAMES, OVERLAP, STEP

logger = logging.getLogger(__name__)

# The class, and names that users of the original import from here.
__all__ = [
    "INFER_LEN",
    "INTERP_LEN",
    "KEYFRAMES",
    "OVERLAP",
    "DINOv2",
    "DPTHeadTemporal",
    "VideoDepthAnything",
    "compute_scale_and_shift",
    "get_interpolate_frames",
    "tqdm",
]


class VideoDepthAnything(nn.Module):
    """Consistent depth for video (Chen et al., arXiv:2501.12375): DINOv2 encoder, DPT head with motion modules.

    The network is stateless: the state of a video is held by the objects that process it.

    Args:
        encoder: "vits", "vitb" or "vitl".
        features: width of the head's fusion path; the variant's own if None.
        out_channels: channels of the head's four maps; the variant's own if None.
        use_bn: see `DPTHeadTemporal`, as for the next three; only their published values are supported.
        use_clstoken: False.
        num_frames: 32.
        pe: "ape".
        metric: whether the weights predict metres; this changes how windows are aligned, not the network.

    Raises:
        ValueError: if the encoder is unknown, or an argument has a value that the published networks do not have.
    """

    # Indices of the blocks whose tokens the head reads, for each variant.
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
        self.pretrained = DINOv2(encoder)
        self.head = DPTHeadTemporal(
            config.embed_dim, config.features, use_bn, config.out_channels, use_clstoken, num_frames, pe
        )

    def encode(self, images: Tensor) -> FrameFeatures:
        """Run the per-frame half on images (N, 3, H, W) of normalised RGB, with sides that are multiples of 14."""
        grid = (images.shape[-2] // PATCH_SIZE, images.shape[-1] // PATCH_SIZE)
        return self.head.encode(self.forward_features(images.unsqueeze(0)), grid)

    def decode(
        self, window: Sequence[FrameFeatures], slots: Sequence[int], frames_at_once: int = MAX_FRAMES
    ) -> Iterator[Tensor]:
        """Run the temporal half: yields depth of selected slots of a window.

        Args:
            window: features of at most 32 frames in temporal order, each of N = B clips.
            slots: which frames of the window to render.
            frames_at_once: maximum n of the yielded (B, n, H, W) float32; bounds memory.
        """
        return decode(self.head, window, slots, frames_at_once)

    @torch.no_grad()
    def step(self, features: FrameFeatures, memory: TemporalMemory) -> Tensor:
        """Streaming's counterpart of `decode`: depth (B, H, W) float32 of the next frame of N = B videos.

        The frame is added to `memory`, which holds the state of earlier ones; a new video needs a new memory.
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
        grid = (frames.shape[-2] // PATCH_SIZE, frames.shape[-1] // PATCH_SIZE)
        window = self.head.encode(self.forward_features(frames), grid).split_clips(length)
        return torch.cat(list(self.decode(window, range(length), micro_batch_size)), dim=1)

    def forward_features(self, x: Tensor) -> tuple[tuple[Tensor, Tensor], ...]:
        """The encoder's half of `forward`: four pairs of patch tokens (B * T, h * w, C) and class token (B * T, C)."""
        chosen = self.intermediate_layer_idx[self.encoder]
        return self.pretrained.get_intermediate_layers(x.flatten(0, 1), chosen, return_class_token=True)

    def forward_depth(
        self,
        features: Sequence[tuple[Tensor, ...]],
        x_shape: Sequence[int],
        cached_hidden_state_list: Sequence[Tensor] | None = None,
    ) -> tuple[Tensor, list[Tensor]]:
        """The head's half of `forward`, or a stream's next frame.

        Args:
            features: result of `forward_features`.
            x_shape: (B, T, 3, H, W) of the frames.
            cached_hidden_state_list: see `DPTHeadTemporal.forward`.

        Returns:
            (B, T, H, W) float32 as from `forward`, and the eight states that `DPTHeadTemporal.forward` returns.
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
        """Compute depth of a whole video in memory. For long videos use `infer_depth`.

        Replaced `forward`, `forward_features` and `pretrained.get_intermediate_layers` are called; a replaced `forward`
        computes all frames of each window.

        Args:
            frames: (N, H, W, 3) RGB, 0..255: an array, a tensor, or a sequence of frames.
            target_fps: returned unchanged.
            input_size: shorter side of the network's input in pixels.
            device: the model's device; None: detected.
            fp32: compute in float32; otherwise in the device's default precision.

        Returns:
            (N, H, W) float32 depth, and `target_fps`. Relative models: inverse depth, larger is nearer; metric: metres.

        Raises:
            TypeError: if `frames` is a path.
            ValueError: if there are no frames, a frame is invalid, the weights are in half precision, or the model is
                on another device.
            NonFiniteError: if a frame has no finite depth.
        """
        execution = self.execution(device, fp32, input_size)
        network = _WholeWindows(self) if "forward" in self.replaced_parts("forward", "forward_features") else self
        maps = infer_depth(network, frames, input_size, execution)
        depths: list[DepthMap] = []
        for _ in tqdm(range(0, len(frames), STEP)) if isinstance(frames, Sized) else ():
            depths += islice(maps, STEP)
        depths += maps
        if not depths:
            raise ValueError("the video has no frames")
        return np.stack(depths), target_fps

    def execution(
        self, device: str | torch.device | None = None, fp32: bool = False, input_size: int | None = None
    ) -> Execution:
        """Device and precision of the inference methods.

        Args:
            device: the model's device according to the caller; None: detected.
            fp32: whether to compute in float32; else in the device's default precision.
            input_size: shorter side of the network's input in pixels, if known.

        Raises:
            ValueError: if `device` is another one than the model's, or the weights are in half precision.
        """
        weight = next(self.parameters())
        if device is not None and torch.device(device).type != weight.device.type:
            own = f"the model is on {weight.device}, not on {device}"
            raise ValueError(f"{own}; move it there with model.to({str(device)!r})")
        if weight.dtype != torch.float32:
            half = str(weight.dtype).removeprefix("torch.")
            raise ValueError(
                f"the weights are {half}; call model.float(); layers that benefit from half precision still use it"
            )
        return choose_execution(weight.device, "fp32" if fp32 else "auto", input_size=input_size)

    def replaced_parts(self, *methods: str) -> list[str]:
        """Names of those methods, the encoder's too, that a program has replaced on this object or in a subclass."""
        known = {name: getattr(VideoDepthAnything, name) for name in methods}
        names = [name for name in methods if name in vars(self) or getattr(type(self), name) != known[name]]
        if "get_intermediate_layers" in vars(self.pretrained):
            names.append("pretrained.get_intermediate_layers")
        if names:
            logger.debug("replaced by the calling program, and called as it is: %s", ", ".join(names))
        return names


class _WholeWindows:
    """A network for `infer_depth` that computes each window by the model's `forward`; its features are the images."""

    def __init__(self, model: VideoDepthAnything) -> None:
        self.metric = model.metric
        self._model = model

    def encode(self, images: Tensor) -> FrameFeatures:
        return FrameFeatures(images, images, images, images)

    def decode(self, window: Sequence[FrameFeatures], slots: Sequence[int], frames_at_once: int) -> Iterator[Tensor]:
        yield self._model.forward(torch.stack([features.map1 for features in window], dim=1))[:, list(slots)].float()
