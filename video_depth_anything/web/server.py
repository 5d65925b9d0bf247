"""The web page's server: its address first, then Gradio with its folder, limits and gate, then the network."""

from __future__ import annotations

import logging
import os
import secrets
import socket
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from typing import TYPE_CHECKING, Any

from ..errors import OutputError
from ..pipelines.stop import Stop, stop_on_signals
from .options import PageOptions

if TYPE_CHECKING:
    from .handlers import Handlers
    from .visitor_files import PageFiles

logger = logging.getLogger(__name__)

# Connections at the same time, of all visitors; a page needs three.
MOST_CONNECTIONS = 300
# Seconds between looks at what nobody owns any more, and for what is being sent when the server ends.
SWEEP_SECONDS, FAREWELL_SECONDS = 30.0, 2


def serve(options: PageOptions) -> int:
    """Serve the page until a signal ends it, and return the exit code. Nothing stays on disk.

    The address is taken and printed at once; whoever opens it is answered as soon as the page is there, and the
    network is loaded after that.

    Args:
        options: network, address and limits.

    Raises:
        CheckpointError, DeviceError: if the network cannot be had. OutputError: if Gradio is not installed, or the
            address cannot be had.
    """
    with stop_on_signals() as stop, closing(_listen(options)) as listening:
        address = _address(options)
        print(f"open {address}", flush=True)
        # Here, not above: these imports take seconds.
        from .networks import Networks
        from .visitor_files import PageFiles

        networks = Networks(options.model)
        files = PageFiles(options.max_visitor_mb * 1_000_000)
        try:
            app, handlers = _build(options, networks, files)
            try:
                with _answering(app, listening, options):
                    loading = networks.load_ahead()
                    threading.Thread(target=sweep, args=(handlers, files, stop), name="sweep", daemon=True).start()
                    if not options.no_browser:
                        open_browser(address)
                    while not stop.wait(1.0):
                        if networks.failure is not None:
                            raise networks.failure
                    # The interpreter cannot end in the midst of it.
                    loading.join()
                logger.info("the page is closed")
            finally:
                handlers.stop()
        finally:
            files.close()
    return 0


def _listen(options: PageOptions) -> socket.socket:
    """The address, taken: who connects is kept waiting, not refused."""
    where = f"{options.server_name}:{options.server_port}"
    try:
        found = socket.getaddrinfo(options.server_name, options.server_port, type=socket.SOCK_STREAM)
        return socket.create_server(found[0][4][:2], family=found[0][0], backlog=128)
    except OSError as error:
        raise OutputError(f"cannot listen at {where} ({error}); choose another --server_port") from error


def _address(options: PageOptions) -> str:
    name = "localhost" if options.server_name in ("0.0.0.0", "::") else options.server_name
    return f"http://{f'[{name}]' if ':' in name else name}:{options.server_port}/"


def _build(options: PageOptions, networks: Any, files: PageFiles) -> tuple[Any, Handlers]:
    """The application, and what its buttons do."""
    # Gradio reads both when it is imported.
    os.environ["GRADIO_TEMP_DIR"] = str(files.root)
    os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"
    # Its HTTP client logs every request it makes to this very server.
    logging.getLogger("httpx").setLevel(logging.WARNING)
    try:
        import gradio as gr
        from fastapi import FastAPI

        from .gate import OwnerGate
        from .handlers import Handlers
        from .looks import mount_options
        from .page import build_page
    except ImportError as error:
        raise OutputError(f"the page needs Gradio ({error}): pip install 'video-depth-anything[app]'") from error
    handlers = Handlers(files, networks, options)
    page = build_page(handlers, networks, options)
    files.publish_present()
    most = options.max_upload_mb * 1_000_000
    app = gr.mount_gradio_app(FastAPI(openapi_url=None), page, "/", max_file_size=most, **mount_options())
    return OwnerGate(app, files, handlers.sessions, most), handlers


@contextmanager
def _answering(app: Any, listening: socket.socket, options: PageOptions) -> Iterator[None]:
    """Answer requests while the block runs."""
    import uvicorn

    config = uvicorn.Config(
        app,
        log_level="warning",
        ws="none",
        limit_concurrency=MOST_CONNECTIONS,
        timeout_graceful_shutdown=FAREWELL_SECONDS,
    )
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, args=([listening],), name="server")
    thread.start()
    try:
        while not server.started and thread.is_alive():
            time.sleep(0.01)
        if options.share:
            print(f"public at {_tunnel(options)}", flush=True)
        yield
    finally:
        server.should_exit = True
        thread.join(10 * FAREWELL_SECONDS)


def _tunnel(options: PageOptions) -> str:
    """A public address, through Gradio's servers."""
    from gradio.networking import setup_tunnel

    try:
        found = setup_tunnel(options.server_name, options.server_port, secrets.token_urlsafe(32), None, None)
    except Exception as error:
        raise OutputError(f"no public address is to be had ({error}); leave --share out") from error
    return f"https://{found.partition('://')[2]}"


def open_browser(address: str) -> bool:
    """Open a page in the user's browser, where there is a display; whether it was tried."""
    if sys.platform.startswith("linux") and not (os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY")):
        return False
    import webbrowser

    return webbrowser.open(address)


def sweep(handlers: Handlers, files: PageFiles, stop: Stop) -> None:
    """Remove what nobody owns any more, again and again until the end."""
    while not stop.wait(SWEEP_SECONDS):
        files.sweep(handlers.sessions.sweep())
