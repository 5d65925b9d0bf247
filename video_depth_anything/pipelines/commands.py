"""Whole runs from options to exit code, for the command line and for programs."""

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
LARGE_BLOCK = 128 << 10  # glibc's initial threshold, which grows when larger blocks are freed


def run_offline(options: RunOptions, inputs: Sequence[str], show: Show, say: Callable[[str], None]) -> int:
    """Compute depth of videos, consistent over their whole length; distributed if torchrun started several processes.

    Args:
        options: how to process the inputs.
        inputs: arguments for `expand_inputs`.
        show: makes a context that shows the progress of an input.
        say: shows a closing line.

    Returns:
        The exit code: 0, 1 if some of several inputs failed, 130 if the user ended the run.

    Raises:
        UserError: if an option's device, format or package is not available, or the only input fails.
    """
    with stop_on_signals() as stop, join_ranks(stop) as ranks:
        if ranks is not None:
            use_own_gpu()
            # Only one process can read a list on standard input.
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
    """Compute depth of videos, cameras and addresses frame by frame; arguments and errors as in `run_offline`."""
    with stop_on_signals() as stop:
        found = expand_inputs(inputs, cameras=True)
        if streaming.raw is not None and len(found) > 1:
            raise UsageError(f"--stdout carries the video of one input, not of {len(found)}")
        return _prepare(options, found, show, say, stop, streaming).run(found)


def _prepare(
    options: RunOptions,
    inputs: Sequence[Input],
    show: Show,
    say: Callable[[str], None],
    stop: Stop,
    streaming: StreamingOptions | None = None,
) -> Batch:
    """Prepare either kind of run, cheap checks first."""
    files = [one.path for one in inputs if one.path is not None and not one.images]
    if len(files) == len(inputs) and not any(path.exists() for path in files):
        # The original's documentation uses example clips that are not bundled.
        example = "; the bundled example is assets/example_videos/box.mp4"
        hint = example if files[0].parent.name == "example_videos" else ""
        raise InputError(f"input video {files[0]} not found{hint}")
    # Outputs that cannot be written are reported before the weights are read.
    chosen = options.selection
    plan = OutputPlan(options.outputs, options.camera, options.model.metric, chosen.start, frames=chosen.frames)
    plan.check_inputs(inputs)
    if options.reset_on_cut:
        CutDetector()  # so that a missing package is reported now
    network = load_network(options.model, [str(one.path) for one in inputs if one.path])
    if options.fast:
        network = network.at_fast_size()
    if network.execution.openvino_device is not None:
        free_large_blocks()
    plan = replace(plan, provenance=network.provenance(), settings=network.settings(options, streaming))
    return Batch(options, plan, network, stop, show, say, streaming)


def free_large_blocks() -> None:
    """Have glibc return large blocks to the system as soon as they are freed; elsewhere do nothing.

    By default glibc starts to keep blocks of up to 32 MiB, and a mixture of long-lived and short-lived blocks fragments
    its heap: with OpenVINO, long runs grew by a tenth. PyTorch, which allocates in every operation, would take half as
    long again.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None) if sys.platform == "linux" else None
    if mallopt is not None:
        mallopt(M_MMAP_THRESHOLD, LARGE_BLOCK)
