"""Prints the flags of all commands as Markdown tables: `python -m video_depth_anything.cli.reference`."""

from __future__ import annotations

import argparse
from collections.abc import Iterator

from .arguments import page_parser, run_parser


def reference() -> str:
    """Every flag of `vda run`, `vda stream` and `vda app` once, with its default and meaning."""
    seen: set[str] = set()
    parsers = (run_parser("vda run", ""), run_parser("vda stream", "", streaming=True), page_parser("vda app", ""))
    sections = []
    for parser in parsers:
        for group in parser._action_groups:
            actions = [action for action in group._group_actions if action.option_strings and action.dest not in seen]
            seen |= {action.dest for action in actions}
            if actions:
                rows = "\n".join(f"| {' | '.join(row(action))} |" for action in actions)
                title = f"{parser.prog}: {group.title}"
                sections.append(f"## {title}\n\n| flag | default | meaning |\n|---|---|---|\n{rows}\n")
    return "\n".join(sections)


def row(action: argparse.Action) -> Iterator[str]:
    """A flag's names, default and help."""
    yield ", ".join(f"`{name}`" for name in action.option_strings)
    default = action.default
    yield "off" if default is False else "" if default in (None, [], float("inf"), "==SUPPRESS==") else f"`{default}`"
    choices = f" ({', '.join(map(str, action.choices))})" if action.choices and action.dest != "save" else ""
    yield f"{action.help}{choices}".replace("|", "\\|")


if __name__ == "__main__":
    print(reference(), end="")
