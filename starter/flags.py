"""Command line arguments that the programs here share. Imports nothing heavy."""

from __future__ import annotations

import argparse
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from training.flags import side
from training.settings import Settings
from video_depth_anything.cli.parser import positive_float
from video_depth_anything.options import option

if TYPE_CHECKING:
    from starter.scenes.render import SceneOptions


UNTRAINED = Path("checkpoints", "untrained_head_vits.pth")


@dataclass(frozen=True)
class CacheSettings(Settings):
    """As `Settings`, on caches of features."""

    coarse: bool = option(
        False, "compute depth at two pixels a patch and side only: for a start, at a quarter of the time"
    )


def add_scene_arguments(parser: argparse.ArgumentParser) -> None:
    """What the procedural generator renders."""
    group = parser.add_argument_group("procedural scenes")
    group.add_argument("--height", type=side, default=252, help="of the network's input in pixels")
    group.add_argument("--width", type=side, default=336, help="of the network's input in pixels")
    what = "kinds of scenes to draw from (default: all, rooms more often)"
    group.add_argument("--kinds", nargs="+", metavar="KIND", help=what)
    group.add_argument("--fps", type=positive_float, help="frames a second of a clip (default: 8 to 30, drawn)")
    group.add_argument("--furniture", type=Path, metavar="DIR", help="furniture models to place in rooms")


def scene_options(args: argparse.Namespace, frames: int) -> SceneOptions:
    """Options of the generator as the arguments say."""
    from starter.scenes.render import SceneOptions

    options = SceneOptions(
        num_frames=frames, height=args.height, width=args.width, furniture=args.furniture, fps=args.fps
    )
    return replace(options, kinds=tuple(args.kinds)) if args.kinds else options
