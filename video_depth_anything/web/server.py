"""The server of the web page."""

from __future__ import annotations

import ipaddress
import logging
import os
import secrets
import socket
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from typing import TYPE_CHECKING

from ..errors import OutputError
from ..pipelines.stop import stop_on_signals
from .options import PageOptions

if TYPE_CHECKING:
    from .application import Application
    from .networks import Networks
    from .visitors import Visitors

logger = logging.getLogger(__name__)

# At shutdown, seconds for responses that are being sent.
FAREWELL_SECONDS = 2
# Connections that wait to be accepted, and those accepted at once: fewer than one address may hold, so that a burst of
# connections does not push out one whose request is on its way.
WAITING, ACCEPTED_AT_ONCE = 128, 32
OPEN_TO_ALL = "everyone who can reach this address can use the page; --auth USER:PASSWORD requires a login"


def serve(options: PageOptions) -> int:
    """Serve the page until a signal ends it, and return the exit code. Nothing stays on disk.

    The address is taken and printed at once; a visitor is answered as soon as the page is there, and the network is
    loaded after that.

    Args:
        options: network, address and limits.

    Raises:
        CheckpointError, DeviceError: if the network is not available. OutputError: if Gradio is not installed, or the
            address is taken.
    """
    with stop_on_signals() as stop, closing(_listen(options)) as listening:
        address = _address(options)
        print(f"open {address}", flush=True)
        if options.auth is None and (options.share or not ipaddress.ip_address(listening.getsockname()[0]).is_loopback):
            logger.warning("%s", OPEN_TO_ALL)
        # Imported here: this takes seconds.
        from .networks import Networks
        from .visitors import Visitors

        networks = Networks(options.model)
        with (
            closing(Visitors(options.max_visitor_mb * 1_000_000)) as visitors,
            closing(_application(options, networks, visitors)) as page,
            _answering(page, listening, options),
            ThreadPoolExecutor(1) as loader,
        ):
            loading = loader.submit(networks.get, options.model)
            if not options.no_browser:
                open_browser(address)
            while not stop.wait(1.0):
                if loading.done():
                    loading.result()
                page.sweep()
    logger.info("the page has stopped")
    return 0


def _listen(options: PageOptions) -> socket.socket:
    """A listening socket: early visitors wait until the page is ready, and are not refused."""
    where = f"{options.server_name}:{options.server_port}"
    try:
        found = socket.getaddrinfo(options.server_name, options.server_port, type=socket.SOCK_STREAM)
        return socket.create_server(found[0][4][:2], family=found[0][0], backlog=WAITING)
    except OSError as error:
        raise OutputError(f"cannot listen on {where} ({error}); choose another --server_port") from error


def _address(options: PageOptions) -> str:
    name = "localhost" if options.server_name in ("0.0.0.0", "::") else options.server_name
    return f"http://{f'[{name}]' if ':' in name else name}:{options.server_port}/"


def _application(options: PageOptions, networks: Networks, visitors: Visitors) -> Application:
    # Gradio reads both on import.
    os.environ["GRADIO_TEMP_DIR"] = str(visitors.root)
    os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"
    try:
        from .application import Application
    except ImportError as error:
        raise OutputError(f"the page needs Gradio ({error}): pip install 'video-depth-anything[app]'") from error
    return Application(options, networks, visitors)


@contextmanager
def _answering(page: Application, listening: socket.socket, options: PageOptions) -> Iterator[None]:
    """Answer requests while the block runs."""
    import uvicorn

    from .bounds import Connection

    config = uvicorn.Config(
        page.gate,
        http=Connection,
        log_level="warning",
        ws="none",
        backlog=ACCEPTED_AT_ONCE,
        timeout_graceful_shutdown=FAREWELL_SECONDS,
    )
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, args=([listening],), name="server")
    thread.start()
    try:
        while not server.started and thread.is_alive():
            time.sleep(0.01)
        listening.listen(WAITING)  # asyncio has set it to the number that it accepts at once
        if options.share:
            address = _tunnel(options)
            page.hosts.names.add(address.removeprefix("https://").lower())
            print(f"public at {address}", flush=True)
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
        raise OutputError(f"no public address is available ({error}); start without --share") from error
    return f"https://{found.partition('://')[2]}"


def open_browser(address: str) -> bool:
    """Open a page in the user's browser where there is a display; whether it was tried."""
    if sys.platform.startswith("linux") and not (os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY")):
        return False
    import webbrowser

    return webbrowser.open(address)
