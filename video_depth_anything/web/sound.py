"""An upload's sound for a video that was made of its pictures; called in the decoder's process only."""

from __future__ import annotations

from pathlib import Path

from ..video.sound import AudioTrack, Sound


def add_sound(upload: Path, picture: Path, output: Path, begins: float | None) -> bool:
    """Join the pictures of one file with the sound of another, from the first frame to the last.

    Args:
        upload: whose sound is wanted.
        picture: an MP4 file; its video stream is copied.
        output: MP4 file to write; not made if there is no sound that can be used.
        begins: the upload's own time of the first frame, in seconds.

    Returns:
        Whether there is sound.
    """
    import av

    track = AudioTrack(str(upload), begins=lambda: begins)
    if track.check() is not None:
        return False
    with av.open(picture) as made, av.open(output, "w", format="mp4", options={"movflags": "+faststart"}) as joined:
        seen = made.streams.video[0]
        pictures = joined.add_stream_from_template(seen)
        sound = Sound(track, joined)
        for packet in made.demux(seen):
            if packet.dts is not None:
                packet.stream = pictures
                joined.mux(packet)
        sound.finish(float((made.duration or 0) / av.time_base))
    return True
