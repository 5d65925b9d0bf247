"""All kinds of scenes by name."""

from __future__ import annotations

from collections.abc import Callable

from starter.scenes.builder import SceneBuilder
from starter.scenes.layouts.close import clutter, inside, pile, tabletop
from starter.scenes.layouts.outdoor import nature, plaza, street, structure
from starter.scenes.layouts.rooms import corridor, kitchen, office, room, store
from starter.scenes.world import World

LAYOUTS: dict[str, Callable[[SceneBuilder], World]] = {
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
