"""A whole run from options to exit code: what the command line calls, and what a program may call in its place."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from ..errors import UsageError
from ..outputs.plan import OutputPlan
from ..outputs.run_outputs import RunOutputs
from ..outputs.vis_range import VisRange
from ..video.inputs import Input, expand_inputs, listed
from ..video.realtime import is_live
from ..video.scene_cuts import CutDetector
from ..video.source import VideoSource
from .batch import Batch, check_present
from .multi_device import SharedBatch, SplitInference
from .offline import run_video
from .options import RunOptions, StreamingOptions
from .ranks import join_ranks, use_own_gpu
from .report import Report
from .setup import LoadedNetwork, load_network
from .stop import Stop, stop_on_signals
from .streaming import stream_inputs
from .summary import RunSummary
from .window_spool import remove_abandoned


def run_offline(options: RunOptions, inputs: Sequence[str], report: Report) -> int:
    """Depth of videos, consistent over their whole length; shared out where torchrun has started several processes.

    Args:
        options: what to do with every input.
        inputs: as `expand_inputs` takes them.
        report: shows the run.

    Returns:
        The exit code: 0, 1 if some of several inputs failed, 130 if the user ended the run.

    Raises:
        UserError: if something asked for is not to be had, or the only input fails.
    """
    with stop_on_signals() as stop, join_ranks(stop) as ranks:
        if ranks is not None:
            use_own_gpu()
            # Only one process can read the list on standard input.
            inputs = ranks.agree(lambda: list(listed(inputs)))
        found = expand_inputs(inputs)
        batch, network = _prepare(options, found, report, stop)

        def process(source: VideoSource, outputs: RunOutputs) -> RunSummary:
            cuts = CutDetector() if options.reset_on_cut else None
            network.prepare(source.size)
            with report.progress(source.expected, source.name) as advance:
                return run_video(
                    source.timed(), lambda frames: network.infer(frames, stop.check), outputs, advance, stop, cuts
                )

        if not options.resume and (ranks is None or ranks.rank == 0):
            remove_abandoned(options.outputs.folder)
        if ranks is None:
            return batch.run(found, process)
        if options.reset_on_cut and len(found) < ranks.size:
            raise UsageError(
                "--reset_on_cut: several processes share the windows of a video, which may cross a cut; "
                "run it without torchrun, or on as many videos as there are processes"
            )
        return SharedBatch(batch, ranks, process, _split(network)).run(found)


def run_streaming(options: RunOptions, streaming: StreamingOptions, inputs: Sequence[str], report: Report) -> int:
    """Depth of videos, cameras and addresses, frame by frame.

    Args:
        options: what to do with every input.
        streaming: what only streaming has.
        inputs: as `expand_inputs` takes them, cameras included.
        report: shows the run.

    Returns:
        The exit code, as `run_offline` does.

    Raises:
        UserError: as `run_offline` does.
    """
    with stop_on_signals() as stop:
        found = expand_inputs(inputs, cameras=True)
        if options.outputs.vis_range.kind == "auto":
            live = any(is_live(one.location) for one in found)
            span = VisRange("percentile" if live else "video")
            options = replace(options, outputs=replace(options.outputs, vis_range=span))
        batch, network = _prepare(options, found, report, stop, streaming)
        return stream_inputs(batch, found, network, streaming, options.reset_on_cut)


def _prepare(
    options: RunOptions,
    inputs: Sequence[Input],
    report: Report,
    stop: Stop,
    streaming: StreamingOptions | None = None,
) -> tuple[Batch, LoadedNetwork]:
    """What both kinds of run begin with, the cheap checks first."""
    check_present(inputs)
    # What cannot be written is found out before the weights are read.
    plan = OutputPlan(options.outputs, options.camera, options.model.metric, options.selection.start)
    plan.check_inputs(inputs)
    network = load_network(options.model, [str(one.path) for one in inputs if one.path])
    provenance = network.provenance()
    plan = replace(plan, provenance=provenance)
    chosen = replace(
        options.model, encoder=network.encoder, checkpoint=network.checkpoint, input_size=network.input_size
    )
    settings = replace(options, model=chosen).settings(streaming)
    return Batch(
        plan, options.selection, options.limits, settings, options.resume, provenance.checkpoint, stop, report
    ), network


def _split(network: LoadedNetwork) -> SplitInference:
    from ..offline import RawWindows, join_windows, windows_read

    execution = network.execution
    return SplitInference(
        lambda frames: RawWindows(network.network, frames, network.input_size, execution),
        windows_read,
        lambda windows: join_windows(windows, network.metric, execution.device),
        str(execution),
    )
