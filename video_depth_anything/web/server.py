"""The web page's server: Gradio with its folder, limits and gate, from start to end."""

from __future__ import annotations

import argparse
import logging
import os
import threading
from collections.abc import Callable, Sequence

from ..cli.arguments import EXAMPLE_VIDEO
from ..errors import OutputError
from .jobs import Infer
from .visitor_files import OwnerGate, PageFiles

logger = logging.getLogger(__name__)


def serve(
    args: argparse.Namespace,
    networks: Sequence[tuple[str, bool]],
    begin: tuple[str, bool],
    infer: Infer,
    make_stream: Callable[..., object],
) -> int:
    """Serve the page until Ctrl-C or SIGTERM, and return the exit code. Nothing stays on disk.

    Args:
        args: of `arguments.parse_page`.
        networks: (encoder, metric) of those to choose from. begin: the one chosen at first.
        infer, make_stream: the pipelines, see `web_handlers.Handlers`.

    Raises:
        OutputError: if Gradio is not installed, or the address cannot be had.
    """
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
        handlers = Handlers(files, networks, infer, make_stream, args.max_frames)  # type: ignore[arg-type]
        examples = [EXAMPLE_VIDEO] if EXAMPLE_VIDEO.is_file() else []
        page = build_page(handlers, networks, Start(*begin, args.input_size), examples)
        files.publish_present()
        try:
            _, address, public = page.launch(
                server_name=args.server_name,
                server_port=args.server_port,
                share=args.share,
                max_file_size=args.max_upload_mb * 1_000_000,
                app_kwargs={"middleware": [Middleware(OwnerGate, files=files)]},
                prevent_thread_lock=True,
                **launch_options(),
            )
        except OSError as error:
            where = f"{args.server_name}:{args.server_port}"
            raise OutputError(f"cannot listen at {where} ({error}); choose another --server_port") from error
        try:
            print(f"open {address}" + (f", public at {public}" if public else ""), flush=True)
            threading.Event().wait()
        except KeyboardInterrupt:
            logger.info("the page is closed")
        finally:
            handlers.stop()
            page.close(verbose=False)
        return 0
    finally:
        files.close()
