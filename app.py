#!/usr/bin/env python3
"""A web page on which a video becomes a depth video: the command `vda app`."""

from video_depth_anything.cli.main import script

if __name__ == "__main__":
    script("app", "app.py")
