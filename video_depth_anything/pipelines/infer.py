"""Depth of one video in one call: from a file, a URL, or frames in memory."""

from __future__ import annotations

import difflib
import logging
from collections.abc import Callable, Iterable, Iterator, Sequence, Sized
from contextlib import closing, nullcontext
from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path
from typing import Any, Generic, TypeVar, overload

import numpy as np
import numpy.typing as npt
import torch

from ..backends.load import load_backend
from ..device import choose_execution
from ..errors import InputError, UsageError
from ..options import Option, made, options_of
from ..outputs.base import OutputWriter
from ..outputs.options import CameraOptions, DepthKind, OutputOptions, formats
from ..outputs.plan import OutputPlan
from ..retry import RetryingNetwork
from ..transform import as_frame, refuse_path
from ..video.frame import DepthMap, Frame, Image
from ..video.inputs import expand_inputs
from ..video.options import Limits, Selection
from ..video.source import open_frames
from ..video_depth import VideoDepthAnything
from .batch import Batch
from .options import INPUT_SIZE, ModelOptions, RunOptions
from .setup import LoadedNetwork, load_network
from .stop import Stop

logger = logging.getLogger(__name__)

DepthArray = npt.NDArray[np.float32]
Found = TypeVar("Found", bound="DepthArray | None", covariant=True)
# Options that can be set with a loaded network, and with a PyTorch model.
OF_NETWORK = {"input_size"}
OF_MODEL = {"input_size", "precision", "backend", "compile", "frames_at_once"}


@dataclass(frozen=True)
class DepthVideo(Generic[Found]):
    """Depth of a video.

    Attributes:
        depths: (N, H, W) float32; None if depth was written to files.
        kind: "disparity" (inverse depth up to scale and shift, larger is nearer) or "depth_metres".
        fps: frames per second.
        files: the files written.
        checkpoint: file name of the weights.
        interrupted: whether the run was stopped early, or the source broke off.
    """

    depths: Found
    kind: DepthKind
    fps: float
    files: list[Path]
    checkpoint: str
    interrupted: bool


@overload
def infer(
    source: str | Path | Iterable[object],
    *,
    model: LoadedNetwork | VideoDepthAnything | None = None,
    save: tuple[()] = (),
    name: str = "frames",
    fps: float | Fraction = 24.0,
    on_progress: Callable[[int, int | None], None] | None = None,
    stop: Stop | None = None,
    **options: Any,
) -> DepthVideo[DepthArray]: ...


@overload
def infer(
    source: str | Path | Iterable[object],
    *,
    model: LoadedNetwork | VideoDepthAnything | None = None,
    save: str | Sequence[str],
    name: str = "frames",
    fps: float | Fraction = 24.0,
    on_progress: Callable[[int, int | None], None] | None = None,
    stop: Stop | None = None,
    **options: Any,
) -> DepthVideo[None]: ...


def infer(
    source: str | Path | Iterable[object],
    *,
    model: LoadedNetwork | VideoDepthAnything | None = None,
    save: str | Sequence[str] = (),
    name: str = "frames",
    fps: float | Fraction = 24.0,
    on_progress: Callable[[int, int | None], None] | None = None,
    stop: Stop | None = None,
    **options: Any,
) -> DepthVideo[Any]:
    """Compute temporally consistent depth of a video.

    Args:
        source: a video file, a folder or pattern of images, or a URL; or frames: an array (N, H, W, 3), or an iterable
            of (H, W, 3) RGB arrays or tensors, or of PIL images, all of the same size. Integers range from 0 to 255,
            16-bit integers to 65535. Floats range from 0 to 255, or to 1 if the first frame's maximum is at most 1.
        model: a network from `load_network`, or a model from `from_pretrained`; None loads one according to `options`.
        save: output formats to write: src, vis, compare, sbs, npz, exr, png16, mkv16, ply.
        name: base name of the outputs if `source` is frames.
        fps: frames per second if `source` is frames or images.
        on_progress: called after each frame with the number of finished frames, and the expected number or None.
        stop: ends the run early, from another thread or from `on_progress`.
        options: options of `vda run` by name, with the same defaults, except that `max_res` is -1: `encoder`, `metric`,
            `checkpoint`, `input_size`, `max_len`, `start`, `output_dir`, `colormap` and so on.

    Returns:
        The depth, which is kept in memory only if `save` is empty.

    Raises:
        UserError: if the source cannot be read, weights are missing, an option has an invalid value, or an output
            cannot be written.
        TypeError: if an option is unknown, or cannot be changed for a loaded `model`.
        ValueError: if a frame has the wrong size, shape or type.
    """
    chosen = _chosen({"image_fps": fps, **options})
    network = _network(model, chosen.model, options)
    if chosen.fast:
        network = network.at_fast_size()
    kinds = formats([save] if isinstance(save, str) else list(save))
    outputs = replace(chosen.outputs, save=kinds)
    settings = network.settings(replace(chosen, outputs=outputs))
    selection = chosen.selection
    plan = OutputPlan(
        outputs, chosen.camera, network.metric, selection.start, network.provenance(), settings, selection.frames
    )
    kept, last = _Kept(), 0
    if isinstance(source, (str, Path)):
        inputs = expand_inputs([str(source)])
        if len(inputs) > 1:
            raise InputError(f"{source} matches {len(inputs)} videos; give exactly one")
        plan.check_inputs(inputs)
        opened = inputs[0].open(selection, chosen.limits)
    else:
        count = len(source) if isinstance(source, Sized) else None
        opened = open_frames(_images(source), selection, name, count)
    with closing(opened), plan.open(opened) as written:
        if not kinds:
            written.add(kept)

        def advance(_: int, done: int) -> None:
            nonlocal last
            if on_progress is not None and done > last:
                last = done
                on_progress(done, opened.expected)

        batch = Batch(chosen, plan, network, stop or Stop(), lambda *_: nullcontext(advance), logger.info)
        summary = batch.compute(opened, written, name)
    if summary.broken is not None:
        logger.warning("%s", summary.broken)
    kind: DepthKind = "depth_metres" if network.metric else "disparity"
    found = None if kinds else kept.stacked(opened.size)
    weights = "" if network.checkpoint is None else network.checkpoint.name
    early = summary.interrupted or summary.broken is not None
    return DepthVideo(found, kind, float(opened.fps), written.files(), weights, early)


