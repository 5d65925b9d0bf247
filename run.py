#!/usr/bin/env python3
"""Depth of video files, consistent over their whole length: the command `vda run`."""

from video_depth_anything.cli.main import script

if __name__ == "__main__":
    script("run", "run.py")
