#!/usr/bin/env python3
"""Depth of live video, a camera, or files, frame by frame: the command `vda stream`."""

from video_depth_anything.cli.main import script

if __name__ == "__main__":
    script("stream", "run_streaming.py")
