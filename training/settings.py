"""What a training run is, as far as it decides the weights: its recipe, as flags. Imports nothing heavy."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from training.flags import not_negative, share, whole
from video_depth_anything.cli.parser import positive_int
from video_depth_anything.options import option

Stage = Literal["image", "clip"]


@dataclass(frozen=True)
class Settings:
    """`metric`: whether the network predicts metres; else disparity. `encoder_blocks`: how many of the encoder's last
    blocks are live, which `encoder_lr` is for then; 0: all of it.
    """

    metric: bool = False
    encoder_blocks: int = 0
    stage: Stage = option(
        "image", "image: single frames, without the motion modules; clip: clips with them", choices=("image", "clip")
    )
    steps: int = option(1000, "number of steps; the learning rate's schedule depends on it", positive_int)
    batch_size: int = option(8, "clips per step, over all processes (default: 8 images, 1 clip)", positive_int)
    frames: int = option(1, "frames per clip (default: 1 for images, 8 for clips)", positive_int)
    render: int = option(0, "number of consecutive frames of a clip whose depth is computed; 0: all", whole)
    lr: float = option(1e-4, "learning rate of the head; 0: frozen", not_negative)
    motion_lr: float = option(1e-4, "learning rate of the motion modules", not_negative)
    encoder_lr: float = option(
        0.0,
        "learning rate of the encoder, or of its last blocks; 0: frozen (default: 0; with --encoder_blocks, --lr / 10)",
        not_negative,
    )
    weight_decay: float = option(0.01, "weight decay of AdamW", not_negative)
    warmup: int = option(100, "number of steps over which the learning rates rise", whole, metavar="STEPS")
    clip_norm: float = option(1.0, "maximum gradient norm; 0: no limit", not_negative)
    ema: float = option(0.999, "decay of the averaged weights", share)
    alpha: float = option(0.5, "weight of gradient matching", not_negative)
    trim: float = option(0.0, "share of the largest errors to ignore", share)
    formula: Literal["published", "paper"] = option(
        "published", "form of the temporal loss", choices=("published", "paper")
    )
    stable_weight: float = option(10.0, "weight of the temporal loss", not_negative)
    scale_weight: float = option(0.05, "weight of the scale loss (default: 0.05; metric weights 0)", not_negative)
    log_weight: float = option(0.0, "weight of the log loss", not_negative)
    log_gradient_weight: float = option(
        0.0,
        "weight of the edge loss",
        not_negative,
        metavar="WEIGHT",
    )
    boundary_weight: float = option(
        0.0, "additional weight of boundaries in the edge loss", not_negative, metavar="WEIGHT"
    )
    keep_weight: float = option(4.0, "weight of --keep", not_negative, metavar="WEIGHT")
    coarse_share: float = option(
        1.0, "learning rate of the head's coarser half, as a share of --lr; 0: frozen", share, metavar="SHARE"
    )
    seed: int = option(0, "random seed", whole)
