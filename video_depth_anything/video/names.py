"""Names of inputs, which may hold any bytes."""

from __future__ import annotations

import os
import re
from pathlib import Path

# A file name has 255 bytes at most, and outputs add parts such as ".finished_" and "_depths16.json".
MAX_NAME = 200


def public_location(location: str) -> str:
    """A location that is safe to show and store: addresses lose user, password, query and fragment."""
    scheme, separator, rest = location.partition("://")
    if not separator or not scheme.replace("+", "").isalnum():
        return location
    host, slash, path = re.split(r"[?#]", rest, maxsplit=1)[0].partition("/")
    return f"{scheme}://{host.rpartition('@')[2]}{slash}{path}"


def printable(location: str | Path) -> str:
    """A location in a form that any output can show, on one line.

    Bytes that are not UTF-8 become \\xe9 and the like, a new line \\x0a; secrets in addresses are removed.
    """
    text = os.fsencode(public_location(os.fspath(location))).decode("utf-8", "backslashreplace")
    return re.sub(r"[\x00-\x1f\x7f-\x9f]", lambda found: f"\\x{ord(found[0]):02x}", text)


def output_name(stem: str) -> str:
    """Name of the outputs for an input of that name: valid Unicode, 200 bytes at most.

    Bytes that are not UTF-8 are read as Latin-1, the encoding of most such names.
    """
    data = os.fsencode(stem)
    try:
        name = data.decode("utf-8")
    except UnicodeDecodeError:
        name = data.decode("latin-1")
    return name.encode("utf-8")[:MAX_NAME].decode("utf-8", "ignore")
