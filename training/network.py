"""The differentiable path through the network that training takes; the one place that knows the network's parts.

Training enters at what a frozen encoder needs to compute only once: its token maps, or, where its last blocks are live
in training, the maps below these and the stream that enters them. It renders only some frames of a clip, and can leave
the motion modules out. Shapes: B clips, T frames, h x w patches, L = h w, C encoder width.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel

from video_depth_anything.config import PATCH_SIZE
from video_depth_anything.dinov2 import DinoVisionTransformer
from video_depth_anything.dpt import resize
from video_depth_anything.temporal_memory import float32_region
from video_depth_anything.video_depth import VideoDepthAnything

Stage = Literal["image", "clip"]
ENCODER = "pretrained."
MOTION = "head.motion_modules."
# Carried by the checkpoints, read by no computation: they can get no gradient.
UNUSED = ("pretrained.mask_token", "head.scratch.refinenet4.resConfUnit1.")


def token_maps(model: VideoDepthAnything, images: Tensor) -> tuple[Tensor, ...]:
    """Encode frames (..., 3, H, W) to the four tapped token maps, each (..., L, C)."""
    leading = images.shape[:-3]
    taps = model.pretrained(images.flatten(0, -4))
    return tuple(tap.patches.unflatten(0, leading) for tap in taps)


def frozen_maps(encoder: DinoVisionTransformer, blocks: int) -> int:
    """How many of the four token maps come from below the stream that enters the last `blocks` blocks."""
    return sum(tap < len(encoder.blocks) - blocks - 1 for tap in encoder.taps)


def encode_frozen(model: VideoDepthAnything, images: Tensor, blocks: int) -> tuple[Tensor, ...]:
    """What the frozen part of the encoder makes of frames.

    Args:
        model: the network.
        images: (N, 3, H, W) float32, normalised.
        blocks: how many of the encoder's last blocks are live in training.

    Returns:
        Without live blocks the four token maps (N, L, C). With them the maps below the stream that enters these
        blocks, and the stream (N, 1 + L, C): before the norm, class token first. Other maps follow from the stream.
    """
    if not blocks:
        return token_maps(model, images)
    stream: list[Tensor] = []
    hook = model.pretrained.blocks[-blocks - 1].register_forward_hook(lambda *call: stream.append(call[-1]))
    try:
        maps = token_maps(model, images)
    finally:
        hook.remove()
    return *maps[: frozen_maps(model.pretrained, blocks)], stream[0]


def maps_from_stream(encoder: DinoVisionTransformer, stream: Tensor, blocks: int) -> list[Tensor]:
    """The token maps (.., L, C) that follow from the stream (.., 1 + L, C) that enters the last `blocks` blocks."""
    leading, x = stream.shape[:-2], stream.flatten(0, -3)
    depth, maps = len(encoder.blocks), []
    for index in range(depth - blocks - 1, depth):
        if index >= depth - blocks:
            x = encoder.blocks[index](x)
        if index in encoder.taps:
            maps.append(encoder.norm(x)[:, 1:].unflatten(0, leading))
    return maps


def depth_from_tokens(
    model: VideoDepthAnything,
    tokens: Sequence[Tensor],
    grid: tuple[int, int],
    slots: Sequence[int],
    motion: bool,
    coarse: bool = False,
) -> Tensor:
    """Depth of chosen frames of clips.

    Args:
        tokens: four maps (B, T, L, C).
        grid: (h, w) with h w = L.
        slots: the frames to render; the others only take part in the mixing along time.
        motion: whether the motion modules run; without them each frame is on its own.
        coarse: whether the finer half of the head works on maps of 2h x 2w, without enlarging them.

    Returns:
        (B, len(slots), 14h, 14w) float32; with `coarse` (B, len(slots), 2h, 2w).
    """
    head = model.head
    batch, length = tokens[0].shape[:2]
    chosen = list(slots)
    if not motion:
        tokens, length, chosen = [t[:, chosen] for t in tokens], len(chosen), list(range(len(chosen)))
    rendered = [t if chosen == list(range(length)) else t[:, chosen] for t in tokens[:2]]
    map1, map2 = (head.project(i, t.flatten(0, 1), grid) for i, t in enumerate(rendered))
    map3, map4 = (head.reassemble(i, tokens[i].flatten(0, 1), grid) for i in (2, 3))

    def mix(index: int, maps: Tensor) -> Tensor:
        return head.motion(index, maps.unflatten(0, (batch, length))).flatten(0, 1) if motion else maps

    path, skip3 = head.coarse(mix(0, map3), mix(1, map4))
    path = mix(3, head.fine(mix(2, path), skip3))
    if len(chosen) < length:
        path = path.unflatten(0, (batch, length))[:, chosen].flatten(0, 1)
    if coarse:
        size = (path.shape[-2], path.shape[-1])
        finest = head.scratch.narrow(1, F.avg_pool2d(head.resize_layers[0](map1), 2))
        for level, skip in ((2, head.skip(2, map2)), (1, head.scratch.fusion(1).skip(finest))):
            path = head.scratch.fusion(level)(path, skip, size)
        maps = head.scratch.output_conv1(path)
    else:
        maps = resize(head.refine(path, map2, map1), (PATCH_SIZE * grid[0], PATCH_SIZE * grid[1]))
    return _finish(model, maps).unflatten(0, (batch, -1))


def _finish(model: VideoDepthAnything, maps: Tensor) -> Tensor:
    """The end of the head, but the wide convolution at full resolution runs in the autocast type.

    It is the most expensive layer of a training step, and its rounding is noise that training averages out; the depth
    itself stays float32.
    """
    wide, _, last, _ = model.head.scratch.output_conv2
    hidden = F.relu(wide(maps))
    with float32_region(hidden.device.type):
        return F.relu(last(hidden.float())).squeeze(1)


class TrainingNetwork(nn.Module):
    """The model behind one `forward`, as DistributedDataParallel wants it."""

    def __init__(self, model: VideoDepthAnything, stage: Stage, coarse: bool = False, encoder_blocks: int = 0) -> None:
        super().__init__()
        self.model = model
        self.stage = stage
        self.coarse = coarse
        self.encoder_blocks = encoder_blocks

    def forward(self, inputs: tuple[Tensor, ...], slots: Sequence[int]) -> Tensor:
        """Depth (B, n, H, W) float32 of the chosen slots; two pixels a patch and side if `coarse`.

        Args:
            inputs: normalised images (B, T, 3, H, W) alone; or the four token maps (B, T, h, w, C); or, with live
                encoder blocks, the maps below them and the stream (B, T, 1 + L, C), as `encode_frozen` makes them.
            slots: numbers of frames of a clip.
        """
        if self.stage == "image":
            inputs, slots = tuple(x[:, list(slots)] for x in inputs), range(len(slots))
        trained = any(p.requires_grad for p in self.model.pretrained.parameters())
        with torch.set_grad_enabled(trained and torch.is_grad_enabled()):
            tokens, grid = self._tokens(inputs)
        with temporal_attention(tokens[0].device.type):
            return depth_from_tokens(self.model, tokens, grid, slots, self.stage == "clip", self.coarse)

    def _tokens(self, inputs: tuple[Tensor, ...]) -> tuple[tuple[Tensor, ...], tuple[int, int]]:
        """The four token maps (B, T, L, C), and their (h, w)."""
        if len(inputs) == 1:
            height, width = inputs[0].shape[-2:]
            return token_maps(self.model, inputs[0]), (height // PATCH_SIZE, width // PATCH_SIZE)
        grid = (inputs[0].shape[2], inputs[0].shape[3])
        if not self.encoder_blocks:
            return tuple(x.flatten(2, 3) for x in inputs), grid
        *maps, stream = inputs
        live = maps_from_stream(self.model.pretrained, stream, self.encoder_blocks)
        return (*(x.flatten(2, 3) for x in maps), *live), grid


def coarse_pixels(maps: Tensor) -> Tensor:
    """Of maps (.., 14h, 14w), the pixels in the middle of those that `coarse` depth (.., 2h, 2w) has."""
    step = PATCH_SIZE // 2
    return maps[..., step // 2 :: step, step // 2 :: step]


def temporal_attention(device_type: str) -> AbstractContextManager[object]:
    """Context in which the motion modules' attention is differentiated well.

    On a CPU the fused kernel's backward pass is slow for many short sequences; plain matrix products are faster.
    """
    return sdpa_kernel(SDPBackend.MATH) if device_type == "cpu" else nullcontext()


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

    Args:
        model: the network.
        stage: "image" leaves the motion modules alone.
        encoder: whether the encoder is fine-tuned.
        head: whether the head's parts that see one frame are trained.
        encoder_blocks: how many of the encoder's last blocks are meant by `encoder`; 0 for all of it.
    """
    trained = {"encoder": encoder, "head": head, "motion": stage == "clip"}
    frozen = frozen_encoder(model.state_dict(), encoder_blocks) if encoder_blocks else {}
    for name, parameter in model.named_parameters():
        parameter.requires_grad_(trained[kind_of(name)] and not name.startswith(UNUSED) and name not in frozen)
