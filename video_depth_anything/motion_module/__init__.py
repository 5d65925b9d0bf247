"""Attention along time: the network's part is in `motion_module`, the name that callers switch off in `attention`."""

from __future__ import annotations

from .motion_module import MAX_FRAMES, MotionModule, sinusoid_table

__all__ = ["MAX_FRAMES", "MotionModule", "sinusoid_table"]
