"""The argument parser of all commands: dashes or underscores, short help, errors in two lines."""

from __future__ import annotations

import argparse
import difflib
import math
import re
import sys
from collections.abc import Sequence
from typing import Any, NoReturn

from ..options import limit as limit
from ..options import positive_float as positive_float
from ..options import positive_int as positive_int


class Parser(argparse.ArgumentParser):
    """An argument parser whose flags may be written with dashes or underscores."""

    def __init__(self, **settings: Any) -> None:
        super().__init__(**settings, formatter_class=_Help)

    def parse_known_args(  # type: ignore[override]
        self, args: Sequence[str] | None = None, namespace: argparse.Namespace | None = None
    ) -> tuple[argparse.Namespace, list[str]]:
        words = list(sys.argv[1:] if args is None else args)
        known = {name.replace("-", "_"): name for name in self._option_string_actions if name.startswith("--")}
        end = words.index("--") if "--" in words else len(words)
        for index, word in enumerate(words[:end]):
            if word.startswith("--"):
                name, equals, value = word.partition("=")
                words[index] = known.get(name.replace("-", "_"), name) + equals + value
        return super().parse_known_args(words, namespace)

    def error(self, message: str) -> NoReturn:
        """Exit with code 2 after showing the mistake, a remedy and where to read more."""
        self.exit(2, f"error: {message}{self._hint(message)}\nsee `{self.prog} --help`\n")

    def _hint(self, message: str) -> str:
        unknown = re.search(r"unrecognized arguments: .*?(--\w[\w-]*)", message)
        if unknown:
            near = difflib.get_close_matches(unknown.group(1), self._option_string_actions, 1)
            return "".join(f"; did you mean {name}?" for name in near)
        # A flag that takes several words also takes the inputs after it.
        taken = re.match(r"argument (--\w+): .*'(?:[^']* )?([^' ]+\.\w+)'", message)
        if taken and getattr(self._option_string_actions.get(taken.group(1)), "nargs", None) == "+":
            return f"; inputs come first: {self.prog} {taken.group(2)} {taken.group(1)} ..."
        return ""


class _Help(argparse.HelpFormatter):
    """Shows each flag once, and only informative defaults: not False, infinity or None."""

    def __init__(self, prog: str) -> None:
        super().__init__(prog, max_help_position=28)

    def _fill_text(self, text: str, width: int, indent: str) -> str:
        """Keep the line breaks of examples."""
        return "\n\n".join(
            part if part.startswith("  ") else super(_Help, self)._fill_text(part, width, indent)
            for part in text.split("\n\n")
        )

    def _format_action_invocation(self, action: argparse.Action) -> str:
        if not action.option_strings or action.nargs == 0:
            return super()._format_action_invocation(action)
        values = self._format_args(action, self._get_default_metavar_for_optional(action))
        return " ".join((", ".join(action.option_strings), re.sub(r" \[.*", " ...", values)))

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
