"""The program that decodes what one visitor sent, in a process of its own.

The page starts it as `python -m video_depth_anything.web.decoder REQUEST` and reads its standard output: lines of JSON,
each frame's line followed by its pixels. It is sandboxed before it opens a file, and the page checks its output as
strictly as the file itself.
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

# File extensions and first bytes of playlists and other files that refer to other files.
PLAYLIST_ENDINGS = {".m3u8", ".m3u", ".pls", ".mpd", ".sdp", ".ffconcat", ".concat", ".asx", ".xspf", ".ffmetadata"}
PLAYLIST_STARTS = (b"#extm3u", b"ffconcat", b"[playlist]", b"<?xml", b"<mpd", b"<asx", b"v=0", b"#ext", b"[reference]")


class Refused(Exception):
    """The upload is refused; the message is a key of `uploads.REASONS`."""


def main(words: list[str]) -> int:
    """Send the frames of a video, add its sound to other videos, or decode images from standard input."""
    request = json.loads(words[0])
    # Output of libraries goes to standard error, not between the lines.
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    try:
        # Imported before the sandbox limits file access.
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
            found = all(mux(video, Path(p), Path(o), request["begins"]) for p, o in request["sound"])
            tell(answers, {"kind": "end", "sound": found})
        else:
            send_frames(answers, video, request["selection"], bounds)
    except Refused as error:
        refuse(answers, str(error))
    except InputError as error:
        refuse(answers, "unreadable", str(error))
    except MemoryError:
        refuse(answers, "memory")
    except BrokenPipeError:  # the page needs no more
        return 0
    except Exception:
        refuse(answers, "unreadable", traceback.format_exc())
    return 0


def check_container(video: Path, limits: Limits) -> None:
    """Refuse files that are not self-contained videos, or whose frames are too large, by their headers."""
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
    """Send the properties of a video, then its frames."""
    rate = selection["target_fps"]
    wanted = Selection(selection["max_res"], None if rate is None else Fraction(rate), selection["max_len"])
    source = open_video(video, wanted, limits=limits)
    facts = {name: getattr(source, name) for name in ("source_size", "size", "expected")}
    tell(answers, {"kind": "facts", **facts, "source_fps": str(source.source_fps), "fps": str(source.fps)})
    for frame in source.timed():
        stamp = {"time": frame.time, "duration": frame.duration, "source_time": frame.source_time}
        tell(answers, {"kind": "frame", "size": frame.image.shape[:2], **stamp}, frame.image.tobytes())
    tell(answers, {"kind": "end"})


def send_pictures(answers: IO[bytes], questions: IO[bytes]) -> None:
    """Decode images until standard input ends. Their headers have been checked."""
    import cv2
    import numpy as np

    while length := int.from_bytes(questions.read(4), "big"):
        kind = cv2.IMREAD_COLOR | cv2.IMREAD_IGNORE_ORIENTATION  # the size must be the header's
        picture = cv2.imdecode(np.frombuffer(questions.read(length), np.uint8), kind)
        if picture is None:
            refuse(answers, "picture")
        else:
            tell(answers, {"kind": "frame", "size": picture.shape[:2]}, picture[..., ::-1].tobytes())


def mux(upload: Path, pictures: Path, output: Path, begins: float | None) -> bool:
    """Write `output`: the video of `pictures` and the upload's sound from `begins` on; False if there is no sound."""
    import av

    from ..video.sound import AudioTrack, Sound

    track = AudioTrack(str(upload), begins=lambda: begins)
    if track.check() is not None:
        return False
    # The st3d box of stereo videos is not part of the standard.
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
    """Send why the upload is refused; the detail is for the page's log."""
    tell(answers, {"kind": "refused", "reason": reason, "detail": detail[-4000:]})


def tell(answers: IO[bytes], content: dict[str, Any], data: bytes = b"") -> None:
    answers.write(json.dumps(content).encode() + b"\n")
    answers.write(data)
    answers.flush()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
