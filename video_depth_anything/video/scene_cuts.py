"""Detects scene cuts frame by frame."""

from __future__ import annotations

import logging

from ..errors import OutputError
from .frame import Frame

logger = logging.getLogger(__name__)

# PySceneDetect's default: mean change of hue, saturation and brightness between frames, on a scale of 255.
THRESHOLD = 27.0
# A change within this many frames of a cut is a flash, not another cut.
MIN_SCENE_LEN = 10


class CutDetector:
    """PySceneDetect's content detector, fed frame by frame; one object per video.

    Raises:
        OutputError: naming the remedy, if PySceneDetect is not installed.
    """

    def __init__(self) -> None:
        try:
            from scenedetect import ContentDetector, FrameTimecode
            from scenedetect.detector import FlashFilter
        except ImportError as error:
            raise OutputError("--reset_on_cut needs PySceneDetect: pip install 'scenedetect>=0.7'") from error
        # The other mode reports a cut only after the next scene has lasted a while.
        mode = FlashFilter.Mode.SUPPRESS
        self._detector = ContentDetector(THRESHOLD, MIN_SCENE_LEN, filter_mode=mode)
        self._timecode = FrameTimecode
        self._index = 0

    def is_cut(self, frame: Frame) -> bool:
        """Whether this frame begins a new scene, which is logged with its time."""
        bgr = frame.image[..., ::-1]
        found = bool(self._detector.process_frame(self._timecode(self._index, fps=24.0), bgr))
        self._index += 1
        if found:
            logger.info("scene cut at %.2f s: starting over", frame.time)
        return found
