"""Options defined once, as dataclass fields; used by the parser, `vda.infer` and `--resume`. Imports nothing heavy."""

from __future__ import annotations

import argparse
import math
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import Field, dataclass, field, fields, is_dataclass, replace
from typing import Any, TypeVar

T = TypeVar("T")

# The shorter side of 8K; attention over its 190,000 patches takes minutes per frame.
LARGEST_INPUT = 4320


class BadValue(ValueError, argparse.ArgumentTypeError):
    """An invalid value of an option; the message says why."""


@dataclass(frozen=True)
class Option:
    """Metadata of an option's field.

    name: of the flag and the keyword. parse: converts its word, or its words if `nargs` is given, to a value. group:
    heading in the help; None: that of its class. compared: whether it changes the outputs, for `--resume`.
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
        """Parse a value from a program as if its words stood on the command line.

        Raises:
            BadValue: if it is invalid.
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
    """Make a dataclass field that is an option; `settings` are those of `Option`; `name` defaults to the field's."""
    return field(default=default, metadata={"option": Option(name, help, default, parse, **settings)})


def _option(own: Field[Any]) -> Option | None:
    found: Option | None = own.metadata.get("option")
    return None if found is None else replace(found, name=found.name or own.name)


def options_of(cls: Any) -> Iterator[Option]:
    """The options of a dataclass, without those of dataclasses in its fields."""
    return (found for own in fields(cls) if (found := _option(own)) is not None)


def made(cls: type[T], values: Mapping[str, Any]) -> T:
    """Build a dataclass, and nested ones, from values of options by name; other options keep their defaults."""
    given: dict[str, Any] = {}
    for own in fields(cls):  # type: ignore[arg-type]
        found = _option(own)
        if found is None and is_dataclass(own.default):
            given[own.name] = made(type(own.default), values)
        elif found is not None and found.name in values:
            given[own.name] = values[found.name]
    return cls(**given)


def settings_of(options: Any) -> dict[str, str]:
    """The values of all options that change the outputs, including nested ones, as comparable strings."""
    texts: dict[str, str] = {}
    for own in fields(options):
        found, value = _option(own), getattr(options, own.name)
        if found is None and is_dataclass(value):
            texts |= settings_of(value)
        elif found is not None and found.compared:
            texts[found.name] = str(value)
    return texts


def positive_int(text: str, most: int = sys.maxsize) -> int:
    """Parse a whole number above zero, up to `most`."""
    try:
        value = int(text)
    except ValueError:
        value = 0
    if value < 1:
        raise BadValue(f"{text!r} is not a whole number above zero")
    if value > most:
        raise BadValue(f"{text} is more than {most}, the maximum")
    return value


def input_size(text: str) -> int:
    """Parse a side of the network's input, in pixels."""
    return positive_int(text, LARGEST_INPUT)


def limit(text: str) -> int:
    """Parse a whole number above zero, or -1 for no limit."""
    return -1 if text == "-1" else positive_int(text)


def resolution(text: str) -> int:
    """Parse a maximum side in pixels, or -1 for no limit."""
    value = limit(text)
    if value == 1:
        raise BadValue("1 is too small; the minimum is 2 pixels")
    return value


def positive_float(text: str) -> float:
    """Parse a number above zero."""
    value = number(text)
    if not 0 < value < math.inf:
        raise BadValue(f"{text!r} is not a number above zero")
    return value


def seconds(text: str) -> float:
    """Parse a time, zero or above; decoders cannot seek much further than the maximum, 31 years."""
    value = number(text)
    if not 0 <= value <= 1e9:
        raise BadValue(f"{text!r} is not a time in seconds")
    return value


def field_of_view(text: str) -> float:
    """Parse an angle above 0 and below 180 degrees."""
    value = number(text)
    if not 0 < value < 180:
        raise BadValue(f"{text!r} is not between 0 and 180 degrees")
    return value


def number(text: str) -> float:
    """Parse a number; NaN if the text is not one."""
    try:
        return float(text)
    except ValueError:
        return math.nan
