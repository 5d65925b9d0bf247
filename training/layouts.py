"""All kinds of scenes by name."""

from __future__ import annotations

from collections.abc import Callable

from training.layouts_close import clutter, inside, pile, tabletop
from training.layouts_outdoor import nature, plaza, street, structure
from training.layouts_rooms import corridor, kitchen, office, room, store
from training.workshop import Workshop
from training.world import World

LAYOUTS: dict[str, Callable[[Workshop], World]] = {
    "room": room,
    "kitchen": kitchen,
    "office": office,
    "corridor": corridor,
    "store": store,
    "tabletop": tabletop,
    "inside": inside,
    "pile": pile,
    "clutter": clutter,
    "street": street,
    "nature": nature,
    "plaza": plaza,
    "structure": structure,
}
