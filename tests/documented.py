"""What README and docs show: their pages, fenced blocks, commands, links."""

from __future__ import annotations

import functools
import re
import shlex
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
BESIDE = ("README.md", "starter/README.md", "benchmark/speed/README.md")
# Paths from the repository's root.
PAGES = [*BESIDE, *(path.relative_to(ROOT).as_posix() for path in sorted((ROOT / "docs").rglob("*.md")))]
SHELL = ("sh", "bash")


@dataclass(frozen=True)
class Block:
    """A fenced block. language: what stands behind its opening fence, such as "sh"."""

    language: str
    text: str


def text_of(page: str) -> str:
    """What a page says."""
    return (ROOT / page).read_text()


def blocks(page: str) -> list[Block]:
    """All fenced blocks of a page, in order."""
    found = re.findall(r"^```(\w*)\n(.*?)^```$", text_of(page), flags=re.DOTALL | re.MULTILINE)
    return [Block(language, text) for language, text in found]


def commands(block: Block) -> Iterator[str]:
    """The commands of a shell block, one a line: comments gone, lines joined, variables put in.

    A script with a first line of its own is one command.
    """
    if block.text.startswith("#!"):
        yield block.text
        return
    variables: dict[str, str] = {}
    for line in block.text.replace("\\\n", " ").splitlines():
        words = " ".join(map(_quoted, _words(line)))
        for name, value in variables.items():
            words = words.replace(f"${name}", value)
        assigned = re.fullmatch(r"([A-Z]+)='(.*)'", words) or re.fullmatch(r"([A-Z]+)=(\S*)", words)
        if assigned:
            variables[assigned.group(1)] = assigned.group(2)
        elif words:
            yield words


def _words(line: str) -> list[str]:
    lexer = shlex.shlex(line, posix=True, punctuation_chars="|>&;")
    lexer.whitespace_split = True
    return [re.sub(r"^([A-Z]+)=(.*\s.*)$", r"\1='\2'", word) for word in lexer]


def _quoted(word: str) -> str:
    """As the shell wants it; assignments, variables and operators as they are."""
    return word if re.match(r"[A-Z]+=|\$|[|>&;]", word) else shlex.quote(word)


def links(page: str) -> list[tuple[str, str]]:
    """(file, heading) that a page links to within the repository; either may be empty."""
    prose = re.sub(r"^```.*?^```$", "", text_of(page), flags=re.DOTALL | re.MULTILINE)
    prose = re.sub(r"`[^`\n]*`", "code", prose)
    found = re.findall(r"\]\((?!https?:)([^)#]*)#?([^)]*)\)", prose)
    return [(target, heading) for target, heading in found]


def anchors(page: Path) -> set[str]:
    """What links call the headings of a page."""
    headings = re.findall(r"^#+ (.+)$", page.read_text(), flags=re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@functools.cache
def help_of(*program: str) -> str:
    """What a program prints for `--help`."""
    result = subprocess.run([*program, "--help"], cwd=ROOT, capture_output=True, text=True, check=False, timeout=120)
    assert result.returncode == 0, (program, result.stderr)
    return result.stdout


def flags_of(text: str) -> set[str]:
    """The long flags in a text, with underscores."""
    return {flag.replace("-", "_") for flag in re.findall(r"(?<![\w-])--[a-z][a-z0-9_-]+", text)} - {"__help"}
