"""The encoder's block under the name that users of the original import; it is `dinov2.Block`."""

from __future__ import annotations

from ..dinov2 import Block

XFORMERS_AVAILABLE = False
__all__ = ["XFORMERS_AVAILABLE", "Block"]
