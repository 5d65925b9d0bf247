"""A few frames from all over a video, without reading all of it."""

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

# Frames decoded on the way to one: streams allow to begin that often, usually.
MOST_DECODED = 600


def sample_frames(location: str | Path, count: int) -> Iterator[npt.NDArray[np.uint8]]:
    """Up to `count` frames (H, W, 3) uint8 RGB of a video or image file, at equal distances in time.

    There are none of anything else, nor of what cannot be decoded: whoever reads all of it is told what is wrong.
    """
    if is_address(str(location)) or not Path(location).is_file():
        return
    with suppress(av.FFmpegError, InputError, ValueError), open_container(str(location)) as container:
        if not container.streams.video:
            return
        length, begin = container.duration or 0, container.start_time or 0
        for index in range(count if length else 1):
            time = begin + length * index // count  # in microseconds
            if index:  # an image cannot be sought in
                container.seek(time)  # to where decoding can begin, at or before it
            following = islice(container.decode(video=0), MOST_DECODED)
            frame = next((one for one in following if (one.time or 0) * av.time_base >= time), None)
            if frame is None:
                return
            yield np.asarray(frame.to_ndarray(format="rgb24"), np.uint8)
