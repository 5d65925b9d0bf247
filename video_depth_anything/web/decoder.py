"""The program that decodes one upload, in a process of its own, and tells the page what it finds.

The page starts it as `python -m video_depth_anything.web.decoder REQUEST` and reads its standard output: lines of JSON,
each frame's line followed by its pixels. It is confined before it opens the file, and what it sends is believed by the
page no more than the file is.
"""

from __future__ import annotations

import json
import os
import sys
import traceback
from contextlib import closing
from fractions import Fraction
from pathlib import Path
from typing import IO, Any

from ..errors import InputError
from ..video.containers import Limits, open_container
from ..video.source import Selection, VideoSource, open_video
from .confinement import DecoderLimits, confine

# Endings and beginnings of files that only name other files.
PLAYLIST_ENDINGS = {".m3u8", ".m3u", ".pls", ".mpd", ".sdp", ".ffconcat", ".concat", ".asx", ".xspf", ".ffmetadata"}
PLAYLIST_STARTS = (b"#extm3u", b"ffconcat", b"[playlist]", b"<?xml", b"<mpd", b"<asx", b"v=0", b"#ext", b"[reference]")


class Refused(Exception):
    """The upload is not taken; the message is one of the page's reasons, see `uploads.REASONS`."""


def main(words: list[str]) -> int:
    """Do what the request says; the exit code is 0 where everything was told, good or bad."""
    request = json.loads(words[0])
    # What a library prints must not come between the lines.
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    try:
        load_modules()
        limits = DecoderLimits(**request["limits"])
        video = Path(request["video"])
        writable = [Path(request["output"]).parent] if "output" in request else []
        confine(limits, [video], writable)
        bounds = Limits(trusted=False, max_pixels=limits.max_pixels)
        check_container(video, bounds)
        if "output" in request:
            from .sound import add_sound

            found = add_sound(video, Path(request["picture"]), Path(request["output"]), request["begins"])
            tell(answers, {"kind": "end", "sound": found})
        else:
            send_frames(answers, video, request["selection"], bounds)
    except Refused as error:
        refuse(answers, str(error))
    except InputError as error:
        refuse(answers, "unreadable", str(error))
    except MemoryError:
        refuse(answers, "memory")
    except BrokenPipeError:  # the page has what it wants
        return 0
    except Exception:
        refuse(answers, "unreadable", traceback.format_exc())
    return 0


def load_modules() -> None:
    """Load what reading needs while every file may still be read."""
    import av  # noqa: F401
    import cv2
    import numpy as np  # noqa: F401

    cv2.setNumThreads(1)


def check_container(video: Path, limits: Limits) -> None:
    """Refuse what is no video file that holds its data itself, by its header.

    Raises:
        Refused: with the reason.
        InputError: if it cannot be opened.
    """
    with video.open("rb") as file:
        start = file.read(64).lstrip(b"\xef\xbb\xbf \t\r\n").lower()
    if video.suffix.lower() in PLAYLIST_ENDINGS or start.startswith(PLAYLIST_STARTS):
        raise Refused("playlist")
    with closing(open_container(str(video), limits)) as container:
        stream = next(iter(container.streams.video), None)
        if stream is None:
            raise Refused("no picture")
        if stream.codec_context.width * stream.codec_context.height > limits.max_pixels:
            raise Refused("too large")


def send_frames(answers: IO[bytes], video: Path, selection: dict[str, Any], limits: Limits) -> None:
    """Tell the facts of a video, then its frames."""
    rate = selection["target_fps"]
    wanted = Selection(selection["max_res"], None if rate is None else Fraction(rate), selection["max_len"])
    source = open_video(video, wanted, limits=limits)
    tell(answers, {"kind": "facts", **facts_of(source)})
    for frame in source.timed():
        stamp = {"time": frame.time, "duration": frame.duration, "source_time": frame.source_time}
        tell(answers, {"kind": "frame", **stamp}, frame.image.tobytes())
    tell(answers, {"kind": "end"})


def facts_of(source: VideoSource) -> dict[str, Any]:
    """What the page wants to know before the first frame."""
    return {
        "source_size": source.source_size,
        "size": source.size,
        "source_fps": str(source.source_fps),
        "fps": str(source.fps),
        "expected": source.expected,
        "reader": source.reader,
    }


def refuse(answers: IO[bytes], reason: str, detail: str = "") -> None:
    """Say why the upload is not taken; the detail is for the page's log."""
    tell(answers, {"kind": "refused", "reason": reason, "detail": detail[-4000:]})


def tell(answers: IO[bytes], content: dict[str, Any], data: bytes = b"") -> None:
    """Send one line, and the data that belong to it."""
    answers.write(json.dumps(content).encode() + b"\n")
    answers.write(data)
    answers.flush()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
