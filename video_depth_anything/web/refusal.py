"""What the page does not do for a visitor."""

from __future__ import annotations

from ..errors import UserError


class Refusal(UserError):
    """The page does not do what a visitor asked for; the message tells them why, and what to do."""
