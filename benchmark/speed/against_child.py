"""The other side of `against.py`: runs inside another tree and measures that tree's classes.

    python benchmark/speed/against_child.py PATH

Requests come as pickles on standard input, answers go as pickles to what was standard output: ("ok", result) or
("error", one line). It imports nothing of this project, whose modules have the names of the other tree's.
"""

from __future__ import annotations

import os
import pickle
import sys
import time
from pathlib import Path
from typing import Any

# The arguments that the original's own scripts build its networks with.
DIMENSIONS: dict[str, dict[str, Any]] = {
    "vits": {"encoder": "vits", "features": 64, "out_channels": [48, 96, 192, 384]},
    "vitb": {"encoder": "vitb", "features": 128, "out_channels": [96, 192, 384, 768]},
    "vitl": {"encoder": "vitl", "features": 256, "out_channels": [256, 512, 1024, 1024]},
}


class OtherTree:
    """The networks of the other tree: one for offline, one for each stream."""

    def __init__(self) -> None:
        self._settings: dict[str, Any] = {}
        self._offline: Any = None
        self._streams: dict[bool, Any] = {}

    def setup(self, **settings: Any) -> None:
        """Take encoder, checkpoint, device, input_size and threads (None: as torch likes)."""
        import torch

        self._settings = settings
        if settings["threads"] is not None:
            torch.set_num_threads(settings["threads"])

    def offline(self, frames: Any, fp32: bool) -> tuple[float, Any]:
        """Seconds for the clip, and its depth (N, H, W)."""
        if self._offline is None:
            from video_depth_anything.video_depth import VideoDepthAnything

            self._offline = self._load(VideoDepthAnything)
        size, device = self._settings["input_size"], self._settings["device"]
        start = time.perf_counter()
        depths, _ = self._offline.infer_video_depth(frames, 24, input_size=size, device=device, fp32=fp32)
        return time.perf_counter() - start, depths

    def stream(self, frame: Any, fp32: bool) -> tuple[float, Any]:
        """Seconds for the next frame, and its depth (H, W); the two precisions are streams of their own."""
        if fp32 not in self._streams:
            from video_depth_anything.video_depth_stream import VideoDepthAnything

            self._streams[fp32] = self._load(VideoDepthAnything)
        size, device = self._settings["input_size"], self._settings["device"]
        start = time.perf_counter()
        depth = self._streams[fp32].infer_video_depth_one(frame, input_size=size, device=device, fp32=fp32)
        return time.perf_counter() - start, depth

    def half(self, streaming: bool) -> str:
        """In which precision the tree computes with `fp32=False`: the type of what the first convolution is given."""
        import numpy as np
        import torch
        from torch.utils._python_dispatch import TorchDispatchMode

        seen = []

        class Convolutions(TorchDispatchMode):
            def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
                if "conv" in str(function):
                    seen.append(args[0].dtype)
                return function(*args, **(kwargs or {}))

        frames = np.zeros((1, 28, 28, 3), np.uint8)
        with Convolutions():
            if streaming:
                self.stream(frames[0], fp32=False)
                self._streams.clear()  # the next frame is a video's first
            else:
                self.offline(frames, fp32=False)
        return {torch.float16: "fp16", torch.bfloat16: "bf16"}.get(seen[0], "fp32")

    def peak(self) -> int:
        """Peak resident memory of this process as the operating system counts it."""
        import resource

        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss

    def _load(self, network: Any) -> Any:
        import torch

        model = network(**DIMENSIONS[self._settings["encoder"]])
        state = torch.load(self._settings["checkpoint"], map_location="cpu", weights_only=True)
        model.load_state_dict(state, strict=True)
        return model.to(self._settings["device"]).eval()


def main() -> None:
    path = Path(sys.argv[1]).resolve()
    # What the other tree prints must not get between the answers.
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    sys.path[0] = str(path)
    os.chdir(path)
    tree = OtherTree()
    while True:
        try:
            method, arguments = pickle.load(sys.stdin.buffer)
        except EOFError:
            return
        try:
            answer: tuple[str, Any] = ("ok", getattr(tree, method)(**arguments))
        except Exception as error:
            answer = ("error", f"{type(error).__name__}: {error}".splitlines()[0])
        pickle.dump(answer, answers)
        answers.flush()


if __name__ == "__main__":
    main()
