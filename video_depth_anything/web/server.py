"""The web page's server: Gradio with its folder, limits and gate, from start to end."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator
from dataclasses import replace
from functools import lru_cache

from ..checkpoint import choose_weights, public_checkpoints
from ..errors import OutputError
from ..outputs.base import DepthMap
from ..pipelines.offline import Frame
from ..pipelines.options import ModelOptions
from ..pipelines.setup import LoadedNetwork, load_network
from ..pipelines.stop import stop_on_signals
from ..video_depth_stream import DepthStream
from ..weights import bundled
from .options import PageOptions
from .visitor_files import OwnerGate, PageFiles

# Encoder, and whether the weights are metric.
NetworkName = tuple[str, bool]

logger = logging.getLogger(__name__)


def networks_there(model: ModelOptions) -> tuple[list[NetworkName], NetworkName]:
    """(encoder, metric) of each checkpoint that is there, the largest encoder first, and of the one to begin with.

    Args:
        model: what the page was told to begin with.

    Raises:
        CheckpointError: if there is none, or not the one asked for.
    """
    there: list[NetworkName] = [] if model.checkpoint else [*reversed(public_checkpoints())]
    largest = next((encoder for encoder, metric in there if metric == model.metric), None)
    begin = (choose_weights(model.encoder or largest, model.metric, model.checkpoint)[0], model.metric)
    return there if begin in there else [*there, begin], begin


def serve(options: PageOptions) -> int:
    """Serve the page until a signal ends it, and return the exit code. Nothing stays on disk.

    Args:
        options: network, address and limits.

    Raises:
        CheckpointError, DeviceError: if the network cannot be had. OutputError: if Gradio is not installed, or the
            address cannot be had.
    """
    networks, begin = networks_there(options.model)

    @lru_cache(maxsize=1)
    def network(encoder: str, metric: bool) -> LoadedNetwork:
        return load_network(replace(options.model, encoder=encoder, metric=metric))

    def infer(model: ModelOptions, frames: Iterator[Frame]) -> Iterator[DepthMap]:
        loaded = network(model.encoder or begin[0], model.metric)
        return replace(loaded, input_size=model.input_size).infer(frames)

    def make_stream(name: NetworkName, input_size: int) -> DepthStream:
        return replace(network(*name), input_size=input_size).new_stream()

    network(*begin)  # a checkpoint that cannot be used is found out now
    files = PageFiles()
    # Gradio reads both when it is imported.
    os.environ["GRADIO_TEMP_DIR"] = str(files.root)
    os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"
    # Its HTTP client logs every request it makes to this very server.
    logging.getLogger("httpx").setLevel(logging.WARNING)
    try:
        try:
            from starlette.middleware import Middleware

            from .handlers import Handlers, Start
            from .page import build_page, launch_options
        except ImportError as error:
            raise OutputError(f"the page needs Gradio ({error}): pip install -r requirements-app.txt") from error
        handlers = Handlers(files, networks, infer, make_stream, options.max_frames)
        examples = [bundled("example_videos/box.mp4")]
        page = build_page(handlers, networks, Start(*begin, options.model.input_size), examples)
        files.publish_present()
        try:
            _, address, public = page.launch(
                server_name=options.server_name,
                server_port=options.server_port,
                share=options.share,
                max_file_size=options.max_upload_mb * 1_000_000,
                app_kwargs={"middleware": [Middleware(OwnerGate, files=files)]},
                prevent_thread_lock=True,
                **launch_options(),
            )
        except OSError as error:
            where = f"{options.server_name}:{options.server_port}"
            raise OutputError(f"cannot listen at {where} ({error}); choose another --server_port") from error
        try:
            print(f"open {address}" + (f", public at {public}" if public else ""), flush=True)
            with stop_on_signals() as stop:
                while not stop.wait(1.0):
                    pass
            logger.info("the page is closed")
        finally:
            handlers.stop()
            page.close(verbose=False)
        return 0
    finally:
        files.close()
