"""Blocks of the head, and preprocessing in steps, at the original's import paths."""
