"""Command line arguments that the speed benchmarks share. Imports nothing heavy, so that `--help` is instant."""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from pathlib import Path

from video_depth_anything.cli.parser import positive_int
from video_depth_anything.config import BACKENDS, DEVICES, ENCODERS, OPENVINO_DEVICES, PRECISIONS

PLAIN = "plain"
COMPILED = "compiled"
VARIANT_BACKENDS = (*BACKENDS, COMPILED, PLAIN)


@dataclass(frozen=True)
class Variant:
    """One way to compute: a backend, and a precision as `--precision` of the scripts names it.

    `compiled` is the scripts' `--compile`, `plain` this project's own repetition of the original's order of work.
    """

    backend: str
    precision: str

    @property
    def name(self) -> str:
        """As it is written on the command line, `torch:fp32`."""
        return f"{self.backend}:{self.precision}"


def variant(text: str) -> Variant:
    """Argument type: BACKEND:PRECISION."""
    backend, _, precision = text.partition(":")
    if backend not in VARIANT_BACKENDS or precision not in PRECISIONS:
        known = f"one of {', '.join(VARIANT_BACKENDS)}, a colon, and one of {', '.join(PRECISIONS)}"
        raise argparse.ArgumentTypeError(f"{text!r} is not {known}")
    return Variant(backend, precision)


def torch_device(name: str) -> str:
    """The device for what knows only PyTorch's: the plain network, and other trees."""
    return "cpu" if name in OPENVINO_DEVICES else name


def frame_size(text: str) -> tuple[int, int]:
    """Argument type: WIDTHxHEIGHT in pixels; returns (height, width)."""
    try:
        width, height = (positive_int(side) for side in text.lower().split("x"))
    except (ValueError, argparse.ArgumentTypeError):
        raise argparse.ArgumentTypeError(f"{text!r} is not a size like 960x540") from None
    return height, width


def parser_for(description: str | None) -> argparse.ArgumentParser:
    """A parser whose help shows the module's documentation as it is written."""
    return argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)


def add_model_arguments(parser: argparse.ArgumentParser, input_size: int) -> None:
    """Which network, on which device."""
    parser.add_argument("--encoder", choices=ENCODERS, default="vits")
    parser.add_argument("--checkpoint", type=Path, help="a .pth file (default: random weights)")
    what = f"shorter side of the network's input (default: {input_size})"
    parser.add_argument("--input_size", type=positive_int, default=input_size, help=what)
    parser.add_argument("--device", choices=DEVICES, default="auto")


def add_variant_arguments(parser: argparse.ArgumentParser, default: tuple[str, ...]) -> None:
    """What is measured."""
    what = f"BACKEND:PRECISION, backends {', '.join(VARIANT_BACKENDS)} (default: {' '.join(default)})"
    given = [variant(text) for text in default]
    parser.add_argument("--variants", type=variant, nargs="+", default=given, metavar="VARIANT", help=what)
    add_against_argument(parser)


def add_against_argument(parser: argparse.ArgumentParser) -> None:
    """Another tree to measure."""
    what = "also measure this checkout of the original project, or any tree with its classes, in a process of its own"
    parser.add_argument("--against", type=Path, metavar="PATH", help=what)


def add_size_argument(parser: argparse.ArgumentParser, size: str) -> None:
    """How large the frames are; `size` is the default, as it is written."""
    what = f"WIDTHxHEIGHT of the frames (default: {size})"
    parser.add_argument("--size", type=frame_size, default=size, metavar="WxH", help=what)


def add_clip_arguments(parser: argparse.ArgumentParser, frames: int) -> None:
    """The frames that the network sees."""
    add_size_argument(parser, "960x540")
    parser.add_argument("--input_video", type=Path, help="take frames from this file, from its start again at its end")
    parser.add_argument("--frames", type=positive_int, default=frames, help=f"default: {frames}")


def add_repeats_argument(parser: argparse.ArgumentParser, repeats: int) -> None:
    """How often each thing is measured."""
    parser.add_argument("--repeats", type=positive_int, default=repeats, help=f"times each (default: {repeats})")


def offline_parser(description: str | None) -> argparse.ArgumentParser:
    """A parser with what all benchmarks of offline inference have."""
    parser = parser_for(description)
    add_model_arguments(parser, input_size=280)
    add_variant_arguments(parser, default=("torch:fp32", "torch:bf16"))
    add_clip_arguments(parser, frames=44)
    add_repeats_argument(parser, 3)
    return parser
