"""Names that users of the original import; the code is in `video_depth_anything`."""
