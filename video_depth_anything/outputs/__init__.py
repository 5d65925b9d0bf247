"""Depth out: one file and one entry for each format. Knows no torch."""
