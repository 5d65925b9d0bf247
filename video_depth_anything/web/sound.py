"""An upload's sound for a video that was made of its pictures; called in the decoder's process only."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

# Of the sound, which is converted whatever it was: one kind plays everywhere.
BIT_RATE = 160_000


def add_sound(upload: Path, picture: Path, output: Path) -> bool:
    """Join the pictures of one file with the sound of another, from the first frame to the last.

    Args:
        upload: whose sound is wanted.
        picture: an MP4 file; its video stream is copied.
        output: MP4 file to write; not made if there is no sound.

    Returns:
        Whether the upload has sound.

    Raises:
        av.FFmpegError: if it cannot be decoded.
    """
    import av

    options = {"protocol_whitelist": "file"}
    with av.open(f"file:{upload}", "r", options=options, metadata_errors="replace") as sound, av.open(picture) as made:
        if not sound.streams.audio:
            return False
        heard, seen = sound.streams.audio[0], made.streams.video[0]
        shown = sound.streams.video[0]
        start = float((shown.start_time or 0) * shown.time_base) if shown.time_base else 0.0
        seconds = float((made.duration or 0) / av.time_base)
        with av.open(output, "w", format="mp4", options={"movflags": "+faststart"}) as joined:
            pictures = joined.add_stream_from_template(seen)
            rate = heard.rate if heard.rate in (32000, 44100, 48000) else 48000
            layout = "mono" if heard.channels == 1 else "stereo"
            spoken = joined.add_stream("aac", rate=rate, bit_rate=BIT_RATE, layout=layout)
            for packet in made.demux(seen):
                if packet.dts is not None:
                    packet.stream = pictures
                    joined.mux(packet)
            resampler = av.AudioResampler(format="fltp", layout=layout, rate=rate)
            for frame in sound.decode(heard):
                time = (frame.time or 0.0) - start
                if time >= seconds:
                    break
                if time < 0:
                    continue
                frame.pts = round(time * frame.sample_rate)
                frame.time_base = Fraction(1, frame.sample_rate)
                for part in resampler.resample(frame):
                    joined.mux(spoken.encode(part))
            for part in resampler.resample(None):
                joined.mux(spoken.encode(part))
            joined.mux(spoken.encode(None))
    return True
