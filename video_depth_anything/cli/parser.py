"""The argument parser of all commands: dashes and underscores alike, short help, mistakes in two lines."""

from __future__ import annotations

import argparse
import math
from collections.abc import Sequence
from fractions import Fraction
from typing import Any, NoReturn

# The shorter side of 8K is 4320, and the attention of its 190,000 patches takes minutes a frame.
LARGEST_INPUT = 4320


class Parser(argparse.ArgumentParser):
    """An argument parser whose flags may be written with dashes or underscores, whichever the user remembers."""

    def __init__(self, **settings: Any) -> None:
        super().__init__(**settings, formatter_class=_Help)

    def parse_known_args(  # type: ignore[override]
        self, args: Sequence[str] | None = None, namespace: argparse.Namespace | None = None
    ) -> tuple[argparse.Namespace, list[str]]:
        import sys

        words = list(sys.argv[1:] if args is None else args)
        known = {name.replace("-", "_"): name for name in self._option_string_actions if name.startswith("--")}
        end = words.index("--") if "--" in words else len(words)
        for index, word in enumerate(words[:end]):
            if word.startswith("--"):
                name, equals, value = word.partition("=")
                words[index] = known.get(name.replace("-", "_"), name) + equals + value
        return super().parse_known_args(words, namespace)

    def error(self, message: str) -> NoReturn:
        """End with the mistake and where to read on, and exit code 2."""
        self.exit(2, f"error: {message}\nsee `{self.prog} --help`\n")


class _Help(argparse.HelpFormatter):
    """Shows defaults that say something: no False, no infinity, no None."""

    def __init__(self, prog: str) -> None:
        super().__init__(prog, max_help_position=32)

    def _get_help_string(self, action: argparse.Action) -> str | None:
        text = action.help or ""
        default = action.default
        shown = (
            action.option_strings
            and not isinstance(default, bool)
            and default not in (None, argparse.SUPPRESS, math.inf)
        )
        if shown and not isinstance(default, (list, tuple)) and "(default" not in text:
            text += " (default: %(default)s)"
        return text


def positive_int(text: str) -> int:
    """Argument type: a whole number above zero."""
    try:
        value = int(text)
    except ValueError:
        value = 0
    if value < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number above zero")
    return value


def input_size(text: str) -> int:
    """Argument type: a side of the network's input, in pixels."""
    value = positive_int(text)
    if value > LARGEST_INPUT:
        raise argparse.ArgumentTypeError(f"{value} is more than {LARGEST_INPUT}; no memory holds it")
    return value


def limit(text: str) -> int:
    """Argument type: a whole number above zero, or -1 for no limit."""
    return -1 if text == "-1" else positive_int(text)


def resolution(text: str) -> int:
    """Argument type: a number of pixels that an even side can have, or -1 for no limit."""
    value = limit(text)
    if value == 1:
        raise argparse.ArgumentTypeError("1 is too small for a picture; 2 is the least")
    return value


def frame_rate(text: str) -> Fraction | None:
    """Argument type: a positive number or fraction of frames per second; None for -1, all frames."""
    from ..video.timing import parse_target_fps

    try:
        return parse_target_fps(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"{text!r} is not a positive number or fraction, nor -1") from error


def positive_float(text: str) -> float:
    """Argument type: a number above zero."""
    value = number(text)
    if not 0 < value < math.inf:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number above zero")
    return value


def seconds(text: str) -> float:
    """Argument type: a time, zero or above."""
    value = number(text)
    if not 0 <= value < math.inf:
        raise argparse.ArgumentTypeError(f"{text!r} is not a time in seconds")
    return value


def field_of_view(text: str) -> float:
    """Argument type: an angle above 0 and below 180 degrees."""
    value = number(text)
    if not 0 < value < 180:
        raise argparse.ArgumentTypeError(f"{text!r} is not between 0 and 180 degrees")
    return value


def number(text: str) -> float:
    """A number; NaN where the text is none."""
    try:
        return float(text)
    except ValueError:
        return math.nan
