"""All kinds of scenes by name."""

from __future__ import annotations

from collections.abc import Callable

from training.layouts_indoor import room
from training.workshop import Workshop
from training.world import World

LAYOUTS: dict[str, Callable[[Workshop], World]] = {
    "room": room,
}
