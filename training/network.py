"""The differentiable path through the network that training takes; the one place that knows the network's parts.

Training renders only some frames of a clip, and can leave the motion modules out.
Shapes: B clips, T frames, h x w patches, L = h w, C encoder width.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from functools import partial
from typing import Literal, TypeVar, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.checkpoint import checkpoint

from training.settings import Stage
from video_depth_anything.config import PATCH_SIZE
from video_depth_anything.temporal_memory import float32_region
from video_depth_anything.util.blocks import resize
from video_depth_anything.video_depth import VideoDepthAnything

T = TypeVar("T")
Grid = tuple[int, int]
ENCODER = "pretrained."
MOTION = "head.motion_modules."
# Carried by the checkpoints, read by no computation: they can get no gradient.
UNUSED = ("pretrained.mask_token", "head.scratch.refinenet4.resConfUnit1.")


def token_maps(model: VideoDepthAnything, images: Tensor) -> tuple[Tensor, ...]:
    """Encode frames (..., 3, H, W) to the four tapped token maps, each (..., L, C)."""
    leading = images.shape[:-3]
    taps = model.pretrained.get_intermediate_layers(images.flatten(0, -4), model.pretrained.taps)
    return tuple(tokens.unflatten(0, leading) for tokens in taps)


class TrainingNetwork(nn.Module):
    """The model behind one `forward`, as DistributedDataParallel wants it.

    Args:
        model: the network.
        stage: "image" takes each frame on its own, without the motion modules.
        recompute: whether activations are computed again in the backward pass, part by part, and not kept.
    """

    def __init__(self, model: VideoDepthAnything, stage: Stage, recompute: bool = False) -> None:
        super().__init__()
        self.model = model
        self.stage = stage
        self.recompute = recompute

    def forward(self, inputs: tuple[Tensor, ...], slots: Sequence[int]) -> Tensor:
        """Depth (B, n, H, W) float32 of chosen frames of clips.

        Args:
            inputs: as `Sample.inputs`, with a leading dimension of B clips.
            slots: numbers of n frames of the clips; the others only take part in the mixing along time.
        """
        if self.stage == "image":
            inputs, slots = tuple(x[:, list(slots)] for x in inputs), range(len(slots))
        trained = any(p.requires_grad for p in self.model.pretrained.parameters())
        with torch.set_grad_enabled(trained and torch.is_grad_enabled()):
            tokens, grid = self.tokens(inputs)
        return self._depth(tokens, grid, list(slots))

    def tokens(self, inputs: tuple[Tensor, ...]) -> tuple[tuple[Tensor, ...], Grid]:
        """The four token maps (B, T, L, C), and their (h, w)."""
        (images,) = inputs
        frames = self._pieces(lambda x: token_maps(self.model, x), images.flatten(0, 1))
        maps = (torch.cat(parts).unflatten(0, images.shape[:2]) for parts in zip(*frames))
        return tuple(maps), (images.shape[-2] // PATCH_SIZE, images.shape[-1] // PATCH_SIZE)

    def finest(self, path: Tensor, map2: Tensor, map1: Tensor, grid: Grid) -> Tensor:
        """The head's finer half: (N, features / 2, 14h, 14w) from the path after motion module 3, and maps 2 and 1."""
        return resize(self.model.head.refine(path, map2, map1), (PATCH_SIZE * grid[0], PATCH_SIZE * grid[1]))

    def pixels(self, maps: Tensor) -> Tensor:
        """Of maps (.., 14h, 14w), the pixels that `forward` gives."""
        return maps

    def temporal_attention(self, device_type: str) -> AbstractContextManager[object]:
        """Context in which the motion modules' attention is differentiated well.

        On a CPU the fused kernel's backward pass is slow for many short sequences; plain matrix products are faster.
        """
        return sdpa_kernel(SDPBackend.MATH) if device_type == "cpu" else nullcontext()

    def _call(self, function: Callable[..., T], *maps: Tensor) -> T:
        """What the function gives; with `recompute` nothing of its inside is kept for the backward pass."""
        if not (self.recompute and torch.is_grad_enabled()):
            return function(*maps)
        result: T = checkpoint(function, *maps, use_reentrant=False, preserve_rng_state=False)
        return result

    def _pieces(self, function: Callable[..., T], *maps: Tensor) -> list[T]:
        """What a function that sees one frame alone gives: for each frame with `recompute`, else for all at once."""
        if not (self.recompute and torch.is_grad_enabled()):
            return [function(*maps)]
        return [self._call(function, *(x[i : i + 1] for x in maps)) for i in range(len(maps[0]))]

    def _depth(self, tokens: Sequence[Tensor], grid: Grid, slots: list[int]) -> Tensor:
        head = self.model.head
        batch, length = tokens[0].shape[:2]
        rendered = [t if slots == list(range(length)) else t[:, slots] for t in tokens[:2]]
        map1, map2 = (head.project(i, t.flatten(0, 1), grid) for i, t in enumerate(rendered))
        map3, map4 = (head.resize_layers[i](head.project(i, tokens[i].flatten(0, 1), grid)) for i in (2, 3))

        def mix(index: int, maps: Tensor) -> Tensor:
            if self.stage == "image":
                return maps
            with self.temporal_attention(maps.device.type):
                return head.motion(index, maps.unflatten(0, (batch, length))).flatten(0, 1)

        def end(path: Tensor, map2: Tensor, map1: Tensor) -> Tensor:
            return self._finish(self.finest(path, map2, map1, grid))

        map3, map4 = self._call(partial(mix, 0), map3), self._call(partial(mix, 1), map4)
        path, skip3 = self._call(head.coarse, map3, map4)
        path = self._call(partial(mix, 2), path)
        path = self._call(partial(mix, 3), self._call(head.fine, path, skip3))
        if len(slots) < length:
            path = path.unflatten(0, (batch, length))[:, slots].flatten(0, 1)
        return torch.cat(self._pieces(end, path, map2, map1)).unflatten(0, (batch, -1))

    def _finish(self, maps: Tensor) -> Tensor:
        """The end of the head, but the wide convolution at full resolution runs in the autocast type.

        It is the most expensive layer of a training step, and its rounding is noise that training averages out; the
        depth itself stays float32.
        """
        wide, _, last, _ = cast(Sequence[nn.Conv2d], self.model.head.scratch.output_conv2)
        hidden = F.relu(wide(maps))
        with float32_region(hidden.device.type):
            # As a product of channels-last pixels: a convolution with one pixel is slow on a CPU.
            return F.relu(F.linear(hidden.permute(0, 2, 3, 1).float(), last.weight.flatten(1), last.bias)).squeeze(-1)


