"""The benchmark's sets: units, ranges, crops and frames of each, in one table. Imports nothing heavy.

The protocol is that of Video Depth Anything (Chen et al., arXiv:2501.12375), appendix, and of its evaluation scripts.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Crop:
    """Rows `top:bottom` and columns `left:right` of an image; negative ends count from its end, None is its end."""

    top: int = 0
    bottom: int | None = None
    left: int = 0
    right: int | None = None

    @property
    def slices(self) -> tuple[slice, slice]:
        """Index for an (H, W, ...) array."""
        return slice(self.top, self.bottom), slice(self.left, self.right)


@dataclass(frozen=True)
class EvaluationSet:
    """What one evaluation looks at.

    Attributes:
        dataset: key in the index file, and folder of its images and predictions.
        index: name of the index file, in that folder.
        factor: one metre in the depth images.
        max_depth: metres; what is farther is not valid.
        start, step, num_frames: which of a scene's frames the index lists.
        crop: what of the ground truth counts.
    """

    dataset: str
    index: str
    factor: float
    max_depth: float
    num_frames: int
    crop: Crop = Crop()
    start: int = 0
    step: int = 1

    @property
    def frames(self) -> slice:
        """Which of a scene's frames are listed."""
        return slice(self.start, self.start + self.step * self.num_frames, self.step)

    @property
    def counted(self) -> tuple[slice, slice]:
        """Which of the listed scenes count, and which of their listed frames."""
        return slice(None), slice(self.num_frames)


@dataclass(frozen=True)
class TaeSet(EvaluationSet):
    """A set for the temporal alignment error, which needs poses.

    Attributes:
        first, last: half open range of listed frames that counts.
        num_scenes: how many scenes count.
        hard_crop: predictions show the uncropped frame and are cropped like the ground truth.
    """

    first: int = 0
    last: int = 180
    num_scenes: int = 20
    hard_crop: bool = False

    @property
    def counted(self) -> tuple[slice, slice]:
        return slice(self.num_scenes), slice(self.first, self.last)


SINTEL_FACTOR = 65535 / 650
_KITTI = Crop(0, 374, 0, 1242)
_BONN = Crop(0, 480, 0, 640)
_SCANNET = Crop(8, -8, 11, -11)
_NYUV2 = Crop(45, 471, 41, 601)

EVALUATION_SETS: dict[str, EvaluationSet] = {
    "sintel": EvaluationSet("sintel", "sintel_video.json", SINTEL_FACTOR, 70, 100, Crop(0, 436, 0, 1024)),
    "kitti": EvaluationSet("kitti", "kitti_video.json", 256, 80, 110, _KITTI),
    "kitti_500": EvaluationSet("kitti", "kitti_video_500.json", 256, 80, 500, _KITTI),
    "bonn": EvaluationSet("bonn", "bonn_video.json", 5000, 10, 110, _BONN, start=30),
    "bonn_500": EvaluationSet("bonn", "bonn_video_500.json", 5000, 10, 500, _BONN),
    "scannet": EvaluationSet("scannet", "scannet_video.json", 1000, 10, 90, _SCANNET, step=3),
    "scannet_500": EvaluationSet("scannet", "scannet_video_500.json", 1000, 10, 500, _SCANNET),
    "nyuv2_500": EvaluationSet("nyuv2", "nyuv2_video_500.json", 6000, 10, 500, _NYUV2),
    # Not of the paper: RGB-D folders of one's own. Each says itself what a metre is.
    "rgbd": EvaluationSet("rgbd", "rgbd_video.json", 1000, 10, 500),
}

TAE_SETS: dict[str, TaeSet] = {
    "scannet": TaeSet("scannet", "scannet_video_tae.json", 1000, 10, 192, _SCANNET, first=10, hard_crop=True),
    # Not of the paper, which has TAE on ScanNet alone; these come with poses, and their images are not cropped, so that
    # one index and one run of predictions serve both evaluations.
    "sintel": TaeSet("sintel", "sintel_video.json", SINTEL_FACTOR, 70, 100, num_scenes=23),
    "rgbd": TaeSet("rgbd", "rgbd_video.json", 1000, 10, 500, last=500, num_scenes=1000),
}

DATASETS: tuple[str, ...] = tuple(dict.fromkeys(entry.dataset for entry in EVALUATION_SETS.values()))
# Rows and columns of the depth images that the extracted images show; other sets are only cut to even sizes.
IMAGE_CROPS: dict[str, Crop] = {"nyuv2": _NYUV2, "scannet": _SCANNET}
EVEN_SIZES = frozenset({"kitti", "bonn"})


def indices_of(dataset: str) -> dict[str, slice]:
    """Names of a dataset's index files, and which frames of a scene each lists; the TAE's is not among them."""
    return {entry.index: entry.frames for entry in EVALUATION_SETS.values() if entry.dataset == dataset}
