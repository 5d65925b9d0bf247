"""Kinds of scenes, by where they are."""