def kind_of(name: str) -> Literal["encoder", "motion", "head"]:
    """Which part of the network the parameter of that name belongs to."""
    return "encoder" if name.startswith(ENCODER) else "motion" if name.startswith(MOTION) else "head"


def frozen_encoder(weights: Mapping[str, Tensor], blocks: int) -> dict[str, Tensor]:
    """Of a state dict, the encoder's weights outside its last `blocks` blocks."""
    numbers = {name: int(name.split(".")[2]) for name in weights if name.startswith(f"{ENCODER}blocks.")}
    first_live = max(numbers.values()) + 1 - blocks
    return {n: v for n, v in weights.items() if n.startswith(ENCODER) and numbers.get(n, -1) < first_live}


def set_trainable(
    model: VideoDepthAnything, stage: Stage, encoder: bool, head: bool = True, encoder_blocks: int = 0
) -> None:
    """Let gradients reach what this stage trains, and nothing else.

    `encoder_blocks` are how many of the encoder's last blocks `encoder` means; 0 for all of it.
    """
    trained = {"encoder": encoder, "head": head, "motion": stage == "clip"}
    frozen = frozen_encoder(model.state_dict(), encoder_blocks) if encoder_blocks else {}
    for name, parameter in model.named_parameters():
        parameter.requires_grad_(trained[kind_of(name)] and not name.startswith(UNUSED) and name not in frozen)
