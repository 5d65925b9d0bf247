"""Samples a few frames of a video without reading all of it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from itertools import islice
from pathlib import Path

import av
import numpy as np
import numpy.typing as npt

from ..errors import InputError
from .containers import is_address, open_container

# Frames decoded to reach one: most streams have a key frame at least that often.
MOST_DECODED = 600


def sample_frames(location: str | Path, count: int) -> Iterator[npt.NDArray[np.uint8]]:
    """Up to `count` frames (H, W, 3) uint8 RGB of a video or image file, at equal distances in time.

    Other inputs, and videos that cannot be decoded, give none; reading the whole input reports what is wrong.
    """
    if is_address(str(location)) or not Path(location).is_file():
        return
    with suppress(av.FFmpegError, InputError, ValueError), open_container(str(location)) as container:
        if not container.streams.video:
            return
        length, begin = container.duration or 0, container.start_time or 0
        for index in range(count if length else 1):
            time = begin + length * index // count  # in microseconds
            if index:  # images do not support seeking
                container.seek(time)  # to the key frame at or before it
            following = islice(container.decode(video=0), MOST_DECODED)
            frame = next((one for one in following if (one.time or 0) * av.time_base >= time), None)
            if frame is None:
                return
            yield np.asarray(frame.to_ndarray(format="rgb24"), np.uint8)
