"""Media in: readers, sources, timing, and the writer of video files. Knows no torch."""
