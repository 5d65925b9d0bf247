"""The web page's camera: frames of one browser through a stream of its own, depth as a picture, and the rate."""

from __future__ import annotations

import base64
import threading
import time
from collections import deque

import numpy as np
import numpy.typing as npt

from ..outputs.colormap import color_table
from ..outputs.vis_range import VisRange
from ..outputs.visualiser import VisStyle, Visualiser
from ..video.frame import Frame
from ..video_depth_stream import DepthStream

# Seconds over which the rate is taken.
RATE_SPAN = 3.0


class LiveDepth:
    """Depth of one camera.

    Args:
        stream: this camera's own. metric: whether it gives metres. colormap: matplotlib's name of the colours.
    """

    def __init__(self, stream: DepthStream, metric: bool, colormap: str) -> None:
        self._stream = stream
        style = VisStyle(color_table(colormap), VisRange("percentile"))
        self._visualiser = Visualiser("depth_metres" if metric else "disparity", style)
        self._size: tuple[int, ...] | None = None
        self._finished: deque[float] = deque()
        self._frames = 0
        self._lock = threading.Lock()

    def step(self, image: npt.NDArray[np.uint8]) -> str:
        """Depth of the next frame, (H, W, 3) uint8 RGB, as HTML: a picture, and the rate below it."""
        with self._lock:
            if image.shape != self._size:  # another camera
                self._stream.reset()
                self._size, self._frames = image.shape, 0
            start = time.monotonic()
            frame = Frame(image, start, 0.0, depth=self._stream.step(image))
            picture = self._visualiser.picture(frame)
            now = time.monotonic()
            self._frames += 1
            self._finished.append(now)
            while now - self._finished[0] > RATE_SPAN:
                self._finished.popleft()
            rate = (len(self._finished) - 1) / max(now - self._finished[0], 1e-6) if len(self._finished) > 1 else 0.0
            line = f"{rate:.1f} frames a second, {1000 * (now - start):.0f} ms each, {self._frames} frames"
        return f'<img class="live" alt="depth" src="{_data_address(picture)}"><p class="rate">{line}</p>'


def _data_address(picture: npt.NDArray[np.uint8]) -> str:
    """A picture as an address that holds it: no file is written."""
    import cv2

    ok, data = cv2.imencode(".jpg", picture[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, 90])
    assert ok
    return f"data:image/jpeg;base64,{base64.b64encode(data.tobytes()).decode()}"
