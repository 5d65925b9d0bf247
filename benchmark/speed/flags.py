"""Command line arguments that the speed benchmarks share. Imports nothing heavy."""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from pathlib import Path

from video_depth_anything.cli.parser import positive_int
from video_depth_anything.config import BACKENDS, DEVICES, ENCODERS, OPENVINO_DEVICES, PRECISIONS

COMPILED = "compiled"


@dataclass(frozen=True)
class Variant:
    """One way to compute: a backend, `compiled` for the scripts' `--compile`, and a precision."""

    backend: str
    precision: str

    @property
    def name(self) -> str:
        """As it is written on the command line, `torch:fp32`."""
        return f"{self.backend}:{self.precision}"


def variant(text: str) -> Variant:
    """Argument type: BACKEND:PRECISION."""
    backend, _, precision = text.partition(":")
    if backend not in (*BACKENDS, COMPILED) or precision not in PRECISIONS:
        known = f"one of {', '.join((*BACKENDS, COMPILED))}, a colon, and one of {', '.join(PRECISIONS)}"
        raise argparse.ArgumentTypeError(f"{text!r} is not {known}")
    return Variant(backend, precision)


def torch_device(name: str) -> str:
    """The device for what knows only PyTorch's, as other trees do."""
    return "cpu" if name in OPENVINO_DEVICES else name


def frame_size(text: str) -> tuple[int, int]:
    """Argument type: WIDTHxHEIGHT in pixels; returns (height, width)."""
    try:
        width, height = (positive_int(side) for side in text.lower().split("x"))
    except (ValueError, argparse.ArgumentTypeError):
        raise argparse.ArgumentTypeError(f"{text!r} is not a size like 960x540") from None
    return height, width


def parser_for(
    description: str | None,
    *,
    input_size: int | None = None,
    variants: tuple[str, ...] = (),
    size: str | None = None,
    frames: int | None = None,
    repeats: int | None = None,
) -> argparse.ArgumentParser:
    """A parser that shows a module's documentation, with an argument for each default that is given."""
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    add = parser.add_argument
    if input_size is not None:
        add("--encoder", choices=ENCODERS, default="vits")
        add("--checkpoint", type=Path, help="a .pth file (default: random weights)")
        what = f"shorter side of the network's input (default: {input_size})"
        add("--input_size", type=positive_int, default=input_size, help=what)
        add("--device", choices=DEVICES, default="auto")
    if variants:
        what = f"BACKEND:PRECISION, backends {', '.join((*BACKENDS, COMPILED))} (default: {' '.join(variants)})"
        default = [variant(text) for text in variants]
        add("--variants", type=variant, nargs="+", default=default, metavar="VARIANT", help=what)
        what = "also measure this checkout of the original, or any tree with its classes, in a process of its own"
        add("--against", type=Path, metavar="PATH", help=what)
    if size is not None:
        what = f"WIDTHxHEIGHT of the frames (default: {size})"
        add("--size", type=frame_size, default=frame_size(size), metavar="WxH", help=what)
    if frames is not None:
        add("--input_video", type=Path, help="take frames from this file, from its start again at its end")
        add("--frames", type=positive_int, default=frames, help=f"default: {frames}")
    if repeats is not None:
        add("--repeats", type=positive_int, default=repeats, help=f"times each (default: {repeats})")
    return parser
