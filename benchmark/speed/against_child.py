"""The other side of `against.py`: runs inside another tree and measures that tree's classes.

    python benchmark/speed/against_child.py PATH

Requests come as pickles on standard input, answers go as pickles to what was standard output: ("ok", result) or
("error", one line). It imports nothing of this project, whose modules have the names of the other tree's.
"""

from __future__ import annotations

import importlib
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
    """The other tree's networks: one for whole clips, or a stream for each precision."""

    def setup(self, streaming: bool, threads: int | None, **settings: Any) -> None:
        """Take encoder, checkpoint, device and input_size."""
        import torch

        self._streaming, self._settings = streaming, settings
        self._networks: dict[bool, Any] = {}
        if threads is not None:
            torch.set_num_threads(threads)

    def infer(self, frames: Any, fp32: bool) -> tuple[float, Any]:
        """Seconds for a clip (N, H, W, 3) or a stream's next frame (H, W, 3), and its depth."""
        network = self._network(fp32 and self._streaming)
        size, device = self._settings["input_size"], self._settings["device"]
        start = time.perf_counter()
        if self._streaming:
            depth = network.infer_video_depth_one(frames, input_size=size, device=device, fp32=fp32)
        else:
            depth, _ = network.infer_video_depth(frames, 24, input_size=size, device=device, fp32=fp32)
        return time.perf_counter() - start, depth

    def _network(self, key: bool) -> Any:
        if key not in self._networks:
            import torch

            module = f"video_depth_anything.video_depth{'_stream' if self._streaming else ''}"
            model = importlib.import_module(module).VideoDepthAnything(**DIMENSIONS[self._settings["encoder"]])
            state = torch.load(self._settings["checkpoint"], map_location="cpu", weights_only=True)
            model.load_state_dict(state, strict=True)
            self._networks[key] = model.to(self._settings["device"]).eval()
        return self._networks[key]


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
