"""Procedural scenes: clips with exact depth, camera poses and intrinsics; `render.py` is where a clip begins."""
