"""The program that decodes what one visitor sent, in a process of its own, and tells the page what it finds.

The page starts it as `python -m video_depth_anything.web.decoder REQUEST` and reads its standard output: lines of JSON,
each frame's line followed by its pixels. It is confined before it opens anything, and the page believes what it sends
no more than the file itself.
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
from ..video.source import Selection, open_video
from .confinement import DecoderLimits, confine

# Endings and beginnings of files that only name other files.
PLAYLIST_ENDINGS = {".m3u8", ".m3u", ".pls", ".mpd", ".sdp", ".ffconcat", ".concat", ".asx", ".xspf", ".ffmetadata"}
PLAYLIST_STARTS = (b"#extm3u", b"ffconcat", b"[playlist]", b"<?xml", b"<mpd", b"<asx", b"v=0", b"#ext", b"[reference]")


class Refused(Exception):
    """The upload is not taken; the message is a key of `uploads.REASONS`."""


def main(words: list[str]) -> int:
    """Do what the request asks: frames of a video, its sound for other videos, or pictures from standard input."""
    request = json.loads(words[0])
    # What a library prints must not come between the lines.
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    try:
        # While every file may still be read.
        import av  # noqa: F401
        import cv2

        cv2.setNumThreads(1)
        limits = DecoderLimits(**request["limits"])
        video = Path(request["video"]) if "video" in request else None
        writable = {Path(output).parent for _, output in request.get("sound", ())}
        confine(limits, [video] if video is not None else [], writable)
        if video is None:
            send_pictures(answers, sys.stdin.buffer)
            return 0
        bounds = Limits(trusted=False, max_pixels=limits.max_pixels)
        check_container(video, bounds)
        if "sound" in request:
            found = all(add_sound(video, Path(p), Path(o), request["begins"]) for p, o in request["sound"])
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


def check_container(video: Path, limits: Limits) -> None:
    """Refuse, by its header, what is not a video file that holds its data itself."""
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
    facts = {name: getattr(source, name) for name in ("source_size", "size", "expected", "reader")}
    tell(answers, {"kind": "facts", **facts, "source_fps": str(source.source_fps), "fps": str(source.fps)})
    for frame in source.timed():
        stamp = {"time": frame.time, "duration": frame.duration, "source_time": frame.source_time}
        tell(answers, {"kind": "frame", "size": frame.image.shape[:2], **stamp}, frame.image.tobytes())
    tell(answers, {"kind": "end"})


def send_pictures(answers: IO[bytes], questions: IO[bytes]) -> None:
    """Decode one picture after another until there are no more; their headers have been checked."""
    import cv2
    import numpy as np

    while length := int.from_bytes(questions.read(4), "big"):
        kind = cv2.IMREAD_COLOR | cv2.IMREAD_IGNORE_ORIENTATION  # the size is the header's
        picture = cv2.imdecode(np.frombuffer(questions.read(length), np.uint8), kind)
        if picture is None:
            refuse(answers, "picture")
        else:
            tell(answers, {"kind": "frame", "size": picture.shape[:2]}, picture[..., ::-1].tobytes())


def add_sound(upload: Path, pictures: Path, output: Path, begins: float | None) -> bool:
    """Join the pictures of an MP4 file with the upload's sound from `begins` on; False, and no file, without sound."""
    import av

    from ..video.sound import AudioTrack, Sound

    track = AudioTrack(str(upload), begins=lambda: begins)
    if track.check() is not None:
        return False
    # The box st3d of stereo video is not in the standard.
    how = {"movflags": "+faststart", "strict": "unofficial"}
    with av.open(pictures) as made, av.open(output, "w", format="mp4", options=how) as joined:
        seen = made.streams.video[0]
        copied = joined.add_stream_from_template(seen)
        sound = Sound(track, joined)
        for packet in made.demux(seen):
            if packet.dts is not None:
                packet.stream = copied
                joined.mux(packet)
        sound.finish(float((made.duration or 0) / av.time_base))
    return True


def refuse(answers: IO[bytes], reason: str, detail: str = "") -> None:
    """Tell why the upload is not taken; the detail is for the page's log."""
    tell(answers, {"kind": "refused", "reason": reason, "detail": detail[-4000:]})


def tell(answers: IO[bytes], content: dict[str, Any], data: bytes = b"") -> None:
    answers.write(json.dumps(content).encode() + b"\n")
    answers.write(data)
    answers.flush()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
