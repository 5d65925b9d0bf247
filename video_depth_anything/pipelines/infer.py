"""Depth of one video in one call: a file, an address, or frames that a program has in memory."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence, Sized
from contextlib import closing
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import numpy as np
import numpy.typing as npt

from ..backends.load import load_backend
from ..errors import InputError
from ..outputs.base import DepthKind
from ..outputs.options import CameraOptions, OutputOptions
from ..outputs.plan import OutputPlan
from ..retry import RetryingNetwork
from ..transform import as_frame
from ..video.frame import DepthMap, Frame, Image
from ..video.inputs import expand_inputs
from ..video.source import Selection, VideoSource, open_frames
from ..video.timing import parse_target_fps
from ..video_depth import VideoDepthAnything
from .offline import run_video
from .options import INPUT_SIZE, ModelOptions
from .setup import LoadedNetwork, load_network
from .stop import Stop


@dataclass(frozen=True)
class DepthVideo:
    """Depth of a video.

    Attributes:
        depths: (N, H, W) float32; None where it was only saved.
        kind: "disparity", inverse depth up to scale and shift, larger is nearer; or "depth_metres".
        fps: frames a second.
        files: what was saved.
        checkpoint: name of the weights.
        interrupted: whether it was stopped early.
    """

    depths: npt.NDArray[np.float32] | None
    kind: DepthKind
    fps: float
    files: list[Path]
    checkpoint: str
    interrupted: bool


def infer(
    source: str | Path | Iterable[object],
    *,
    model: LoadedNetwork | VideoDepthAnything | None = None,
    encoder: str | None = None,
    metric: bool = False,
    checkpoint: str | Path | None = None,
    input_size: int = 518,
    device: str = "auto",
    backend: str = "auto",
    precision: str = "auto",
    save: Sequence[str] = (),
    output_dir: str | Path = "outputs",
    overwrite: bool = False,
    name: str = "frames",
    fps: float = 24.0,
    max_res: int = -1,
    max_len: int = -1,
    target_fps: float | str | Fraction = -1,
    start: float = 0.0,
    end: float | None = None,
    on_progress: Callable[[int, int | None], None] | None = None,
    stop: Stop | None = None,
) -> DepthVideo:
    """Depth of a video, consistent over its whole length.

    Args:
        source: a video file, a folder or pattern of images, or an address; or frames: an array (N, H, W, 3), or any
            iterable of (H, W, 3) RGB arrays or tensors from 0 to 255, or of PIL images, all of one size.
        model: a network that is loaded, by `load_network` or `from_pretrained`; None loads one by the next arguments.
        encoder: "vits", "vitb" or "vitl"; None takes the largest public one that is there.
        metric: use weights that predict metres.
        checkpoint: a weights file.
        input_size: shorter side of the network's input in pixels.
        device: a name of `config.DEVICES`.
        backend: a name of `config.BACKENDS`.
        precision: a name of `config.PRECISIONS`.
        save: formats to write: src, vis, npz, exr, png16, mkv16, ply.
        output_dir: folder for them.
        overwrite: replace files that no earlier run has written.
        name: what outputs are called where the source is frames.
        fps: frames a second where the source is frames, or images.
        max_res: longer side of the frames at most, in pixels; -1: any.
        max_len: number of frames at most; -1: all.
        target_fps: frames a second to keep; -1: all.
        start: seconds to leave out at the beginning.
        end: seconds from which on the rest is left out; None: none.
        on_progress: called after each frame with the number of frames done, and of frames expected if it is known.
        stop: ends the run early, from another thread or from `on_progress`.

    Returns:
        The depth, kept in memory only where nothing is saved.

    Raises:
        UserError: if the source cannot be read, the weights are not there, or an output cannot be written.
        ValueError: if a frame has another size, shape or type.
    """
    options = ModelOptions(
        encoder,
        metric,
        None if checkpoint is None else Path(checkpoint),
        input_size,
        device,
        backend,
        precision,
    )
    selection = Selection(max_res, parse_target_fps(target_fps), max_len, start, end, fps)
    network = _network(model, options)
    written = OutputOptions(Path(output_dir), tuple(save), overwrite=overwrite)
    plan = OutputPlan(written, CameraOptions(), network.metric, start, network.provenance())
    kept = _Kept()
    ending = stop or Stop()
    with closing(_opened(source, selection, name)) as opened, plan.open(opened) as outputs:
        if not save:
            outputs.add(kept)

        def advance() -> None:
            advanced.append(None)
            if on_progress is not None:
                on_progress(len(advanced), opened.expected)

        advanced: list[None] = []
        network.prepare(opened.size)
        summary = run_video(
            opened.timed(), lambda frames: network.infer(frames, ending.check), outputs, advance, ending
        )
        files = outputs.files()
    kind: DepthKind = "depth_metres" if network.metric else "disparity"
    rate, weights = float(opened.fps), network.checkpoint
    depths = None if save else kept.stacked(opened.size)
    return DepthVideo(depths, kind, rate, files, "" if weights is None else weights.name, summary.interrupted)


def _network(model: LoadedNetwork | VideoDepthAnything | None, options: ModelOptions) -> LoadedNetwork:
    if isinstance(model, LoadedNetwork):
        return model
    if model is None:
        return load_network(options)
    execution = model.execution(None, options.precision == "fp32", options.input_size)
    network = RetryingNetwork(load_backend(model, execution), execution.frames_at_once)
    return LoadedNetwork(network, execution, model.encoder, model.metric, None, options.input_size or INPUT_SIZE)


def _opened(source: str | Path | Iterable[object], selection: Selection, name: str) -> VideoSource:
    if isinstance(source, (str, Path)):
        inputs = expand_inputs([str(source)])
        if len(inputs) > 1:
            raise InputError(f"{source} names {len(inputs)} videos; name one")
        return inputs[0].open(selection)
    count = len(source) if isinstance(source, Sized) else None
    return open_frames(_images(source), selection, name, count)


def _images(frames: Iterable[object]) -> Iterator[Image]:
    """Frames as (H, W, 3) uint8; other types are rounded."""
    size: tuple[int, int] | None = None
    for index, frame in enumerate(frames):
        if hasattr(frame, "convert"):  # a PIL image
            frame = np.asarray(frame.convert("RGB"))
        image = as_frame(frame, index, size)  # type: ignore[arg-type]
        size = image.shape[0], image.shape[1]
        whole = image if image.dtype == np.uint8 else np.clip(np.rint(image), 0, 255)
        yield whole.astype(np.uint8, copy=False)


class _Kept:
    """Depth kept in memory."""

    def __init__(self) -> None:
        self._depths: list[DepthMap] = []

    def write(self, frame: Frame) -> None:
        self._depths.append(frame.depth)

    def close(self) -> None:
        """Nothing is held back."""

    def abort(self) -> None:
        self._depths.clear()

    def written(self) -> list[str]:
        return []

    def stacked(self, size: tuple[int, int]) -> npt.NDArray[np.float32]:
        """All of it, (N, H, W)."""
        return np.stack(self._depths) if self._depths else np.zeros((0, *size), np.float32)
