"""Temporal attention, separately for every pixel of a feature map."""
