"""A training run on caches of features, validated on procedural clips."""

from __future__ import annotations

from benchmark.rgbd import open_rgbd_folder
from starter.cache import fingerprint
from starter.flags import CacheSettings, scene_options
from starter.network import CachedNetwork
from starter.scenes.render import SceneOptions, render_clip
from starter.sources import CacheSource
from training.network import frozen_encoder
from training.run import Run
from training.validation import FixedClip, fixed_clip, fixed_recording
from video_depth_anything.errors import UsageError
from video_depth_anything.video_depth import VideoDepthAnything

# Far above any training seed.
FIRST_SEED = 1_000_000_000
MAX_DEPTH = 80.0


def fixed_scenes(count: int, options: SceneOptions) -> list[FixedClip]:
    """The first `count` procedural clips that no training sees."""
    clips = (render_clip(FIRST_SEED + index, options) for index in range(count))
    return [fixed_clip("scenes", clip, MAX_DEPTH) for clip in clips]


class CacheRun(Run):
    """As `Run`, on caches of features."""

    settings_type = CacheSettings
    source: CacheSource

    def network(self, model: VideoDepthAnything) -> CachedNetwork:
        args = self.args
        return CachedNetwork(model, args.stage, args.activation_checkpointing, args.coarse, args.encoder_blocks)

    def open_source(self, model: VideoDepthAnything) -> CacheSource:
        args = self.args
        if model.metric:
            raise UsageError(f"--checkpoint {args.checkpoint}: caches hold disparity, metric weights need metres")
        own = fingerprint(frozen_encoder(model.state_dict(), args.encoder_blocks))
        return CacheSource(args.cache, args.frames, own, args.encoder_blocks)

    def fixed_clips(self) -> list[FixedClip]:
        args, info = self.args, self.source.info
        args.height, args.width = info.height, info.width
        options = scene_options(args, args.val_frames if args.stage == "clip" else 1)
        return fixed_scenes(args.val_clips, options) + [
            fixed_recording(open_rgbd_folder(path), args.val_frames, args.height, args.stage == "clip", False)
            for path in args.val_rgbd
        ]

    def tell_use(self) -> None:
        pass
