"""Which values the colours of a depth video span; apart from the colours, so that arguments need no numpy."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from ..options import BadValue, number


@dataclass(frozen=True)
class VisRange:
    """Of the whole `video`, a running `percentile`, or `fixed` from low to high.

    `auto` stands for one of the first two until it is known whether the video has an end.
    """

    kind: Literal["auto", "video", "percentile", "fixed"] = "video"
    low: float = 0.0
    high: float = 0.0

    def __str__(self) -> str:
        return f"{self.low:g} {self.high:g}" if self.kind == "fixed" else self.kind

    @classmethod
    def parse(cls, words: Sequence[str]) -> VisRange:
        """From command line words; "two-pass" is another name of "video".

        Raises:
            BadValue: if they are neither "video" nor "percentile" nor two rising numbers.
        """
        if len(words) == 1 and words[0] in ("auto", "video", "two-pass"):
            return cls("auto" if words[0] == "auto" else "video")
        if len(words) == 1 and words[0] == "percentile":
            return cls("percentile")
        low, high = map(number, words) if len(words) == 2 else (0.0, 0.0)
        if not low < high:
            raise BadValue(f"{' '.join(words)!r} is not 'video', 'percentile' or two rising numbers")
        return cls("fixed", low, high)
