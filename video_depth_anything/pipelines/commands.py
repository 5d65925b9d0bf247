"""A whole run from options to exit code: what the command line calls, and what a program may call in its place."""

from __future__ import annotations

import ctypes
import sys
from collections.abc import Callable, Sequence
from dataclasses import replace

from ..errors import InputError, UsageError
from ..outputs.plan import OutputPlan
from ..video.inputs import Input, expand_inputs, listed
from ..video.scene_cuts import CutDetector
from .batch import Batch, Show
from .multi_device import SharedBatch
from .options import RunOptions, StreamingOptions
from .ranks import join_ranks, use_own_gpu
from .setup import load_network
from .stop import Stop, stop_on_signals

M_MMAP_THRESHOLD = -3  # of glibc's malloc.h
LARGE_BLOCK = 128 << 10  # glibc's own threshold, before it grows by what is freed


def run_offline(options: RunOptions, inputs: Sequence[str], show: Show, say: Callable[[str], None]) -> int:
    """Depth of videos, consistent over their whole length; shared out where torchrun has started several processes.

    Args:
        options: what to do with every input.
        inputs: as `expand_inputs` takes them.
        show: makes a context that shows how far an input is.
        say: shows a closing line.

    Returns:
        The exit code: 0, 1 if some of several inputs failed, 130 if the user ended the run.

    Raises:
        UserError: if something asked for is not available, or the only input fails.
    """
    with stop_on_signals() as stop, join_ranks(stop) as ranks:
        if ranks is not None:
            use_own_gpu()
            # Only one process can read the list on standard input.
            inputs = ranks.agree(lambda: list(listed(inputs)))
        found = expand_inputs(inputs)
        batch = _prepare(options, found, show, say, stop)
        if ranks is None:
            return batch.run(found)
        if options.reset_on_cut and len(found) < ranks.size:
            raise UsageError(
                "--reset_on_cut: several processes share the windows of a video, and windows may cross a cut; "
                "run it without torchrun, or on at least as many videos as processes"
            )
        return SharedBatch(batch, ranks).run(found)


def run_streaming(
    options: RunOptions, streaming: StreamingOptions, inputs: Sequence[str], show: Show, say: Callable[[str], None]
) -> int:
    """Depth of videos, cameras and addresses, frame by frame; called, and failing, as `run_offline`."""
    with stop_on_signals() as stop:
        found = expand_inputs(inputs, cameras=True)
        return _prepare(options, found, show, say, stop, streaming).run(found)


def _prepare(
    options: RunOptions,
    inputs: Sequence[Input],
    show: Show,
    say: Callable[[str], None],
    stop: Stop,
    streaming: StreamingOptions | None = None,
) -> Batch:
    """What both kinds of run begin with, the cheap checks first."""
    files = [one.path for one in inputs if one.path is not None and not one.images]
    if len(files) == len(inputs) and not any(path.exists() for path in files):
        # Whoever follows the original's documentation names example clips that are not bundled.
        example = "; the bundled example is assets/example_videos/box.mp4"
        hint = example if files[0].parent.name == "example_videos" else ""
        raise InputError(f"input video {files[0]} not found{hint}")
    # What cannot be written is found out before the weights are read.
    chosen = options.selection
    plan = OutputPlan(options.outputs, options.camera, options.model.metric, chosen.start, frames=chosen.frames)
    plan.check_inputs(inputs)
    if options.reset_on_cut:
        CutDetector()  # fails now, if at all
    network = load_network(options.model, [str(one.path) for one in inputs if one.path])
    if options.fast:
        network = network.at_fast_size()
    if network.execution.openvino_device is not None:
        free_large_blocks()
    settings = replace(options, model=network.named(options.model)).settings(streaming)
    plan = replace(plan, provenance=network.provenance(), settings=settings)
    return Batch(options, plan, network, stop, show, say, streaming)


def free_large_blocks() -> None:
    """Have glibc return large blocks to the system as soon as they are freed; elsewhere do nothing.

    By default it begins to keep blocks of up to 32 MiB, and what lies between those of a window and those of a moment
    breaks its memory up: with OpenVINO a long run grew by a tenth. PyTorch, which allocates at every operation, would
    take half as long again.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None) if sys.platform == "linux" else None
    if mallopt is not None:
        mallopt(M_MMAP_THRESHOLD, LARGE_BLOCK)
