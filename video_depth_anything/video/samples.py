"""A few frames from all over a video, without reading all of it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import numpy as np
import numpy.typing as npt

from ..errors import InputError
from .containers import is_address, open_container


def sample_frames(location: str | Path, count: int) -> Iterator[npt.NDArray[np.uint8]]:
    """Frames at equal distances, each from the nearest point before it where decoding can begin.

    Args:
        location: a video or image file. Of anything else there are none, nor of what cannot be decoded: whoever needs
            every frame reads the video, and is told what is wrong with it.
        count: how many at most.

    Yields:
        (H, W, 3) uint8 RGB.
    """
    import av

    if is_address(str(location)) or not Path(location).is_file():
        return
    with suppress(av.FFmpegError, InputError, ValueError), open_container(str(location)) as container:
        if not container.streams.video:
            return
        length, begin = container.duration or 0, container.start_time or 0
        for index in range(count if length else 1):
            if length:
                container.seek(begin + length * index // count)
            frame = next(container.decode(video=0), None)
            if frame is None:
                return
            yield np.asarray(frame.to_ndarray(format="rgb24"), np.uint8)
