"""Options stated once, as fields of dataclasses; the parser, `vda.infer` and `--resume` read them. Nothing heavy."""

from __future__ import annotations

import argparse
import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import Field, dataclass, field, fields, is_dataclass, replace
from typing import Any, TypeVar

T = TypeVar("T")

# The shorter side of 8K is 4320, and the attention of its 190,000 patches takes minutes a frame.
LARGEST_INPUT = 4320


class BadValue(ValueError, argparse.ArgumentTypeError):
    """A value that an option cannot take; the message says why."""


@dataclass(frozen=True)
class Option:
    """What a field of options says of itself.

    name: of the flag and of the keyword. parse: from its word to its value, from its words where `nargs` is given.
    group: heading in the help; None: that of its class. compared: whether it changes what is written, for `--resume`.
    """

    name: str
    help: str
    default: Any
    parse: Callable[[Any], Any]
    choices: tuple[str, ...] | None = None
    metavar: str | tuple[str, ...] | None = None
    nargs: int | str | None = None
    short: str | None = None
    group: str | None = None
    compared: bool = True

    def checked(self, value: Any) -> Any:
        """A value as a program gives it, taken as its words on the command line would be.

        Raises:
            BadValue: if the option cannot take it.
        """
        if value is None or value == self.default or is_dataclass(value):
            return value
        if isinstance(self.default, bool) or self.parse is bool:
            if not isinstance(value, bool):
                raise BadValue(f"{value!r} must be True or False")
            return value
        if self.nargs is None:
            found = self.parse(str(value))
        else:
            found = self.parse([str(word) for word in (value if isinstance(value, (list, tuple)) else [value])])
        if self.choices and self.nargs is None and found not in self.choices:
            raise BadValue(f"{value!r} is not one of {', '.join(self.choices)}")
        return found


def option(default: Any, help: str, parse: Callable[[Any], Any] = str, *, name: str = "", **settings: Any) -> Any:
    """A dataclass field that is an option; `settings` are those of `Option`. name: left out, that of the field."""
    return field(default=default, metadata={"option": Option(name, help, default, parse, **settings)})


def _option(own: Field[Any]) -> Option | None:
    found: Option | None = own.metadata.get("option")
    return None if found is None else replace(found, name=found.name or own.name)


def options_of(cls: Any) -> Iterator[Option]:
    """The options of a dataclass, without those of dataclasses in its fields."""
    return (found for own in fields(cls) if (found := _option(own)) is not None)


def made(cls: type[T], values: Mapping[str, Any]) -> T:
    """A dataclass, and those in its fields, from the values of options by their names; others keep their defaults."""
    given: dict[str, Any] = {}
    for own in fields(cls):  # type: ignore[arg-type]
        found = _option(own)
        if found is None and is_dataclass(own.default):
            given[own.name] = made(type(own.default), values)
        elif found is not None and found.name in values:
            given[own.name] = values[found.name]
    return cls(**given)


def settings_of(options: Any) -> dict[str, str]:
    """The values of all options that change what is written, in nested dataclasses too, as texts to be compared."""
    texts: dict[str, str] = {}
    for own in fields(options):
        found, value = _option(own), getattr(options, own.name)
        if found is None and is_dataclass(value):
            texts |= settings_of(value)
        elif found is not None and found.compared:
            texts[found.name] = str(value)
    return texts


def positive_int(text: str) -> int:
    """A whole number above zero."""
    try:
        value = int(text)
    except ValueError:
        value = 0
    if value < 1:
        raise BadValue(f"{text!r} is not a whole number above zero")
    return value


def input_size(text: str) -> int:
    """A side of the network's input, in pixels."""
    value = positive_int(text)
    if value > LARGEST_INPUT:
        raise BadValue(f"{value} is more than {LARGEST_INPUT}, the maximum")
    return value


def limit(text: str) -> int:
    """A whole number above zero, or -1 for no limit."""
    return -1 if text == "-1" else positive_int(text)


def resolution(text: str) -> int:
    """A number of pixels that an even side can have, or -1 for no limit."""
    value = limit(text)
    if value == 1:
        raise BadValue("1 is too small; the minimum is 2 pixels")
    return value


def positive_float(text: str) -> float:
    """A number above zero."""
    value = number(text)
    if not 0 < value < math.inf:
        raise BadValue(f"{text!r} is not a number above zero")
    return value


def seconds(text: str) -> float:
    """A time, zero or above."""
    value = number(text)
    if not 0 <= value < math.inf:
        raise BadValue(f"{text!r} is not a time in seconds")
    return value


def field_of_view(text: str) -> float:
    """An angle above 0 and below 180 degrees."""
    value = number(text)
    if not 0 < value < 180:
        raise BadValue(f"{text!r} is not between 0 and 180 degrees")
    return value


def number(text: str) -> float:
    """A number; NaN where the text is none."""
    try:
        return float(text)
    except ValueError:
        return math.nan
