"""Attention along time, for every pixel of a feature map on its own."""