def _chosen(given: dict[str, Any]) -> RunOptions:
    """Parse keyword options like those of the command line."""
    classes = (ModelOptions, Selection, Limits, OutputOptions, CameraOptions, RunOptions)
    known: dict[str, Option] = {
        found.name.replace("-", "_"): found for cls in classes for found in options_of(cls) if found.name != "resume"
    }
    values = {}
    for name, value in given.items():
        if name not in known:
            near = "".join(f"; did you mean {found!r}?" for found in difflib.get_close_matches(name, known, 1))
            raise TypeError(f"infer() got an unexpected keyword argument {name!r}{near}")
        try:
            values[known[name].name] = known[name].checked(value)
        except ValueError as error:
            raise UsageError(f"{'fps' if name == 'image_fps' else name}: {error}") from error
    return made(RunOptions, values)


def _network(
    model: LoadedNetwork | VideoDepthAnything | None, options: ModelOptions, given: dict[str, Any]
) -> LoadedNetwork:
    if model is None:
        return load_network(options)
    loaded = isinstance(model, LoadedNetwork)
    without_effect = {option.name for option in options_of(ModelOptions)} - (OF_NETWORK if loaded else OF_MODEL)
    for name in given:
        if name in without_effect:
            raise TypeError(
                f"infer() got {name!r} beside 'model', which is already loaded; set it when you load the model"
            )
    if isinstance(model, LoadedNetwork):
        return replace(model, input_size=options.input_size or model.input_size)
    size = options.input_size or INPUT_SIZE
    device = next(model.parameters()).device
    backend = options.backend if "backend" in given else "torch"
    execution = choose_execution(device, options.precision, backend, options.compile, size)
    execution = replace(execution, frames_at_once=options.frames_at_once or execution.frames_at_once)
    network = RetryingNetwork(load_backend(model, execution), execution.frames_at_once)
    return LoadedNetwork(network, execution, model.encoder, model.metric, None, size)


def _images(frames: Iterable[object]) -> Iterator[Image]:
    """Yield frames as (H, W, 3) uint8; other types are scaled by the first frame's range, and rounded."""
    size: tuple[int, int] | None = None
    scale = 1.0
    for index, frame in enumerate(frames):
        array = _array(frame)
        if size is None and array.dtype == np.uint16:
            logger.warning("16-bit frames are scaled from 0..65535 to 0..255")
            scale = 255 / 65535
        elif size is None and array.dtype.kind == "f" and 0 < array.max(initial=0) <= 1:
            logger.warning("the first frame's largest value is %g: frames are scaled from 0..1 to 0..255", array.max())
            scale = 255.0
        image = as_frame(array if scale == 1 else array * np.float32(scale), index, size)
        size = image.shape[0], image.shape[1]
        whole = image if image.dtype == np.uint8 else np.clip(np.rint(image), 0, 255)
        yield whole.astype(np.uint8, copy=False)


def _array(frame: Any) -> npt.NDArray[Any]:
    """Convert a frame to an array without scaling."""
    refuse_path(frame)
    if isinstance(frame, torch.Tensor):
        tensor = frame.detach().cpu()
        return (tensor.float() if tensor.dtype == torch.bfloat16 else tensor).numpy()
    if not hasattr(frame, "convert"):
        return np.asarray(frame)
    if not frame.mode.startswith("I"):
        return np.asarray(frame.convert("RGB"))
    gray = np.clip(np.asarray(frame), 0, 65535).astype(np.uint16)  # how Pillow holds 16-bit images
    return np.stack((gray,) * 3, axis=-1)


class _Kept(OutputWriter):
    """Keeps depth in memory."""

    def __init__(self) -> None:
        self._depths: list[DepthMap] = []

    def write(self, frame: Frame) -> None:
        self._depths.append(frame.depth)

    def stacked(self, size: tuple[int, int]) -> DepthArray:
        """All maps, (N, H, W)."""
        return np.stack(self._depths) if self._depths else np.zeros((0, *size), np.float32)
