"""Live cameras: each page has a depth stream of its own; all of them share one memory budget."""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable

import cv2
import numpy as np

from ..config import PATCH_SIZE, get_config
from ..outputs.colormap import Visualiser
from ..outputs.options import OutputOptions, VisRange
from ..pipelines.options import ModelOptions
from ..temporal_memory import NUM_ATTENTIONS, RING
from ..transform import network_size
from ..video.frame import Frame
from ..video_depth_stream import DepthStream
from .confinement import DecoderLimits
from .messages import Refusal
from .picture_headers import check_picture
from .uploads import MOST_RATIO, Decoder, UploadError
from .visitors import Visitor

# A camera's memory is freed after this many seconds without an image.
SILENT_SECONDS = 20.0
# Longer side of the images that are computed and shown.
LONGEST_SIDE = 640
# Maximum number of cameras per visitor; the one that has sent nothing for longest gives way.
MOST_OF_VISITOR = 3
# Maximum number of images computed at the same time, and memory of one camera's decoder.
AT_ONCE, DECODER_BYTES = 4, 80_000_000
# A camera runs for hours; the time-out is that of one image, including the start of its decoder.
PICTURE_LIMITS = DecoderLimits(cpu_seconds=86_400, patience=15.0)
# Model, colour map, and (H, W) of the images.
Kind = tuple[ModelOptions, str, tuple[int, int]]
# Choices of Detail: shorter side of the network's input.
DETAILS = {"Low": 168, "Medium": 252, "High": 392}


def stream_bytes(kind: Kind) -> int:
    """Upper estimate of what a camera's stream keeps between frames, in float32."""
    model, _, size = kind
    assert model.encoder is not None and model.input_size is not None
    config = get_config(model.encoder)
    rows, columns = (side // PATCH_SIZE for side in network_size(*size, model.input_size))
    # Four motion modules: on the encoder's grid, on half of it, and on two fused maps, as large and twice as large.
    values = rows * columns * (config.out_channels[2] + 5 * config.features)
    values += math.ceil(rows / 2) * math.ceil(columns / 2) * config.out_channels[3]
    return round(1.02 * values * NUM_ATTENTIONS * 2 * (RING + 1) * 4) + 500_000


class _Camera:
    """One page's camera: its decoder and its stream are created with the first image."""

    def __init__(self, kind: Kind, need: int) -> None:
        self.kind = kind
        self.need = need
        self.decoder: Decoder | None = None
        self.stream: DepthStream | None = None
        model, colormap, _ = kind
        options = OutputOptions(colormap=colormap, vis_range=VisRange("percentile"))
        self.visualiser = Visualiser("depth_metres" if model.metric else "disparity", options)
        self.busy = threading.Lock()
        self.seen = time.monotonic()


class Cameras:
    """Computes the depth of all pages' cameras. Thread-safe."""

    def __init__(self, new_stream: Callable[[ModelOptions], DepthStream], budget: int) -> None:
        self._new_stream = new_stream
        self._budget = budget
        self._open: dict[tuple[Visitor, str], _Camera] = {}
        self._lock = threading.Lock()
        self._at_once = threading.BoundedSemaphore(AT_ONCE)

    def step(self, visitor: Visitor, page: str, model: ModelOptions, colormap: str, data: bytes) -> bytes:
        """Coloured depth of a page's next image, as JPEG."""
        size, key = check_picture(data, PICTURE_LIMITS.max_pixels, MOST_RATIO), (visitor, page)
        if size is None:
            raise UploadError("The picture", "picture")
        camera = self._camera(key, (model, colormap, size))
        if not camera.busy.acquire(blocking=False):
            raise Refusal("Your last picture is still being computed.")
        try:
            with self._at_once:
                return self._depth(camera, data)
        except UploadError:
            with self._lock:
                self._forget(key)  # the next image starts a new decoder
            raise
        finally:
            camera.seen = time.monotonic()
            camera.busy.release()

    def _depth(self, camera: _Camera, data: bytes) -> bytes:
        if camera.decoder is None:
            camera.decoder = Decoder("The picture", PICTURE_LIMITS, {})
        camera.decoder.ask(data)
        _, image = camera.decoder.answer()
        factor = LONGEST_SIDE / max(image.shape)
        if factor < 1:
            image = np.asarray(cv2.resize(image, None, fx=factor, fy=factor, interpolation=cv2.INTER_AREA), np.uint8)
        if camera.stream is None:
            camera.stream = self._new_stream(camera.kind[0])
        picture = camera.visualiser.picture(Frame(image, camera.seen, 0.0, depth=camera.stream.step(image)))
        return bytes(cv2.imencode(".jpg", picture[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, 90])[1])

    def _camera(self, key: tuple[Visitor, str], kind: Kind) -> _Camera:
        """The page's camera; a new one if the image size or the settings have changed."""
        with self._lock:
            camera = self._open.get(key)
            if camera is not None and camera.kind == kind:
                return camera
            own = [name for name in self._open if name[0] is key[0] and name != key]
            if len(own) >= MOST_OF_VISITOR:
                self._forget(min(own, key=lambda name: self._open[name].seen))
            others = sum(other.need for name, other in self._open.items() if name != key)
            need = stream_bytes(kind) + DECODER_BYTES
            if others + need > self._budget:
                raise Refusal("All cameras that this server has memory for are in use. Choose less detail, or wait.")
            self._forget(key)
            camera = self._open[key] = _Camera(kind, need)
            return camera

    def _forget(self, key: tuple[Visitor, str]) -> None:
        camera = self._open.pop(key, None)
        if camera is not None and camera.decoder is not None:
            camera.decoder.close()

    def sweep(self, patience: float = SILENT_SECONDS) -> None:
        """Remove cameras that have sent no image for this many seconds."""
        with self._lock:
            for key, camera in list(self._open.items()):
                if time.monotonic() - camera.seen > patience and not camera.busy.locked():
                    self._forget(key)
